"""The notebooks of docs/tutorials, run from top to bottom and kept with what they print.

    python docs/run_tutorials.py [NAME ...]

Each runs in a folder of its own, with what `hyenadna demo` leaves in `results/demo/inputs`. A notebook that fails is
not written. `executed` in its metadata has the date, and a digest of the code that was run.
"""

import argparse
import datetime
import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs/tutorials"
MINUTES = 30  # a cell may take
# Of the kernel and the commands that it starts: this checkout's code, no bars, no colours, one width of tables
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    "TQDM_DISABLE": "1",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "COLUMNS": "110",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, without widgets
}


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of the code cells' sources, in their order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def run(path: Path) -> None:
    """Run a notebook and write it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: of a cell that fails.
    """
    from datasets_dart.files import write_text
    from trainer_scripts.demo import write_inputs

    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        inputs = Path(folder) / "results/demo/inputs"
        inputs.parent.mkdir(parents=True)
        write_inputs(inputs)
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook,
            timeout=60 * MINUTES,
            kernel_name="python3",
            resources=resources,
            record_timing=False,
            coalesce_streams=True,
        ).execute()
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if output.output_type == "stream":
                    output.text = output.text.replace(f"{folder}/", "")
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
        "executed": {
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "hyenadna-dart": version("hyenadna-dart"),
            "code": code_digest(notebook),
        },
    }
    write_text(path, nbformat.writes(notebook) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in TUTORIALS.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(names)}; by default all")
    chosen = parser.parse_args(arguments).names or names
    if unknown := sorted({*chosen} - {*names}):
        parser.error(f"no such notebook: {', '.join(unknown)}; there are {', '.join(names)}")
    os.environ.update(ENVIRONMENT)
    sys.path.insert(0, str(ROOT))
    for name in chosen:
        run(TUTORIALS / f"{name}.ipynb")
        print(f"{name}: run")


if __name__ == "__main__":
    main()
