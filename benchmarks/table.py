"""Print benchmarks/results/*.json as one Markdown table: python benchmarks/table.py"""

import json
import sys
from pathlib import Path
from typing import Any


def table(records: list[dict[str, Any]]) -> str:
    """Markdown table of every row of every record, in the order given.

    The ratio says how many times better the measurement is than what stands beside it: below 1 it is worse.
    """
    lines = [
        "| benchmark | measured | | beside it | | ratio | on |",
        "|---|---|---:|---|---:|---:|---|",
    ]
    for record in records:
        machine = record["machine"]
        where = machine["gpu"] or f"{machine['cores']} cores"
        for row in record["rows"]:
            better, worse = row["value"], row["against_value"]
            ratio = better / worse if row["higher_is_better"] else worse / better
            cells = [
                record["benchmark"],
                row["what"],
                f"{figure(row['value'])} {row['unit']}",
                row["against"],
                f"{figure(row['against_value'])} {row['unit']}",
                f"{figure(ratio)}×",
                where,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(value: float) -> str:
    """Three significant digits, thousands set apart: 0.00812, 12.3, 1,450."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


if __name__ == "__main__":
    files = sorted((Path(__file__).parent / "results").glob("*.json"))
    if not files:
        sys.exit("benchmarks/results holds no *.json yet: run a benchmark first (benchmarks/README.md)")
    print(table([json.loads(file.read_text(encoding="utf-8")) for file in files]))
