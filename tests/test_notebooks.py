"""The tutorials: kept with what they print, of the code that they have; and they run, on a few rows each."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from typer.testing import CliRunner

from trainer_scripts.cli import dart_eval, hyenadna
from trainer_scripts.demo import write_inputs

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.ipynb"))
APPS = {"hyenadna": hyenadna.app, "dart-eval": dart_eval.app}
# What makes each quick: in place of its parameters, or of a word in its commands
FEW = {
    "attribution": {},
    "embed_regions": {"EVERY = 2 ": "EVERY = 5 "},
    "evaluate_your_model": {"LIMIT = None": "LIMIT = 250"},
    "peaks_to_a_model": {
        "--num-train-epochs 5": "--num-train-epochs 1",
        "--splits splits.bed": "--splits splits.bed --limit 400",
    },
    "score_a_vcf": {"EVERY = 3 ": "EVERY = 24 "},
}

spec = importlib.util.spec_from_file_location("run_tutorials", ROOT / "docs/run_tutorials.py")
run_tutorials = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_tutorials)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_outputs_are_those_of_the_code(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert notebook.metadata["executed"]["code"] == run_tutorials.code_digest(notebook)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", notebook.metadata["executed"]["date"])
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    for output in outputs:
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"/tmp/|/home/|/root/|Warning|\x1b", text), text


def test_a_changed_cell_changes_the_digest():
    notebook = nbformat.read(TUTORIALS[0], as_version=4)
    before = run_tutorials.code_digest(notebook)
    code(notebook)[1].source += "\nprint()"
    assert run_tutorials.code_digest(notebook) != before


def words(text):
    """What was printed, but for numbers."""
    return re.sub(r"[-+]?\d[\d.,]*(e-?\d+)?", "#", text)


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython in this process, in a folder with the demo's inputs; %%bash runs our commands in it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    inputs = tmp_path / "results/demo/inputs"
    inputs.parent.mkdir(parents=True)
    write_inputs(inputs)
    shell = InteractiveShell.instance()

    def bash(line, text):
        arguments = shlex.split(line)[1:]
        for command in text.replace("\\\n", " ").strip().splitlines():
            name, *words = shlex.split(command)
            words = [arguments[int(word[1:]) - 1] if re.fullmatch(r"\$\d", word) else word for word in words]
            done = CliRunner().invoke(APPS[name], words)
            assert done.exit_code == 0, done.output
            print(done.output)

    shell.register_magic_function(bash, "cell", "bash")
    yield shell
    InteractiveShell.clear_instance()


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # of tangermeme with today's numpy
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_runs_on_a_few_rows(path, shell):
    if path.stem == "attribution":
        pytest.importorskip("tangermeme", reason="tangermeme is not installed")
    few = dict(FEW[path.stem])
    for cell in code(nbformat.read(path, as_version=4)):
        source = cell.source
        for long, short in FEW[path.stem].items():
            if long in source:
                source = source.replace(long, short)
                few.pop(long)
        with capture_output() as captured:
            shell.run_cell(source, silent=True).raise_error()
        if not source.startswith("%%bash"):
            kept = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
            assert words(captured.stdout) == words(kept)
    assert not few


def test_a_notebook_is_run_and_dated(tmp_path, monkeypatch):
    path = tmp_path / "small.ipynb"
    shutil.copyfile(TUTORIALS[0], path)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [
        nbformat.v4.new_code_cell("from pathlib import Path\nprint(Path('results/demo/inputs/model').is_dir())")
    ]
    nbformat.write(notebook, path)
    for name, value in run_tutorials.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    run_tutorials.run(path)
    written = nbformat.read(path, as_version=4)
    assert written.cells[0].outputs[0].text == "True\n"
    assert written.metadata["executed"]["code"] == run_tutorials.code_digest(written)
