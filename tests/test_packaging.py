"""What is promised of the distribution: dependencies, versions, commands, and a README that runs as printed."""

import ast
import configparser
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trainer_scripts.demo import write_inputs

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["modeling_hyenadna", "datasets_dart", "datasets_hyenadna", "evaluation_dart", "trainer_scripts"]
SETUP = configparser.RawConfigParser()
SETUP.read(ROOT / "setup.cfg")
EXTRAS = SETUP["options.extras_require"]


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.split("\n") if line.strip()]


def extra(name: str) -> list[Requirement]:
    """The requirements of an extra, those of the extras it names in place of them."""
    own = SETUP["metadata"]["name"]
    return [
        r
        for stated in requirements(EXTRAS[name])
        for r in ([r for e in sorted(stated.extras) for r in extra(e)] if stated.name == own else [stated])
    ]


# Distributions, of what may not be installed here, that are not called as what is imported
NAMED_OTHERWISE = {"umap": "umap-learn"}
CORE = requirements(SETUP["options"]["install_requires"])
ALL = CORE + [r for name in EXTRAS for r in extra(name)]
TESTED = {canonicalize_name(r.name): r for r in requirements(re.sub("#.*", "", (ROOT / "constraints.txt").read_text()))}


def absent_without(kept: list[str]) -> list[str]:
    """Import names of every installed distribution that `kept` does not need, directly or through others."""
    needed, todo = set(), list(kept)
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in needed:
            needed.add(name)
            for r in map(Requirement, importlib.metadata.requires(name) or []):
                if r.marker is None or r.marker.evaluate({"extra": ""}):
                    todo.append(r.name)
    return [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not any(canonicalize_name(owner) in needed for owner in owners) and module not in PACKAGES
    ]


def imported_modules(package: str) -> set[str]:
    """Top-level names that the files of a package import anywhere, in functions too."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names


def run_without(absent: list[str], program: str) -> str:
    """Output of a program run as if the distributions of these modules were not installed: find_spec gives None for
    them and import raises ModuleNotFoundError."""
    prelude = """
import importlib.machinery, json, sys

absent = set(json.loads(sys.argv[1]))

class WithoutAbsent(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = WithoutAbsent
"""
    command = [sys.executable, "-W", "ignore", "-c", prelude + program, json.dumps(absent)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_long_conv_imports_with_torch_alone():
    absent = absent_without(["torch"])
    assert {"transformers", "numpy", "datasets", "tokenizers"} <= set(absent)
    output = run_without(
        absent,
        """
import torch
from modeling_hyenadna.long_conv import long_conv

v, k, skip = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[1.0, 10.0, 100.0]]), torch.tensor([0.5])
print([round(y, 3) for y in long_conv(v, k, skip).flatten().tolist()])
""",
    )
    assert output == "[1.5, 13.0, 124.5]\n"


def test_data_import_without_torch():
    assert run_without(["torch", "transformers", "accelerate"], "import datasets_dart; print(datasets_dart.load_dart)")


def test_the_wheel_holds_the_packages_and_no_studies():
    include = SETUP["options.packages.find"]["include"].split()
    there = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert "studies" in there
    assert {name for name in there if any(fnmatch(name, pattern) for pattern in include)} == {
        *PACKAGES,
        "hyenadna_dart",
    }


def test_the_wheel_holds_the_files_that_packages_read():
    data = SETUP["options.package_data"]
    for package in PACKAGES:
        listed = subprocess.run(["git", "ls-files", package], cwd=ROOT, capture_output=True, text=True).stdout.split()
        files = {name.removeprefix(f"{package}/") for name in listed if not name.endswith(".py")}
        left = {name for name in files if not any(fnmatch(name, pattern) for pattern in data[package].split())}
        assert not left, f"{package}: {sorted(left)}"


def test_a_wheel_has_the_demo_and_a_readme_without_links_into_the_checkout(tmp_path):
    """Of the last commit; tried without the checkout. An empty environment: make try-wheel."""
    source, wheels, unpacked = (tmp_path / name for name in ("source", "wheels", "unpacked"))
    source.mkdir()
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=source, check=True, input=packed)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        wheels,
    ]
    subprocess.run([*build, source], check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 4e6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    assert "hyenadna demo" in metadata.read_text(encoding="utf-8")
    assert re.findall(r"\]\((?!https?:)[^)]*\)", metadata.read_text(encoding="utf-8")) == []
    command = [sys.executable, "-W", "ignore", "-m", "trainer_scripts.hyenadna", "demo", "--limit", "2"]
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "results" / "demo").rglob("results.json")]) == 5
    assert (tmp_path / "results" / "demo" / "inputs" / "variants.vcf").read_text().count("chrX") == 20


def test_no_private_name_is_imported():
    """`from module import _name`, in code that is not a test; ruff's SLF001 sees `module._name`."""
    importing = set()
    for folder in (*PACKAGES, "hyenadna_dart", "studies", "benchmarks", "model_cards", "leaderboard"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = node.names if isinstance(node, ast.ImportFrom) else []
                importing |= {(path.name, n.name) for n in names if re.match("_(?!_)", n.name)}
    assert importing == set()


def test_modules_of_the_wheel_name_no_path_of_a_checkout():
    """Neither a folder above their own package, nor one beside it; docstrings and examples may."""
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    beside = {entry.name for entry in ROOT.iterdir() if entry.is_dir()} - made - set(PACKAGES)
    naming = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                above = isinstance(node, ast.Attribute) and node.attr == "parents" and "__file__" in ast.dump(node)
                if above or (isinstance(node, ast.Constant) and node.value in beside):
                    naming.add(path.relative_to(ROOT).as_posix())
    assert not naming


def test_one_version():
    import modeling_hyenadna

    version = SETUP["metadata"]["version"]
    assert importlib.metadata.version("hyenadna-dart") == version
    assert modeling_hyenadna.__version__ == version
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == version
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == "Unreleased" or headings[0] == version


def test_every_import_is_declared():
    owners = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(r.name) for r in CORE + [r for name in EXTRAS if name != "dev" for r in extra(name)]}
    for package in PACKAGES:
        for module in imported_modules(package) - sys.stdlib_module_names - set(PACKAGES):
            names = owners.get(module, [NAMED_OTHERWISE.get(module, module)])
            assert {canonicalize_name(o) for o in names} & declared, f"{package} imports {module}"


