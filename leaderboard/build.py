"""Write data.js, all that the leaderboard shows: the records in records/ and given ones, and published.json.

python leaderboard/build.py
dart-eval report results --leaderboard leaderboard
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets_dart.files import replacing
from evaluation_dart.records import RESULTS, fingerprint, read_record
from evaluation_dart.report.tables import board_row, record_folders

HERE = Path(__file__).parent
# Of published figures by where they were read; the page shows the words.
SOURCES = ("paper table", "authors' notebook", "authors' code", "read off a plot")


def build(folder: str | os.PathLike[str] = HERE, records: Iterable[Path] = ()) -> int:
    """Copy the results.json of `records` (validated by the caller) into `folder`/records, then write `folder`/data.js
    from all that lie there; returns the number of rows.

    Raises:
        ValueError: naming the file and the value that cannot be shown.
    """
    folder = Path(folder)
    for record in records:
        place = folder / "records" / fingerprint(read_record(record))[:12]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record / RESULTS, place / RESULTS)
    rows = published_rows(folder / "published.json")
    own = record_folders([folder / "records"]) if any((folder / "records").rglob(RESULTS)) else []
    rows += [board_row(read_record(record), f"{record.relative_to(folder).as_posix()}/{RESULTS}") for record in own]
    with replacing(folder / "data.js") as unfinished:
        unfinished.write_text(script(rows), encoding="utf-8")
    return len(rows)


def script(rows: list[dict[str, Any]]) -> str:
    """The rows as a JavaScript assignment. No value can end the script or start a tag: `<`, `>`, `&` are escaped."""
    text = json.dumps(rows, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.ROWS = {text};\n"


def published_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of published.json: groups of figures that share task, setting, protocol, data and source."""
    rows = []
    for group in json.loads(path.read_text(encoding="utf-8")):
        if group["source"] not in SOURCES:
            raise ValueError(f"{path}: source is {group['source']!r}, not one of {', '.join(SOURCES)}")
        shared = {key: group[key] for key in ("task", "setting", "protocol", "data", "context", "source", "headline")}
        for model, values in group["models"].items():
            metrics = {
                name: {"value": value, "low": None, "high": None, "n": group.get("n"), "higher_is_better": True}
                for name, value in zip(group["metrics"], values, strict=True)
            }
            known = group.get("parameters", {}).get(model, PARAMETERS.get(model))
            about = {"model": model, "revision": "", "parameters": known, "recipe": group.get("recipe", "")}
            about |= {"baseline": model in group.get("baselines", ()), "date": group.get("date", "")}
            rows.append(shared | about | {"metrics": metrics, "link": group["link"], "where": group["where"]})
    return rows


# From the specification of the benchmark's models.
PARAMETERS = {
    "Caduceus": 7_700_000,
    "DNABERT-2": 117_000_000,
    "GENA-LM": 336_000_000,
    "HyenaDNA": 6_600_000,
    "Mistral-DNA": 1_600_000_000,
    "Nucleotide Transformer v2": 498_000_000,
}


if __name__ == "__main__":
    print(f"{HERE / 'data.js'}: {build()} rows")
