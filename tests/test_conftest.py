"""A run of the tests that skips some says so at its end."""

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_in_a_browser(number):
    pytest.skip("there is no browser")

@pytest.mark.skipif(True, reason="there is no GPU")
def test_on_a_gpu():
    pass

def test_that_runs():
    pass
"""


def test_skipped_groups_are_counted_by_reason(tmp_path):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_some.py").write_text(SOURCE)
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.importorskip('no_such_module', reason='no module')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if " 5 skipped " in line)
    assert lines[start + 1] == "   3 there is no browser"
    assert sorted(lines[start + 2 : start + 4]) == ["   1 no module", "   1 there is no GPU"]
