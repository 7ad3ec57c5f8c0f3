"""Our readers and the tools that the field trusts read the same in real files: those of this repository, and all others
that are installed."""

import shutil
from pathlib import Path

import pytest

from tests.real_files.compare import DEFAULT_FOLDERS, FETCHED, FIXTURES, TOOLS, Outcome, files, is_fault, outcome


def compared(path: Path, kind: str) -> Outcome:
    tool = TOOLS.get(kind)
    if tool and not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    return outcome(path, kind)


@pytest.mark.parametrize(("path", "kind"), [pytest.param(*one, id=one[0].name) for one in files([FIXTURES])])
def test_files_of_this_repository(path, kind):
    one = compared(path, kind)
    assert not is_fault(one), one


@pytest.mark.skipif(not FETCHED.is_dir(), reason="tests/real_files/fetch.sh has not been run")
@pytest.mark.parametrize("kind", ["vcf", "bed", "fasta", "bigwig", "gtf", "meme"])
def test_files_that_are_installed(kind):
    outcomes = [compared(path, kind) for path, its in files(DEFAULT_FOLDERS[1:]) if its == kind]
    assert [one for one in outcomes if is_fault(one)] == []
    assert any(one.state == "equal" for one in outcomes)
