"""The table of benchmark results."""

import runpy
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_table_of_ratios():
    table = runpy.run_path(str(BENCHMARKS / "table.py"))["table"]
    time = {"what": "ids", "value": 8.0, "against": "loop", "against_value": 1450.4, "unit": "ms"}
    rate = {"what": "pairs", "value": 1500.0, "against": "loop", "against_value": 3000.0, "unit": "a second"}
    rows = [time | {"higher_is_better": False}, rate | {"higher_is_better": True}]
    cpu = {"processor": "x", "cores": 2, "gpu": None}
    lines = table([{"benchmark": "b", "machine": cpu, "rows": rows}]).splitlines()
    assert lines[2:] == [
        "| b | ids | 8 ms | loop | 1,450 ms | 181× | 2 cores |",
        "| b | pairs | 1,500 a second | loop | 3,000 a second | 0.5× | 2 cores |",
    ]


def test_interval_of_a_median_by_ranks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    interval = runpy.run_path(str(BENCHMARKS / "checkouts.py"))["interval_of_median"]
    # The ranks of the sign test at 5 %: 10 and 21 of 30, 2 and 9 of 10; all where there are too few.
    assert [interval(list(range(count, 0, -1))) for count in (30, 10, 5)] == [(10, 21), (2, 9), (1, 5)]
