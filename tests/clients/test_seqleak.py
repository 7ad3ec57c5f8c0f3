"""seqleak, called by `dart-eval check`, finds a sequence that is in two splits."""

import pytest
from datasets import Dataset

from evaluation_dart.tools.checks import check

pytest.importorskip("seqleak", reason="seqleak is not installed: pip install 'hyenadna-dart[seqleak]'")


def test_a_repeated_sequence_is_found(sequences):
    long = ["".join(sequences[number:] + sequences[:number]) for number in range(8)]
    train = Dataset.from_dict({"sequence": long[:6], "label": [0, 1] * 3})
    test = Dataset.from_dict({"sequence": [long[0], long[7]], "label": [0, 1]})
    found = check({"train": train, "test": test}).seqleak
    assert found["called"], found["why"]
    assert found["verdict"] == "FAIL", found
