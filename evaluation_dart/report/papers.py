"""A paper's published values beside what is measured here: tables as Markdown, CSV and LaTeX, and figures."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets_dart.files import replacing, write_text
from datasets_dart.formats.text import latex as latex_text
from datasets_dart.formats.text import one_line
from evaluation_dart.papers.plan import Measured
from evaluation_dart.papers.tables import Cell, Paper, Table
from evaluation_dart.records import load_record
from evaluation_dart.report.figures import FORMATS, check_figure, motif_figure
from evaluation_dart.report.motifs import motif_table
from evaluation_dart.report.published_figures import Point, lines_figure, published_figure

COLUMNS = (
    "paper",
    "table",
    "printed",
    "setting",
    "row",
    "column",
    "published",
    "source",
    "measured",
    "low",
    "high",
    "n",
    "difference",
    "difference_low",
    "difference_high",
    "model",
    "note",
    "reason",
    "record",
)
SHOWN = ("setting", "row", "column", "published", "measured", "difference", "n", "what was run, or why not")
NOT_SEEN = "not at hand"
EXACT = (
    "Difference: measured minus published, with the interval of what is measured; the published value, of which no "
    "interval is known, is taken as exact."
)
Row = Mapping[str, Any]


def paper_rows(paper: Paper, measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row for each cell: `COLUMNS`, and x and series of a figure of lines."""
    printed = {table.name: table.printed for table in paper.tables}
    return [row_of(paper.name, printed[cell.table], cell, own) for cell, own in zip(paper.cells, measured, strict=True)]


def row_of(paper: str, printed: str, cell: Cell, own: Measured) -> dict[str, Any]:
    """A cell, what is measured of it, and the difference."""

    def less(value: float | None) -> float | None:
        return None if value is None or cell.published is None else value - cell.published

    where = {"paper": paper, "table": cell.table, "printed": printed}
    about = {"setting": cell.setting, "row": cell.row, "column": cell.column}
    values = {"published": cell.published, "source": cell.source, "measured": own.value}
    ends = {"low": own.low, "high": own.high, "n": own.n}
    differences = {"difference": less(own.value), "difference_low": less(own.low), "difference_high": less(own.high)}
    ran = {"model": own.model, "note": own.note, "reason": own.reason, "record": own.record}
    drawn = {"x": cell.run.get("x"), "series": cell.run.get("series")}
    return where | about | values | ends | differences | ran | drawn


def write_paper(paper: Paper, rows: Sequence[Row], folder: Path, figures: Sequence[str] = ()) -> list[Path]:
    """tables.csv, tables.md and tables.tex, and a figure of each table; the files.

    Args:
        figures: endings of the figures' names, ".png", ".svg" or ".pdf".

    Raises:
        InputError: for another ending. MissingExtra: if there is nothing to draw with.
    """
    for ending in figures:
        check_figure(Path(f"figure{ending}"))
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder / "tables.csv")
    write_text(folder / "tables.md", "\n".join(markdown(paper, rows)) + "\n")
    write_text(folder / "tables.tex", "\n".join(latex(paper, rows)) + "\n")
    written = [folder / name for name in ("tables.csv", "tables.md", "tables.tex")]
    for table in paper.tables:
        for ending in figures:
            written += draw(table, of_table(rows, table), folder / "figures", ending)
    return written


def of_table(rows: Sequence[Row], table: Table) -> list[Row]:
    """The rows of a table's cells."""
    return [row for row in rows if row["table"] == table.name]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All columns, empty where there is no value."""
    with replacing(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def counts(rows: Sequence[Row]) -> str:
    """How many cells are measured."""
    measured = sum(row["measured"] is not None for row in rows)
    return f"{measured} of {len(rows)} cells are measured"


def markdown(paper: Paper, rows: Sequence[Row]) -> Iterator[str]:
    """Each table with its cells, a line each."""
    yield f"# {paper.citation}"
    yield from ("", f"{counts(rows)}; of the others the reason is given. {EXACT}", "")
    yield from (f"* {name}: {said}" for name, said in paper.sources.items())
    for table in paper.tables:
        own = of_table(rows, table)
        yield from ("", f"## {table.name}: {table.title}", "")
        yield f"In the paper: {table.printed}. {counts(own)}."
        yield from ("", f"| {' | '.join(SHOWN)} |", f"|{' --- |' * len(SHOWN)}")
        yield from (f"| {' | '.join(escaped(text) for text in texts_of(row))} |" for row in own)


def texts_of(row: Row) -> list[str]:
    """What is shown of a cell."""
    published = NOT_SEEN if row["published"] is None else number(row, "published")
    if row["source"] not in ("", "printed"):
        published += f" ({row['source']})"
    measured = with_ends(row, "measured", "low", "high")
    difference = with_ends(row, "difference", "difference_low", "difference_high")
    n = "" if row["n"] is None else f"{row['n']:,}"
    ran = "; ".join(text for text in (row["model"], row["note"], row["reason"]) if text)
    return [row["setting"], row["row"], row["column"], published, measured, difference, n, one_line(ran)]


def escaped(text: str) -> str:
    """Text in a cell of Markdown."""
    return text.replace("|", "\\|")


def number(row: Row, name: str) -> str:
    """A value of a row, to three decimals where the row's are shares or correlations, and to one where they are not."""
    known = [abs(row[key]) for key in ("published", "measured", "high") if row[key] is not None]
    return f"{row[name]:.3f}" if max(known) < 1.5 else f"{row[name]:.1f}"


