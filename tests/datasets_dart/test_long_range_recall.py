"""Windows of long_range_recall: lengths and draws by hand, and what it makes of bad input."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_dart import load_dart
from datasets_dart.formats.fasta import open_genome
from datasets_dart.held_out import held_out
from datasets_dart.long_range_recall import layout, mutated
from datasets_dart.splits import read_splits

GENOME = Path(__file__).parents[1] / "fixtures" / "genome" / "genome.fa"


@pytest.fixture
def load(tmp_path):
    def load(**options):
        given = {"genome": GENOME, "distances": "64,300", "segment": 32, "trials": 3, "cache_dir": tmp_path / "cache"}
        return load_dart("long_range_recall", split="test", **{**given, **options})

    return load


def test_layouts_by_hand():
    # 64 + 2 x 256 + 512 = 1,088 bp need 2,048
    assert layout(64, 256, 0, 1) == (64, 2048, 1472, 256, 64)
    assert layout(262_144, 256, 0, 1).length == 524_288
    assert layout(1000, 256, 0, 6) == (1000, 2048, 534, 252, 996)
    assert layout(64, 32, 256, 1).lead == 128


def test_rows(load):
    rows = load()
    assert rows["distance"][:] == [64] * 3 + [300] * 3
    assert rows["id"][:] == list(range(6))
    genome = open_genome(GENOME)
    for row in rows:
        assert row["sequence"] == genome.fetch(row["chrom"], row["start"], row["start"] + 1024)
        assert row["chrom"] in ("chr5", "chr10")
        assert len(row["mutated"]) == len(row["foreign"]) == 32
    # The first draws of the stream of seed 0, context 1,024 and distance 64: a block, and a place in it
    rng = np.random.default_rng([0, 1024, 64])
    lengths = np.array([99_987, 62_345])
    block = rng.choice(np.array([0, 1]))
    assert rows["start"][0] == rng.integers(0, lengths[block] - 1024 + 1)
    assert "3 windows of 1024 bp at a distance of 64 bp" in rows.info.description


def test_other_seeds_give_other_windows_and_a_context_leaves_distances_out(load, tmp_path):
    assert load(draw=1)["start"][:] != load()["start"][:]
    rows = load(context=256)
    assert rows["distance"][:] == [64] * 3
    assert "3 windows at a distance of 300 bp left out, more than 256 bp" in rows.info.description


def test_splits_say_where_windows_come_from(load, tmp_path):
    blocks = tmp_path / "blocks.bed"
    blocks.write_text("chr1\t1000\t3000\ttest\nchr1\t2500\t5000\ttest\nchr5\t0\t90000\ttrain\n")
    rows = load(splits=blocks)
    assert {*rows["chrom"]} == {"chr1"}
    assert min(rows["start"]) >= 1000
    assert max(rows["start"]) <= 5000 - 1024
    blocks.write_text("chr1\t1000\t1500\ttest\nchr1\t2000\t2700\ttest\n")
    rows = load(splits=blocks)
    assert rows["chrom"][:] == [None] * 6
    assert "joined of several blocks" in rows.info.description
    known = [open_genome(GENOME).fetch("chr1", start, end) for start, end in ((1000, 1500), (2000, 2700))]
    assert all(row["sequence"].startswith(tuple(known)) for row in rows)


def test_windows_of_unknown_bases_are_refused(tmp_path):
    fasta = tmp_path / "n.fa"
    fasta.write_text(">chr5\n" + "N" * 3000 + "\n")
    genome = open_genome(fasta)
    with pytest.raises(ValueError, match="no window of 100 bp with less than 1 % of N in 200 tries"):
        held_out(genome, read_splits("paper", genome.contigs)).draw(np.random.default_rng(0), 100)


@settings(max_examples=30, deadline=None)
@given(st.text("ACGTN", max_size=60), st.floats(0, 1), st.integers(0, 99))
def test_mutations_change_bases_to_others_and_leave_n(segment, rate, seed):
    changed = mutated(segment, rate, np.random.default_rng(seed))
    assert len(changed) == len(segment)
    assert all(
        after in "ACGT" and before != "N" for before, after in zip(segment, changed, strict=True) if before != after
    )
    assert mutated(segment, 0.0, np.random.default_rng(seed)) == segment
    assert all(
        a != b for a, b in zip(segment, mutated(segment, 1.0, np.random.default_rng(0)), strict=True) if a != "N"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distances": "64,64"}, "distances='64,64': a number is repeated"),
        ({"distances": "far"}, "distances='far' must be a whole number of at least 1"),
        ({"trials": 0}, "trials=0 must be a whole number of at least 1"),
        ({"mutation_rate": 0}, "mutation_rate=0 must be above 0 and at most 1"),
        ({"mutation_rate": "x"}, "mutation_rate='x' must be above 0 and at most 1"),
        ({"processed": "data.h5"}, "processed='data.h5': this task has windows of a genome only"),
        ({"context": 100}, "none of its 6 rows lies in a split|has windows at|left out"),
    ],
)
def test_what_cannot_be(options, message, load):
    with pytest.raises(ValueError, match=message):
        load(**options)
