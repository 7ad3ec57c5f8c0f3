"""Run transformers' own shared tests on HyenaDNA: python tests/transformers_suite/run.py [pytest arguments]

The tests are those of the installed transformers version: ModelTesterMixin, ConfigTester, TrainingTesterMixin and
TokenizerTesterMixin. They come from its source distribution on PyPI, are unpacked into .cache/ at the root of the
repository, and are nowhere copied into it. None is deselected; those that do not apply (attention, experts, rotary
positions, an accelerator that is not there) skip themselves, and `-rs` lists them with their reasons.

The source distribution leaves out the shared tests of generation and of export, for which the stubs below stand.
`--checkout FOLDER` takes these from a checkout of transformers instead; those of export at the installed version only.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache/transformers_suite"

# Imported by the shared tests, but not in the source distribution.
STUBS = {
    "__init__.py": "",
    "exporters/__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n\n\nclass ExportGenerateTesterMixin:\n    pass\n",
    "generation/__init__.py": "",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/__init__.py": "",
    "utils/test_configuration_utils.py": """config_common_kwargs = {
    "architectures": ["HyenaDNAModel"],
    "dtype": "float16",
    "id2label": {0: "closed", 1: "open", 2: "poised"},
    "label2id": {"closed": 0, "open": 1, "poised": 2},
    "output_hidden_states": True,
    "problem_type": "regression",
    "return_dict": False,
}
""",
    "fixtures/sample_text.txt": "ACGTNNACGTTTGACA\n\nGATTACA\n",
}


def source_distribution(release: str) -> Path:
    """transformers-{release}.tar.gz from the package index, downloaded once."""
    archive = CACHE / f"transformers-{release}.tar.gz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
            if subprocess.run([*command, "--dest", folder, f"transformers=={release}"], check=False).returncode:
                raise SystemExit(f"the source distribution of transformers {release} could not be downloaded")
            os.replace(Path(folder) / archive.name, archive)
    return archive


def unpack(release: str, checkout: Path | None) -> Path:
    """A folder with the package `tests`: this release's shared tests; for what it lacks, a checkout's, or stubs."""
    folder = CACHE / release
    tests = folder / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    inside = f"transformers-{release}/tests/"
    with tarfile.open(source_distribution(release)) as archive:
        members = [member for member in archive.getmembers() if member.name.startswith(inside) and member.isfile()]
        archive.extractall(folder, members, filter="data")
    (folder / f"transformers-{release}/tests").rename(tests)
    if checkout is not None:
        source = (checkout / "src/transformers/__init__.py").read_text(encoding="utf-8")
        found = source.partition('__version__ = "')[2].partition('"')[0]
        print(f"tests of generation: of transformers {found}; the others and the model code: {release}")
        # Those of export go with the exporters of their own version.
        for pattern in ("generation/*.py", *(["exporters/*.py"] if found == release else [])):
            for file in (checkout / "tests").glob(pattern):
                target = tests / file.relative_to(checkout / "tests")
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)
    for name, text in STUBS.items():
        path = tests / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="a checkout of transformers, for tests of generation and export")
    arguments, for_pytest = parser.parse_known_args()
    folder = unpack(version("transformers"), arguments.checkout)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
    }
    # The repository's own pytest settings are for its own tests; prepend mode leaves the name `tests` to transformers.
    settings = ["-c", os.devnull, "--rootdir", str(HERE), "--import-mode=prepend", "-p", "no:cacheprovider"]
    quiet = ["-q", "-W", "ignore::pytest.PytestUnknownMarkWarning", "-W", "ignore::DeprecationWarning"]
    command = [sys.executable, "-m", "pytest", *settings, *quiet, str(HERE / "hyenadna_suite.py"), *for_pytest]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
