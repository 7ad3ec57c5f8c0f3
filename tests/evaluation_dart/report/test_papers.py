"""Published beside measured: differences, tables and figures."""

import csv

import pytest

from datasets_dart.errors import InputError
from evaluation_dart.papers.plan import Measured
from evaluation_dart.papers.tables import Cell, Paper, Table
from evaluation_dart.report.papers import latex, markdown, paper_rows, write_paper

RUN = {"metric": "accuracy"}
BARS = (
    Cell("Table 1", "probed", "A", "x & y", 0.5, "printed", RUN),
    Cell("Table 1", "probed", "B", "x & y", 0.25, "notebook", RUN),
    Cell("Table 1", "probed", "B", "z", None, "", RUN),
)
LINES = tuple(
    Cell("Figure 2", "runtime", "A", f"{x} tokens", 160.0 if x else None, "printed", RUN | {"x": x}) for x in (0, 8)
)
PAPER = Paper(
    "toy",
    "Someone, A paper",
    {"printed": "a paper", "notebook": "its notebooks"},
    {},
    (Table("Table 1", "Accuracy", "Table 7", BARS), Table("Figure 2", "Time", "Figure 2", LINES, "tokens", True)),
)
MEASURED = [
    Measured(0.75, 0.625, 1.0, 20, "org/a", "small", record="r/1"),
    Measured(model="org/b", reason="no | data"),
    Measured(0.5, None, None, 4, "org/b"),
    Measured(2.0, 1.0, 4.0, 6, "A on cpu"),
    Measured(320.0, 240.0, 400.0, 6, "A on cpu"),
]


def test_differences_have_the_interval_of_what_is_measured():
    rows = paper_rows(PAPER, MEASURED)
    ends = ("difference", "difference_low", "difference_high")
    assert [[row[name] for name in ends] for row in rows] == [
        [0.25, 0.125, 0.5],
        [None] * 3,
        [None] * 3,
        [None] * 3,
        [160.0, 80.0, 240.0],
    ]
    assert [row["printed"] for row in rows] == ["Table 7"] * 3 + ["Figure 2"] * 2


def test_tables_for_people():
    lines = list(markdown(PAPER, paper_rows(PAPER, MEASURED)))
    assert "| probed | A | x & y | 0.500 | 0.750 [0.625, 1.000] | 0.250 [0.125, 0.500] | 20 | org/a; small |" in lines
    assert "| probed | B | x & y | 0.250 (notebook) |  |  |  | org/b; no \\| data |" in lines
    assert "| probed | B | z | not at hand | 0.500 |  | 4 | org/b |" in lines
    assert "In the paper: Table 7. 2 of 3 cells are measured." in lines
    tabular = list(latex(PAPER, paper_rows(PAPER, MEASURED)))
    assert " &  & x \\& y & z \\\\" in tabular
    assert "probed & A & 0.750 (0.500) &  \\\\" in tabular
    assert "probed & B & -- (0.250) & 0.500 (--) \\\\" in tabular


def test_files_are_written_and_the_same_again(tmp_path):
    pytest.importorskip("matplotlib")
    rows = paper_rows(PAPER, MEASURED)
    written = write_paper(PAPER, rows, tmp_path, (".svg",))
    names = [str(path.relative_to(tmp_path)) for path in written]
    assert names == ["tables.csv", "tables.md", "tables.tex", "figures/table_1.svg", "figures/figure_2.svg"]
    with open(tmp_path / "tables.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["measured"] for row in read] == ["0.75", "", "0.5", "2.0", "320.0"]
    assert [row["reason"] for row in read][1] == "no | data"
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_paper(PAPER, rows, tmp_path, (".svg",))] == first


def test_nothing_is_drawn_of_a_table_without_numbers(tmp_path):
    pytest.importorskip("matplotlib")
    paper = Paper("toy", "", {}, {}, (Table("Table 1", "", "", BARS[2:]),))
    written = write_paper(paper, paper_rows(paper, [Measured(reason="none")]), tmp_path, (".png",))
    assert [path.name for path in written] == ["tables.csv", "tables.md", "tables.tex"]
    with pytest.raises(InputError, match="a figure is written as"):
        write_paper(paper, [], tmp_path, (".gif",))
