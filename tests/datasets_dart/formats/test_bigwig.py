"""Sums of a bigWig against the original's counts and the definition."""

import copy
import json
import struct
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from datasets_dart.formats.bigwig import Signal, log_counts

LOADERS = Path(__file__).parents[2] / "fixtures" / "task4" / "loaders"


def write_bigwig(path, contigs, rows):
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list(contigs.items()))
    for chrom, start, end, value in rows:
        file.addEntries([chrom], [start], ends=[end], values=[value])
    file.close()
    return path


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    rows = [line.split() for line in (LOADERS / "signal.bedGraph").read_text().splitlines()]
    contigs = json.loads((LOADERS / "contigs.json").read_text())
    rows = [(chrom, int(start), int(end), float(value)) for chrom, start, end, value in rows]
    return write_bigwig(tmp_path_factory.mktemp("signal") / "signal.bw", contigs, rows), rows, contigs


def test_sums_equal_the_originals(golden):
    expected = json.loads((LOADERS / "expected.json").read_text())["overhang"]["finetune_counts"]
    table = [line.split() for line in (LOADERS / "overhang.tsv").read_text().splitlines()[1:]]
    chrom = np.array([row[0] for row in table], dtype=object)
    start = np.array([int(row[1]) + 557 for row in table])
    assert log_counts(Signal(golden[0]), chrom, start, 1000).tolist() == np.log1p(expected).tolist()


def test_sums_equal_the_definition_anywhere(golden, monkeypatch):
    path, rows, contigs = golden
    dense = np.zeros(3000 + contigs["chr1"])  # 1500 on either side
    for chrom, start, end, value in rows:
        if chrom == "chr1":
            dense[1500 + start : 1500 + end] = value
    starts = np.random.default_rng(0).integers(-1500, contigs["chr1"] + 400, size=200)
    expected = [dense[1500 + start : 1500 + start + 1000].sum() for start in starts.tolist()]
    signal = copy.copy(Signal(path))  # as a process gets it
    assert signal.sums("chr1", starts, 1000).tolist() == expected
    monkeypatch.setattr("datasets_dart.formats.fasta.SPAN", 1)  # every window read on its own
    assert signal.sums("chr1", starts, 1000).tolist() == expected
    assert signal.sums("chr9", starts[:2], 1000).tolist() == [0, 0]


def test_what_is_not_covered_counts_as_nothing(tmp_path):
    path = write_bigwig(tmp_path / "x.bw", {"chr1": 1000}, [("chr1", 10, 20, 3.0)])
    assert Signal(path).sums("chr1", np.array([0, 15, 500]), 20).tolist() == [30, 15, 0]


def test_nan_is_an_error_or_as_the_original_has_it_nothing(tmp_path):
    path = write_bigwig(tmp_path / "x.bw", {"chr1": 1000}, [("chr1", 10, 20, 3.0), ("chr1", 20, 30, float("nan"))])
    assert Signal(path, nan_is_nothing=True).sums("chr1", np.array([0, 15, 500]), 20).tolist() == [30, 15, 0]
    assert Signal(path).sums("chr1", np.array([0]), 20).tolist() == [30]
    with pytest.raises(ValueError, match=r"x\.bw: chr1:20 has NaN for its signal"):
        Signal(path).sums("chr1", np.array([15]), 20)


def test_covered_bases_of_which_none_can_be_read(tmp_path):
    path = write_bigwig(tmp_path / "x.bw", {"chr1": 5_000_000}, [("chr1", 4_000_000, 4_000_010, 3.0)])
    assert Signal(path).sums("chr1", np.array([4_000_000]), 20).tolist() == [30]
    content = bytearray(path.read_bytes())
    (index,) = struct.unpack_from("<Q", content, 24)
    struct.pack_into("<H", content, index + 50, 0)  # items of the index's first node
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.bw: its header says that 10 bases have a value, but none can be read"):
        Signal(path)


def test_bad_signals(tmp_path):
    infinite = write_bigwig(tmp_path / "inf.bw", {"chr1": 1000}, [("chr1", 10, 20, float("inf"))])
    with pytest.raises(ValueError, match=r"inf\.bw: chr1:10 has an infinite signal"):
        Signal(infinite).sums("chr1", np.array([0]), 20)
    negative = write_bigwig(tmp_path / "neg.bw", {"chr1": 1000}, [("chr1", 10, 20, -1.0)])
    with pytest.raises(ValueError, match=r"neg\.bw: the signal in chr1:5-25 sums to -10\.0; counts are >= 0"):
        log_counts(Signal(negative), np.array(["chr1"] * 2, dtype=object), np.array([100, 5]), 20)
    (tmp_path / "text.bw").write_text("chr1 1 2 3\n")
    with pytest.raises(ValueError, match=r"text\.bw: not a bigWig file"):
        Signal(tmp_path / "text.bw")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bw"):
        Signal(tmp_path / "nowhere.bw")
