"""The part of a page that a program here writes.

It lies between two comments, <!-- tables --> and <!-- end of tables -->; nothing else on the page changes.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from evaluation_dart.statistics.metric import interval_text

ROOT = Path(__file__).resolve().parents[1]
DOCS, RECORDS = ROOT / "docs", ROOT / "docs" / "records"
START, END = "<!-- tables -->", "<!-- end of tables -->"


def row(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], rule: str = "---") -> list[str]:
    """Lines of a Markdown table; `rule` is the mark below each column but the first, as "---:" for right-aligned."""
    return [row(header), row(["---", *[rule] * (len(header) - 1)]), *map(row, rows)]


def with_interval(metric: dict[str, Any] | None) -> str:
    """A value to three decimals with its interval, and n."""
    if metric is None:
        return ""
    return f"{metric['value']:.3f}{interval_text(metric)}, n {metric['n']:,}"


def model_name(record: dict[str, Any]) -> str:
    """A record's model, without what says that it is not from the Hub."""
    return str(record["model"]["id"]).removeprefix("local/").removeprefix("ab-initio/")


def read_json(path: Path) -> Any:
    """What the file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, what: Any, indent: int = 1) -> None:
    """Write a file whole or not at all."""
    write_text(path, json.dumps(what, indent=indent) + "\n")


def take(results: Path, records: Path) -> None:
    """Copy results.json of every run below `results`, without predictions, to the same place below `records`.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = sorted(results.rglob("results.json"))
    if not found:
        raise FileNotFoundError(f"{results}: no results.json below it")
    shutil.rmtree(records, ignore_errors=True)
    for path in found:
        target = records / path.relative_to(results)
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)


def put(page: Path, tables: str) -> None:
    """Replace the part of a page between the two comments.

    Raises:
        FileNotFoundError: if there is no such page.
        InputError: if it does not have both comments.
    """
    if not page.is_file():
        raise FileNotFoundError(f"{page}: no such file")
    before, start, rest = page.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(f"{page}: does not have both {START} and {END}")
    write_text(page, f"{before}{START}\n\n{tables}\n{END}{after}")
