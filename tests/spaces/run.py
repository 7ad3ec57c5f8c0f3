"""Run the demo Space's page in Chromium, and write what was found: benchmarks/results/space.json.

python -m tests.spaces.run
"""

import json
import platform
import sys
from datetime import UTC, datetime

from tests.clients.run import ROOT, installed, outcome_of

RESULTS = ROOT / "benchmarks/results/space.json"
VERSIONS = ("gradio", "playwright", "torch", "transformers")


def main() -> int:
    """1 if a test failed, or none ran."""
    found = outcome_of("tests/spaces/test_page.py")
    record = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in VERSIONS},
        "page": found,
    }
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return int(bool(found["failed"]) or not found["passed"])


if __name__ == "__main__":
    sys.exit(main())
