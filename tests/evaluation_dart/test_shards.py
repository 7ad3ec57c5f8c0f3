"""Shards of rows: what is whole and in its place is kept, everything else is made again."""

import threading

import numpy as np
import pyarrow as pa
import pytest

from evaluation_dart.shards import NULLS, Stages, read_shard, score_in_shards, shards_of

ROWS, SIZE = 10, 4


def score(folder, identity="run"):
    """The rows scored now, and all that are there."""
    scored = []

    def rows_of(rows):
        scored.extend(rows)
        return {"value": np.arange(rows.start, rows.stop)}

    score_in_shards(lambda: rows_of, ROWS, folder, SIZE, identity)
    return scored, pa.concat_tables(map(read_shard, shards_of(folder)))["value"].to_pylist()


def empty(folder):
    shards_of(folder)[1].write_bytes(b"")
    return [1]


def flip(folder):
    path = shards_of(folder)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return [0]


def swap(folder):
    one, two, _ = shards_of(folder)
    names = [(one, f"{one.name[:10]}{two.name[10:]}"), (two, f"{two.name[:10]}{one.name[10:]}")]
    contents = [two.read_bytes(), one.read_bytes()]
    for (path, name), content in zip(names, contents, strict=True):
        path.unlink()
        (folder / name).write_bytes(content)
    return [0, 1]


def exchange(folder):
    one, two, _ = shards_of(folder)
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    return [0, 1]


def leave(folder):
    (folder / f".0000000000-0.parquet.{'0' * 32}").write_bytes(b"half")
    (folder / f"0000000004-{'0' * 16}.parquet").write_bytes(b"old")
    return []


@pytest.mark.parametrize("damage", [empty, flip, swap, exchange, leave])
def test_what_is_not_whole_or_in_its_place_is_made_again(tmp_path, damage):
    assert score(tmp_path)[0] == list(range(ROWS))
    assert score(tmp_path) == ([], list(range(ROWS)))
    shards = damage(tmp_path)
    again, values = score(tmp_path)
    expected = [row for shard in shards for row in range(shard * SIZE, min(ROWS, (shard + 1) * SIZE))]
    assert values == list(range(ROWS))
    assert again == expected
    assert len(list(tmp_path.iterdir())) == 3


def test_shards_of_another_run_are_not_taken(tmp_path):
    score(tmp_path, "one")
    assert score(tmp_path, "two") == (list(range(ROWS)), list(range(ROWS)))


def test_the_next_rows_are_read_in_a_thread_beside_the_work(tmp_path):
    """Each in its order, one ahead of the work, across the shards; not at all what already exists."""
    read, reading = [], threading.Event()

    def read_rows(rows):
        read.append((rows.start, rows.stop, threading.current_thread() is threading.main_thread()))
        reading.set()
        return [row * row for row in rows]

    def work(rows, squares):
        assert threading.current_thread() is threading.main_thread()
        if rows.start == 0:
            reading.clear()
            while len(read) < 2:  # the next ones are read while these are worked on
                assert reading.wait(10)
        return {"row": list(rows), "square": squares}

    score_in_shards(lambda: Stages(read_rows, work), 10, tmp_path, 4, "run", step=3)
    assert read == [(0, 3, False), (3, 4, False), (4, 7, False), (7, 8, False), (8, 10, False)]
    table = pa.concat_tables(map(read_shard, shards_of(tmp_path)))
    assert table["square"].to_pylist() == [row * row for row in range(10)]
    shards_of(tmp_path)[1].unlink()
    read.clear()
    assert score_in_shards(lambda: Stages(read_rows, work), 10, tmp_path, 4, "run", step=4) == 4
    assert read == [(4, 8, False)]


def test_an_error_in_the_thread_is_that_of_the_run(tmp_path):
    def read_rows(rows):
        raise ValueError(f"cannot read {rows.start}")

    with pytest.raises(ValueError, match="cannot read 0"):
        score_in_shards(lambda: Stages(read_rows, lambda rows, given: {}), 10, tmp_path, 4, "run")
    assert not shards_of(tmp_path)


def test_rows_that_have_only_nulls_go_with_those_that_do_not(tmp_path):
    names = [None, None, None, None, "a", "b", None]

    def rows_of(rows):
        return {"motif": names[rows.start : rows.stop], "label": [None] * len(rows)}

    score_in_shards(lambda: rows_of, len(names), tmp_path, 5, "run", 2)
    parts = [read_shard(path) for path in shards_of(tmp_path)]
    assert [part.schema.field("motif").type for part in parts] == [pa.string(), pa.string()]
    whole = pa.concat_tables(parts, promote_options=NULLS)
    assert whole["motif"].to_pylist() == names
    assert whole["label"].null_count == len(names)
