"""Run the test of every client, and write which versions did what: benchmarks/results/clients.json, and the table of
docs/with_other_tools.md.

    python tests/clients/run.py
"""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks/results/clients.json", ROOT / "docs/with_other_tools.md"
BEGIN, END = "<!-- clients: written by tests/clients/run.py -->\n", "<!-- end of clients -->\n"
# The distributions that each test is of.
CLIENTS = {
    "test_accelerate": ["accelerate"],
    "test_benchmarks": [],
    "test_captum": ["captum"],
    "test_lighteval": ["lighteval"],
    "test_lm_eval": ["lm-eval"],
    "test_onnxruntime": ["onnxruntime"],
    "test_optuna": ["optuna"],
    "test_quantised": ["bitsandbytes", "torchao"],
    "test_recall_bench": ["recall-bench"],
    "test_sentence_transformers": ["sentence-transformers"],
    "test_seqleak": ["seqleak"],
    "test_tangermeme": ["tangermeme"],
    "test_trl": ["trl"],
}
ALWAYS = ["transformers", "torch", "peft"]


def installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def outcome_of(path: str) -> dict[str, Any]:
    """Counts of the tests of a file, and the reasons of those that were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", path, f"--junit-xml={report}"]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = [*ElementTree.parse(report).getroot().iter("testcase")]
    skipped = [case.find("skipped") for case in cases]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    reasons = sorted({str(own.get("message")) for own in skipped if own is not None})
    count = len(cases) - len(failed) - sum(own is not None for own in skipped)
    return {"passed": count, "failed": len(failed), "skipped": reasons}


def table(record: dict[str, Any]) -> str:
    """The page's table of a record."""
    versions = record["versions"]
    common = ", ".join(f"{name} {versions[name]}" for name in ALWAYS)
    lines = [f"Last run on {record['date']} with {common}:", "", "| tool | version | tests |", "| --- | --- | --- |"]
    for test, own in record["clients"].items():
        names = CLIENTS[test] or ["scoring code of Carbon, biofoundation and TraitGym"]
        shown = " ".join(versions.get(name) or "not installed" for name in CLIENTS[test])
        found = f"{own['passed']} passed" + (f", **{own['failed']} failed**" if own["failed"] else "")
        if own["skipped"]:
            found = (
                (f"{found}; " if own["passed"] or own["failed"] else "") + "not run here: " + "; ".join(own["skipped"])
            )
        lines.append(f"| {', '.join(names)} | {shown} | {found} |")
    return "\n".join(["", *lines, "", ""])


def with_table(page: str, record: dict[str, Any]) -> str:
    """The page with the table of a record."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table(record) + END + rest.partition(END)[2]


def main() -> int:
    """Run all; 1 if a test failed."""
    names = sorted({*ALWAYS, *(name for own in CLIENTS.values() for name in own)})
    record = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": sys.version.split()[0],
        "versions": {name: installed(name) for name in names},
        "clients": {test: outcome_of(f"tests/clients/{test}.py") for test in CLIENTS},
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
    return int(any(own["failed"] for own in record["clients"].values()))


if __name__ == "__main__":
    sys.exit(main())
