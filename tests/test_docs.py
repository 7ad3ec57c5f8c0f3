"""Pages: links that lead somewhere, commands that exist with options that they have, and a site that builds."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from configparser import ConfigParser
from dataclasses import fields
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import typer
from transformers import TrainingArguments

from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.recipes import DART_EVAL, TRAITGYM
from hyenadna_dart import embed_regions
from trainer_scripts.cli import dart_eval, hyenadna

ROOT = Path(__file__).parents[1]
ABOUT = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "studies/README.md", "benchmarks/README.md")
PAGES = sorted(
    [*(ROOT / name for name in ABOUT), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs/tutorials").glob("*.ipynb")]
)
PAGES = [page for page in PAGES if "_build" not in page.parts]
APPS = {"hyenadna": hyenadna.app, "dart-eval": dart_eval.app}
# Programs of others, which are not looked into
OTHERS = {
    "apptainer",
    "bcftools",
    "bedtools",
    "cd",
    "cp",
    "curl",
    "docker",
    "export",
    "git",
    "hf",
    "lm_eval",
    "mkdir",
    "rattler-build",
    "sbatch",
    "seqleak",
    "tabix",
}
LANGUAGES = {
    "bash",
    "console",
    "python",
    "text",
    "yaml",
    "json",
    "bibtex",
    "{toctree}",
    "{include}",
    "{eval-rst}",
    "{commands}",
}
UsageError = typer.BadParameter.__mro__[1]  # typer has a click of its own
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*=\S*$")


@cache
def text_of(page):
    """A page's Markdown; of a notebook the text, and the cells of shell commands as blocks."""
    if page.suffix == ".md":
        return page.read_text()
    cells = nbformat.read(page, as_version=4).cells
    shell = re.compile(r"^%%bash.*\n")
    blocks = [shell.sub("```bash\n", cell.source) + "\n```" for cell in cells if shell.match(cell.source)]
    return "\n\n".join([*(cell.source for cell in cells if cell.cell_type == "markdown"), *blocks])


