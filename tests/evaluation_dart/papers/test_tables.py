"""The published tables as data: which cells there are, and that each names a run that exists."""

from collections import Counter

import pytest

from datasets_dart.errors import InputError
from datasets_dart.public import dataset_names
from evaluation_dart.papers.tables import PAPERS, Cell, read_paper
from evaluation_dart.tasks import TASKS
from trainer_scripts.finetune import METRICS, recipe_of
from trainer_scripts.in_context_grid import AXES, GridArguments
from trainer_scripts.in_context_grid import cells as cells_of_grid
from trainer_scripts.paper_cells import PROGRAMS

# Rows by name of HyenaDNA's recipes, which cite the same tables
RECIPE_ROWS = {"HyenaDNA": "HyenaDNA", "from scratch": "HyenaDNA from scratch", "Transformer": "Transformer"}


def cell(paper, table, setting, row, column):
    (found,) = (
        own
        for own in read_paper(paper).cells
        if (own.table, own.setting, own.row, own.column) == (table, setting, row, column)
    )
    return found


def test_every_cell_of_dart_eval_is_there():
    cells = read_paper("dart-eval").cells
    # Six models, and the networks from scratch; Table 6 has likelihoods of three models
    assert Counter(own.table for own in cells) == {
        "Task 1": 6 + 12 + 12 + 2,
        "Task 2": 6 + 6,
        "Task 3": 6 + 36 + 36 + 12,
        "Task 4": 60 + 60 + 10,
        "Task 5": 6 + 12 + 24 + 24 + 4,
    }
    assert Counter(own.source for own in cells)["plot"] == 4
    assert [own.table for own in cells if own.published is None] == ["Task 2"] * 8 + ["Task 3"] * 6


def test_every_cell_of_hyenadna_is_there():
    cells = read_paper("hyenadna").cells
    assert Counter(own.table for own in cells) == {
        "Table 4.1": 4 * 8,
        "Table A.4": 5 * 8,
        "Table 4.2": 6 * 18,
        "Table 4.3": 4 * 3,
        "Table 4.5": 2 + 5 + 4,
        "Section 4.4.2": 3,
        "Figure 4.1": 3 * 6,
        "Figure 4.2": 6 * 8,
        "Figure A.1": 5 * 16,
    }


def test_values_are_where_the_papers_have_them():
    one = cell("dart-eval", "Task 4", "finetuned", "Nucleotide Transformer", "AUROC K562")
    assert (one.published, one.source, one.run["data"], one.run["metric"]) == (
        0.941,
        "printed",
        "chromatin_activity/K562",
        "auroc",
    )
    other = cell("dart-eval", "Task 5", "probed", "DNABERT-2", "dsQTL AUROC")
    assert (other.published, other.source) == (0.476, "notebook")
    species = cell("hyenadna", "Table 4.5", "finetuned", "HyenaDNA", "450k")
    assert (species.published, species.scale, species.run["arguments"]) == (99.4, 100.0, {"length": 450_000})
    soft = cell("hyenadna", "Figure 4.2", "soft_prompt, human_ocr_ensembl", "HyenaDNA in context", "32 vectors")
    assert soft.run["arguments"] == {"method": "soft_prompt", "virtual_tokens": 32}


def test_the_recipes_cite_the_same_values():
    for own in read_paper("hyenadna").cells:
        if own.table in ("Table 4.1", "Table A.4", "Table 4.2") and own.row in RECIPE_ROWS.values():
            published = recipe_of(own.run["task"])[1]["published"]
            assert own.published in [published[name] for name, row in RECIPE_ROWS.items() if row == own.row]
        if own.table == "Table 4.5":
            published = recipe_of("species", own.run["arguments"]["length"])[1]["published"]
            names = [name for name, row in RECIPE_ROWS.items() if row == own.row]
            assert own.published == published[names[0]]


@pytest.mark.parametrize(("figure", "method"), [("Figure 4.2", "soft_prompt"), ("Figure A.1", "few_shot")])
def test_the_figures_of_learning_in_context_are_the_grids(figure, method):
    grid = cells_of_grid(GridArguments(method, "out"))
    known = {tuple(own[name] for name in ("task", "method", *AXES[method])) for own in grid}
    cells = [own.run for own in read_paper("hyenadna").cells if own.table == figure]
    given = [{"shots": 0} | own["arguments"] | {"task": own["task"]} for own in cells]
    assert {tuple(own[name] for name in ("task", "method", *AXES[method])) for own in given} == known
    assert len(cells) == len(known)


@pytest.mark.parametrize("name", PAPERS)
def test_each_cell_names_a_run_that_there_is(name):
    paper = read_paper(name)
    assert {own.row for own in paper.cells} <= paper.models.keys()
    assert {own.source for own in paper.cells} <= {"", *paper.sources}
    cells = Counter((own.table, own.setting, own.row, own.column) for own in paper.cells)
    assert max(cells.values()) == 1
    for own in paper.cells:
        check = check_dart_eval if name == "dart-eval" else check_hyenadna
        check(own)


def check_dart_eval(own: Cell) -> None:
    assert own.setting in TASKS[own.run["task"]].settings
    known = [*dataset_names(), *(f"chromatin_activity/{cell}" for cell in ("GM12878", "K562"))]
    assert own.run["data"] in known or own.run["data"].startswith("chromatin_activity/")
    assert own.published is None or -1 <= own.published <= 1


def check_hyenadna(own: Cell) -> None:
    assert own.run["program"] in PROGRAMS
    if own.run["program"] in ("finetune", "in_context"):
        assert own.run["metric"].removesuffix("_TF").removesuffix("_DHS").removesuffix("_HM") in METRICS
        arguments, _ = recipe_of(own.run["task"], own.run.get("arguments", {}).get("length"))
        assert "model" in arguments


def test_an_unknown_paper_is_an_error():
    with pytest.raises(InputError, match="no paper 'caduceus': there are dart-eval, hyenadna"):
        read_paper("caduceus")