def with_ends(row: Row, value: str, low: str, high: str) -> str:
    """A value with its interval; nothing where there is no value."""
    if row[value] is None:
        return ""
    has_ends = row[low] is not None and row[high] is not None
    return number(row, value) + (f" [{number(row, low)}, {number(row, high)}]" if has_ends else "")


def latex(paper: Paper, rows: Sequence[Row]) -> Iterator[str]:
    """Each table as a tabular of booktabs: a line for each setting and row, measured (published) in each column."""
    yield "% needs \\usepackage{booktabs}; measured (published), -- where there is none"
    for table in paper.tables:
        own = of_table(rows, table)
        columns = list(dict.fromkeys(row["column"] for row in own))
        yield f"% {table.name}: {table.title}; in the paper {table.printed}"
        yield f"\\begin{{tabular}}{{ll{'c' * len(columns)}}}"
        yield "\\toprule"
        yield " & ".join(["", "", *map(latex_text, columns)]) + " \\\\"
        yield "\\midrule"
        for setting, name in dict.fromkeys((row["setting"], row["row"]) for row in own):
            found = {row["column"]: row for row in own if (row["setting"], row["row"]) == (setting, name)}
            cells = [in_brackets(found[column]) if column in found else "" for column in columns]
            yield " & ".join([latex_text(setting), latex_text(name), *cells]) + " \\\\"
        yield from ("\\bottomrule", "\\end{tabular}")


def in_brackets(row: Row) -> str:
    """A cell: measured (published)."""
    return " ".join(
        form.format("--" if row[name] is None else number(row, name))
        for name, form in (("measured", "{}"), ("published", "({})"))
    )


def draw(table: Table, rows: Sequence[Row], folder: Path, ending: str) -> list[Path]:
    """The figure of a table: published and measured, or lines where the paper has lines; none without any number."""
    assert ending in FORMATS
    path = folder / (table.name.lower().replace(" ", "_").replace(".", "_") + ending)
    folder.mkdir(exist_ok=True)
    points = {name: [point_of(row) for row in own] for name, own in by_setting(rows).items()}
    known = {name: [p for p in own if p.published is not None or p.value is not None] for name, own in points.items()}
    known = {name: own for name, own in known.items() if own}
    if not known:
        return []
    if table.axis is not None:
        lines_figure(path, known, table.axis, table.logarithmic)
    else:
        published_figure(path, known, f"{table.title}: circle published, square measured with its 95 % interval")
    return [path, *(motif_curves(rows, path) if table.motifs else ())]


def motif_curves(rows: Sequence[Row], path: Path) -> Iterator[Path]:
    """Figures of the accuracies of all motifs, one for each setting that was run, a curve for each model."""
    for setting, own in by_setting(rows).items():
        records = {row["row"]: load_record(row["record"]) for row in own if row["measured"] is not None}
        if records:
            accuracies = {name: motif_table(record)["accuracy"].to_numpy() for name, record in records.items()}
            curves = path.with_name(f"{path.stem}_{setting}{path.suffix}")
            motif_figure(curves, accuracies, {})
            yield curves


def by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each setting."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["setting"], []).append(row)
    return found


def point_of(row: Row) -> Point:
    """A cell as a figure has it."""
    values = (row["measured"], row["low"], row["high"], row["published"])
    return Point(f"{row['row']}, {row['column']}", *values, x=row["x"], series=row["series"] or row["row"])
