"""Print benchmarks/results/*.json as one Markdown table: python benchmarks/table.py"""

import json
from pathlib import Path
from typing import Any


def table(records: list[dict[str, Any]]) -> str:
    """Markdown table of every row of every record, in the order given.

    The ratio says how many times better the measurement is than its peer: below 1 it is worse.
    """
    lines = [
        "| benchmark | measured | | beside it | | ratio | on |",
        "|---|---|---:|---|---:|---:|---|",
    ]
    for record in records:
        machine = record["machine"]
        where = machine["gpu"] or f"{machine['cores']} core{'s' if machine['cores'] > 1 else ''}"
        for row in record["rows"]:
            better, worse, unit = row["value"], row["against_value"], row["unit"]
            ratio = figure(better / worse if row["higher_is_better"] else worse / better)
            figures = f"{row['what']} | {figure(better)} {unit} | {row['against']} | {figure(worse)} {unit} | {ratio}×"
            lines.append(f"| {record['benchmark']} | {figures} | {where} |")
    return "\n".join(lines)


def figure(value: float) -> str:
    """Three significant digits, thousands set apart: 0.00812, 12.3, 1,450."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


if __name__ == "__main__":
    files = sorted((Path(__file__).parent / "results").glob("*.json"))
    records = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    print(table([record for record in records if "rows" in record]))
