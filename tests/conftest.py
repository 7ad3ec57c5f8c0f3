"""A browser for the tests of pages; and what every run ends with: which groups were skipped, why, and how many."""

import shutil
from collections import Counter

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


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