def fenced(page):
    """(language, text) of each fenced block of a page."""
    return re.findall(r"^```([^\n`]*)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


def commands(page):
    """Shell lines of a page, continued ones joined, without comments; of a console those that have a prompt."""
    for language, text in fenced(page):
        if language in ("bash", "console"):
            for line in text.replace("\\\n", " ").splitlines():
                if language == "console" and not line.startswith("$ "):
                    continue
                words = shlex.split(re.sub(r"^\w+=\$\(.*\)$", "", line.removeprefix("$ ")), comments=True)
                while words and VARIABLE.fullmatch(words[0]):
                    del words[0]
                if words:
                    yield line.removeprefix("$ ").strip(), words


def slug(heading):
    """The anchor that GitHub makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_its_language(page):
    assert {language.partition(" ")[0] for language, _ in fenced(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere: make docs-links asks
        path, _, anchor = target.partition("#")
        found = page if not path else (page.parent / path)
        assert found.exists(), f"{page.name}: {target}"
        if anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", text_of(found), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name}: {target}"


def check(words):
    """Raise AssertionError or UsageError unless a command exists and takes these arguments; "..." is for the rest."""
    name, *arguments = words
    if name in APPS:
        command, rest = typer.main.get_command(APPS[name]), arguments
        context = command.make_context(name, [], resilient_parsing=True)
        while hasattr(command, "resolve_command") and rest and rest[0] != "--help":
            name, command, rest = command.resolve_command(context, rest)
            assert command is not None, f"no command {' '.join(words[:2])}"
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
        if "..." in rest:
            known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
            assert {word for word in rest if word.startswith("--")} <= known
        elif rest and "--help" not in rest:
            command.make_context(name, rest, parent=context.parent)
    elif name in ("accelerate", "torchrun"):
        assert "-m" in arguments, "no module to run"
        check(["python", *arguments[arguments.index("-m") :]])
    elif name in ("python", "python3", ".venv/bin/python", ".venv/bin/pytest", "pytest"):
        check_python(arguments if "python" in name else ["-m", "pytest", *arguments])
    elif name == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in arguments if "=" not in word} <= targets
    elif name in ("pip", ".venv/bin/pip"):
        for extras in re.findall(r"\[([a-z0-9,]+)\]", " ".join(arguments)):
            assert set(extras.split(",")) <= set(extra_names())
    else:
        assert name in OTHERS, f"{name}: is it a command?"


@cache
def extra_names():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return [*config["options.extras_require"]]


def check_python(arguments):
    """python -m MODULE of this repository: its source names every option; or a file that is there."""
    if arguments[0] != "-m":
        assert arguments[0] == "-c" or (ROOT / arguments[0]).is_file(), f"no file {arguments[0]}"
        return
    module, *rest = arguments[1:]
    if module in ("pytest", "venv", "pip", "build", "http.server"):
        for word in rest:
            assert not word.startswith("tests") or (ROOT / word.partition("::")[0]).exists(), word
        return
    if module == "trainer_scripts.cli.hyenadna":
        check(["hyenadna", *rest])
        return
    if module == "trainer_scripts.cli.dart_eval":
        check(["dart-eval", *rest])
        return
    source = ROOT / (module.replace(".", "/") + ".py")
    assert source.is_file(), f"no module {module}"
    text = source.read_text()
    # Options may be declared in a module that this one imports
    for imported in re.findall(r"^from (\w+(?:\.\w+)*) import", text, re.MULTILINE):
        path = ROOT / (imported.replace(".", "/") + ".py")
        text += path.read_text() if path.is_file() and path != source else ""
    known = {field.name for field in fields(TrainingArguments)} | {"help"}
    for word in rest:
        if word.startswith("--"):
            option = word[2:].partition("=")[0].replace("-", "_")
            names = {option, option.removeprefix("no_")}
            declared = any(re.search(rf"\b{name}\b|--{name.replace('_', '-')}\b", text) for name in names)
            assert declared or names & known, f"{module} has no --{option}"


LINES = [(page, line, words) for page in PAGES for line, words in commands(page)]


@pytest.mark.parametrize(("page", "line", "words"), LINES, ids=[f"{page.stem}: {line[:60]}" for page, line, _ in LINES])
def test_commands_exist_with_their_options(page, line, words):
    try:
        check(words)
    except UsageError as error:
        pytest.fail(f"{page.relative_to(ROOT)}: {line}: {error.format_message()}")


def test_wrong_lines_are_found():
    with pytest.raises(UsageError, match="No such option"):
        check(shlex.split("hyenadna generate --model m --output o.fa --lenght 5"))
    with pytest.raises(UsageError, match="Missing parameter: output"):
        check(shlex.split("hyenadna generate --model m"))
    missing = "hyenadna sample", "python -m trainer_scripts.no", "make no", "pip install 'hyenadna-dart[no]'", "no"
    for line in missing:
        with pytest.raises(AssertionError):
            check(shlex.split(line))


def test_python_of_the_new_pages_runs(monkeypatch):
    """What the pages on generation, mutagenesis and the long convolution print in Python."""
    monkeypatch.chdir(ROOT)
    for name in ("generation", "mutagenesis", "long_convolution"):
        for language, text in fenced(ROOT / "docs" / f"{name}.md"):
            if language == "python":
                exec(compile(text, name, "exec"), {"print": lambda *_: None})


def test_python_on_evaluation_and_embeddings_runs(tmp_path, monkeypatch):
    """The latter on the outputs of the commands above it, of three regions."""
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    monkeypatch.chdir(tmp_path)
    sample = cpg_islands_chrx()
    regions = pd.read_csv(sample["elements"], sep="\t", names=["chrom", "start", "end"], usecols=[0, 1, 2], nrows=3)
    for name in ("out.parquet", "out.zarr"):
        embed_regions(regions, sample["genome"], "model_cards/hyenadna-tiny-1k-demo", output=name, device="cpu")
    found = {}
    for page in ("evaluation", "embeddings"):
        ((_, text),) = [own for own in fenced(ROOT / "docs" / f"{page}.md") if own[0] == "python"]
        exec(compile(text.replace("limit=150", "limit=40"), page, "exec"), found | {"print": lambda *_: None}, found)
    assert found["vectors"].shape == (3, 128)
    np.testing.assert_allclose(found["per_base"].mean(axis=0), found["vectors"][0], atol=1e-5)


def test_every_page_with_python_is_run_by_a_test():
    """By one above, one of its own (downstream: test_finetune_trainer; README and long_convolution: test_packaging)."""
    run = {"README", "coming_from", "downstream", "embeddings", "evaluation", "generation", "long_convolution"}
    run |= {"mutagenesis", "with_other_tools"}
    assert {page.stem for page in PAGES if any(language == "python" for language, _ in fenced(page))} == run


WITH_OTHER_TOOLS = ROOT / "docs/with_other_tools.md"
NEEDS = re.compile(r"^<!-- needs: (\w+) -->\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMING_FROM = ROOT / "docs/coming_from.md"
BLOCKS = NEEDS.findall(WITH_OTHER_TOOLS.read_text()) + NEEDS.findall(COMING_FROM.read_text())


@pytest.mark.parametrize(("package", "block"), BLOCKS, ids=[f"{number} {own[0]}" for number, own in enumerate(BLOCKS)])
def test_blocks_run_where_the_tool_is_installed(tmp_path, monkeypatch, package, block):
    pytest.importorskip(package, reason=f"{package} is not installed")
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(block, package, "exec"), {})
    finally:
        torch.set_grad_enabled(True)  # some tools switch gradients off


def test_projects_are_read_at_the_commits_of_the_recipes():
    page = COMING_FROM.read_text()
    for source in (DART_EVAL, TRAITGYM):
        name, _, commit = source.partition("@")
        assert f"Read at {name}@{commit[:7]}." in page


def test_every_block_of_those_pages_says_what_it_needs():
    assert len(BLOCKS) == sum(path.read_text().count("```python") for path in (WITH_OTHER_TOOLS, COMING_FROM))
    spec = importlib.util.spec_from_file_location("run_clients", ROOT / "tests/clients/run.py")
    run_clients = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run_clients)
    page, record = WITH_OTHER_TOOLS.read_text(), json.loads((ROOT / "benchmarks/results/clients.json").read_text())
    assert run_clients.with_table(page, record) == page
    assert {f"{path.stem}" for path in (ROOT / "tests/clients").glob("test_*.py")} == {*run_clients.CLIENTS}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built with nothing to complain of."""
    for package in ("myst_nb", "sphinx_copybutton"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_site_has_every_page(site):
    for page in (ROOT / "docs").rglob("*.*"):
        if page.suffix in (".md", ".ipynb") and "_build" not in page.parts and "records" not in page.parts:
            assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file(), page
    assert 'id="hyenadna-score"' in (site / "commands.html").read_text()
    api = (site / "api.html").read_text()
    assert 'id="evaluation_dart.evaluate"' in api
    assert "<strong>sample_seed</strong>" in api
    entrance = (site / "index.html").read_text()
    assert "0.845 [0.801, 0.881]" in entrance  # the quick start, as in README.md
    tutorial = (site / "tutorials/evaluate_your_model.html").read_text()
    assert "accuracy 0.845 [0.801, 0.881], n = 451" in tutorial


SEARCHES = {
    "score variants": "variants",
    "vcf": "tutorials/score_a_vcf",
    "embed": "tutorials/embed_regions",
    "peaks": "tutorials/peaks_to_a_model",
    "own model": "tutorials/evaluate_your_model",
    "install": "install",
    "docker": "install",
    "generate": "generation",
    "mutagenesis": "mutagenesis",
    "fine-tuning": "supervised",
    "confidence interval": "concepts",
    "protocol": "concepts",
    "recipe": "recipes",
    "pretraining": "pretraining",
    "load_scorer": "api",
    "HyenaDNAConfig": "api",
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_search_finds_the_page_first_and_commands_are_copied(site, browser):
    handler = partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        page = browser.new_page()
        first = {}
        for query in SEARCHES:
            page.goto(f"{address}/search.html?q={query.replace(' ', '+')}")
            link = page.wait_for_selector("ul.search > li > a").get_attribute("href")
            first[query] = link.partition("#")[0].partition("?")[0].removesuffix(".html")
        assert first == SEARCHES
        page.goto(f"{address}/index.html")
        page.wait_for_selector("button.copybtn", state="attached")
        console = page.locator("div.highlight-console").first
        assert console.locator("button.copybtn").count() == 1
        copied = console.locator("button.copybtn").get_attribute("data-clipboard-target")
        assert page.locator(copied).inner_text().startswith("$ hyenadna score")
        assert page.locator("div.highlight-text button.copybtn").count() == 0
        server.shutdown()


def test_dead_references_are_warnings(tmp_path):
    pytest.importorskip("myst_nb", reason="myst_nb is not installed")
    (tmp_path / "conf.py").write_text('extensions = ["myst_nb"]\nmyst_heading_anchors = 4\nnitpicky = True\n')
    (tmp_path / "index.md").write_text("# A\n\n[no page](none.md), [no section](#none), {py:func}`none`\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", tmp_path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    assert done.returncode == 1
    assert re.findall(r"none(?:\.md)?", done.stderr) == ["none.md", "#none"[1:], "none"]