def test_the_conda_recipe_needs_what_setup_cfg_needs():
    names = {"pytorch": "torch"}
    recipe = yaml.safe_load((ROOT / "install" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["package"]["version"] == SETUP["metadata"]["version"]
    needed = [Requirement(line) for line in recipe["requirements"]["run"]]
    found = {canonicalize_name(names.get(r.name, r.name)): r.specifier for r in needed}
    found = {name: specifier for name, specifier in found.items() if name not in ("python", "cxx-compiler")}
    assert found == {canonicalize_name(r.name): r.specifier for r in CORE}


def test_both_containers_install_the_same_with_extras_that_there_are():
    texts = [(ROOT / "install" / name).read_text(encoding="utf-8") for name in ("Containerfile", "hyenadna-dart.def")]
    installs = [re.findall(r"pip install .*\n? *\"/src.*\"", text.replace("\\\n", "")) for text in texts]
    (line,), (other,) = ([" ".join(found.split()) for found in own] for own in installs)
    assert line == other
    assert "--constraint /src/constraints.txt" in line
    assert set(re.search(r"/src\[(.+)\]", line)[1].split(",")) <= set(EXTRAS)
    for text in texts:
        assert {"HF_HOME", "HYENADNA_CACHE"} <= set(re.findall(r"(\w+)=", text))


def test_every_extra_is_on_the_page():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z0-9]+)`", row)} == set(EXTRAS)


def test_constraints_name_a_tested_version_of_every_direct_dependency():
    assert {canonicalize_name(r.name) for r in ALL} == set(TESTED)
    for r in ALL:
        (pin,) = TESTED[canonicalize_name(r.name)].specifier
        assert pin.operator == "=="
        assert r.specifier.contains(pin.version), f"{r} and {pin}"


def test_commands_resolve():
    scripts = importlib.metadata.entry_points(group="console_scripts")
    ours = {s.name: s for s in scripts if s.dist is not None and s.dist.name == "hyenadna-dart"}
    assert set(ours) == {"dart-eval", "hyenadna"}
    for script in ours.values():
        assert callable(script.load())


def test_licence_and_typing_markers_are_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert SETUP["metadata"]["license_expression"] == "Apache-2.0"
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("page", ["README.md", "docs/long_convolution.md"])
def test_python_on_a_page_runs_as_printed(tmp_path, page):
    """Every ```python block, in order, in one program, in a folder that looks like a checkout; output stays out of the
    real one. A block after a line `<!-- not run: reason -->` is left out."""
    program = runnable_python((ROOT / page).read_text(encoding="utf-8"))
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name not in ("results", "build"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "results" / "demo").mkdir(parents=True)
    write_inputs(tmp_path / "results" / "demo" / "inputs")  # as after `hyenadna demo`
    run = subprocess.run(
        [sys.executable, "-c", f"exec(compile({program!r}, {page!r}, 'exec'))"],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / ".cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def runnable_python(markdown: str) -> str:
    """The runnable blocks at the line numbers they have in the file, every other line empty."""
    lines, inside, skip = [], False, False
    for line in markdown.split("\n"):
        if not inside and line.startswith("<!-- not run:"):
            skip = True
        elif not inside and line.startswith("```python"):
            inside = True
            lines.append("")
            continue
        elif inside and line.startswith("```"):
            inside = skip = False
        lines.append(line if inside and not skip else "")
    return "\n".join(lines)


def test_runnable_python():
    markdown = """words
```python
x = 1
```
```bash
make
```
<!-- not run: slow -->
```python
x = 2
```
```python
x
```"""
    program = runnable_python(markdown).split("\n")
    assert [(n, line) for n, line in enumerate(program, 1) if line] == [(3, "x = 1"), (13, "x")]
