"""The page of the papers' tables: what is measured, and why the rest is not."""

import csv

from evaluation_dart.papers.plan import Measured
from evaluation_dart.papers.tables import read_paper
from evaluation_dart.report.papers import COLUMNS, paper_rows, write_csv
from studies.real_papers import page_of, read_rows


def test_the_page_shows_what_is_measured_and_counts_the_rest(tmp_path):
    paper = read_paper("dart-eval")
    measured = [Measured(reason="no model: its weights are not at hand") for _ in paper.cells]
    measured[3] = Measured(0.75, 0.5, 1.0, 40, "org/a", "small")
    write_csv(paper_rows(paper, measured), tmp_path / "tables.csv")
    with open(tmp_path / "tables.csv", newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    rows = read_rows(tmp_path / "tables.csv")
    assert rows[3]["difference"] == 0.75 - 0.891
    lines = list(page_of(rows))
    assert lines[0] == "1 of 334 cells are measured."
    cells = "zero_shot_likelihood | HyenaDNA | accuracy | 0.891 | 0.750 [0.500, 1.000] | -0.141 [-0.391, 0.109] | 40"
    assert f"| Task 1 | {cells} |" in lines
    assert "- HyenaDNA: org/a, small" in lines
    assert lines[-1].startswith("- 333: no model: its weights are not at hand (Task 1, Caduceus; ")
