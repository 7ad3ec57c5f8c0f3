"""Mean ranks by hand, beside pandas' ranks, and from the command; and what has none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation_dart.tools.rank_mean import mean_ranks, rank_mean
from trainer_scripts.cli.hyenadna import main


def table(scores, subset="aabb"):
    rows = [
        {"chrom": "c", "position": number, "ref": "A", "alt": "T", "score": score, "subset": own}
        for number, (score, own) in enumerate(zip(scores, subset, strict=False))
    ]
    return pa.Table.from_pylist(rows)


def test_by_hand():
    llr, distance = table([-3.0, 1.0, -2.0, -2.0]), table([0.5, 0.9, 0.1, 0.2])
    found = rank_mean([llr, distance], turn=["minus", "as-it-is"])
    # Ranks of -LLR: 4, 1, 2.5, 2.5; of distances: 3, 4, 1, 2
    assert found["rank_mean"].to_pylist() == [3.5, 2.5, 1.75, 2.25]
    assert found["score_1"].to_pylist() == [3.0, -1.0, 2.0, 2.0]
    within = rank_mean([llr, distance], turn=["magnitude", "as-it-is"], by="subset")
    assert within["rank_mean"].to_pylist() == [1.5, 1.5, 1.25, 1.75]
    missing = rank_mean([llr, table([0.5, None, 0.1, 0.2])])
    assert missing["rank_mean"].to_pylist()[1] is None
    shuffled = distance.take([3, 0, 2, 1])
    assert rank_mean([llr, shuffled])["rank_mean"] == rank_mean([llr, distance])["rank_mean"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2)), min_size=1, max_size=30))
def test_ranks_are_those_of_pandas(rows):
    one, two, group = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"one": one, "two": two, "group": group})
    expected = frame.groupby("group")[["one", "two"]].rank(method="average").mean(axis=1)
    assert mean_ranks(np.stack([one, two], axis=1), group) == pytest.approx(expected.to_numpy())


def test_the_command(tmp_path, monkeypatch, capsys):
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path, scores in zip(paths, ([-3.0, 1.0, -2.0, -2.0], [0.5, 0.9, 0.1, 0.2]), strict=True):
        pq.write_table(table(scores), path)
    line = ["rank-mean", "--scores", paths[0], "--scores", paths[1], "--turn", "minus", "--turn", "as-it-is"]
    line += ["--by", "subset", "--output", tmp_path / "ranks.parquet"]
    monkeypatch.setattr("sys.argv", ["hyenadna", *map(str, line)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "4 variants" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "ranks.parquet")["rank_mean"].to_pylist() == [1.5, 1.5, 1.25, 1.75]


def test_what_has_no_ranks(tmp_path):
    one, two = table([1.0, 2.0]), table([1.0])
    with pytest.raises(ValueError, match="table 2 of the scores has no c:1 A>T, which the first has"):
        rank_mean([one, two])
    with pytest.raises(ValueError, match="1 scores: a mean of ranks is of two or more"):
        rank_mean([one])
    with pytest.raises(ValueError, match="1 ways to turn 2 scores"):
        rank_mean([one, one], turn=["minus"])
    with pytest.raises(ValueError, match="turned up: there are as-it-is, minus, magnitude"):
        rank_mean([one, one], turn=["up", "minus"])
    with pytest.raises(ValueError, match="by gene: the first table has the columns chrom"):
        rank_mean([one, one], by="gene")
    with pytest.raises(ValueError, match="has no column 'score'"):
        rank_mean([one.drop_columns(["score"]), one])
    with pytest.raises(ValueError, match=r"a table is written as \.parquet or \.tsv"):
        rank_mean([one, one], output=tmp_path / "x.csv")
