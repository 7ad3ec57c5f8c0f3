"""What every run of the tests ends with: which groups of them were skipped, why, and how many."""

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The reasons of skipped tests, the most frequent first, each with its count."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(reason_of(report) for report in reports)
    if reasons:
        terminalreporter.section(f"{reasons.total()} skipped", sep="-")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:4} {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test, or a module, was skipped."""
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
