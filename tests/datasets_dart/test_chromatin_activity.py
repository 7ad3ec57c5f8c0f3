"""Task 4 against the original's own counts, and what it makes of bad input."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from datasets import IterableDataset, disable_progress_bars

from datasets_dart import load_dart
from datasets_dart.chromatin_activity import ChromatinActivity

LOADERS = Path(__file__).parents[1] / "fixtures" / "task4" / "loaders"
CONTIGS = json.loads((LOADERS / "contigs.json").read_text())
EXPECTED = json.loads((LOADERS / "expected.json").read_text())
CONFIGS = list(EXPECTED["configs"])
COLUMNS = ["id", "cell_type", "category", "chrom", "start", "end", "sequence", "log_counts"]

disable_progress_bars()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A random genome with the golden contigs, a run of N in it, and the golden signal as a bigWig."""
    folder = tmp_path_factory.mktemp("task4")
    rng = np.random.default_rng(4)
    with (folder / "genome.fa").open("w") as file:
        for name, length in CONTIGS.items():
            bases = rng.choice(list("ACGT"), length)
            bases[10_000:10_300] = "N"
            file.write(f">{name}\n{''.join(bases)}\n")
    signal = pyBigWig.open(str(folder / "GM12878_unstranded.bw"), "w")
    signal.addHeader(list(CONTIGS.items()))
    for line in (LOADERS / "signal.bedGraph").read_text().splitlines():
        chrom, start, end, value = line.split()
        signal.addEntries([chrom], [int(start)], ends=[int(end)], values=[float(value)])
    signal.close()
    return {"genome": folder / "genome.fa", "signal": folder / "GM12878_unstranded.bw"}


@pytest.fixture
def load(inputs, tmp_path, monkeypatch):
    """`load_dart` of task 4 with the golden inputs, a cache of its own, and shards of 16 rows."""
    monkeypatch.setattr("datasets_dart.base.CHUNK_ROWS", 16)

    def load(config="similar", **options):
        tables = {} if config is None else {name: LOADERS / f"{config}_{name}.tsv" for name in ("peaks", "nonpeaks")}
        return load_dart("chromatin_activity", **{**inputs, **tables, "cache_dir": tmp_path / "cache", **options})

    return load


def table(name):
    return [line.split("\t") for line in (LOADERS / name).read_text().splitlines()[1:]]


@pytest.mark.parametrize("protocol", ["fixed", "paper"])
@pytest.mark.parametrize("config", CONFIGS)
def test_counts_equal_the_originals(load, config, protocol):
    train = load(config, protocol=protocol, split="train")
    assert train.column_names == COLUMNS
    assert set(train["cell_type"]) == {"GM12878"}
    for category, golden in (("peaks", "peak_counts_by_row"), ("nonpeaks", "nonpeak_counts_by_row")):
        rows = [row for row in train if row["category"] == category]
        expected = {int(row): np.log1p(count) for row, count in EXPECTED["configs"][config][golden].items()}
        source = table(f"{config}_{category}.tsv")
        if protocol == "fixed":  # a window that comes again is one element
            windows = [row[:3] for row in source]
            expected = {row: count for row, count in expected.items() if windows.index(windows[row]) == row}
        assert {row["id"]: row["log_counts"] for row in rows} == expected
        for row in rows:
            assert [row["chrom"], str(row["start"]), str(row["end"])] == source[row["id"]][:3]
            assert len(row["sequence"]) == 2114


def test_a_window_past_the_end_is_padded_in_paper_and_left_out_in_fixed_without_its_counted_bases(load):
    tables = {"peaks": LOADERS / "overhang.tsv"}
    paper = sorted((r for rows in load(None, **tables, protocol="paper").values() for r in rows), key=lambda r: r["id"])
    assert [row["log_counts"] for row in paper] == np.log1p(EXPECTED["overhang"]["finetune_counts"]).tolist()
    fixed = load(None, **tables)
    rows = {row["id"]: row for split in fixed.values() for row in split}
    padding = EXPECTED["overhang"]["finetune_zero_onehot_rows"]
    assert sorted(rows) == [i for i in range(30) if padding[i] <= 557]
    assert "1 GM12878 peaks with counted bases off their contig, left out" in fixed["train"].info.description
    for original in paper:
        off = padding[original["id"]]
        assert original["sequence"][2114 - off :] == "A" * off
        if original["id"] in rows:
            assert rows[original["id"]]["sequence"].replace("N", "A") == original["sequence"]
            assert rows[original["id"]]["sequence"].endswith("N" * off)


@pytest.mark.parametrize("protocol", ["fixed", "paper"])
def test_streaming_and_processes_give_the_same_rows(load, tmp_path, protocol):
    one = load(protocol=protocol)
    two = load(protocol=protocol, cache_dir=tmp_path / "two", num_proc=2)
    stream = load(protocol=protocol, streaming=True)
    assert set(one) == {"train", "validation"}
    for split in one:
        assert list(two[split]) == list(one[split])
        assert isinstance(stream[split], IterableDataset)
        assert stream[split].num_shards > 2
        assert list(stream[split]) == list(one[split])


def test_narrowpeak_is_centred_on_the_summit_and_bed_on_the_interval(load, tmp_path):
    (tmp_path / "a.narrowPeak").write_text("chr1\t5000\t5400\tp\t0\t.\t1\t1\t1\t150\n")
    (tmp_path / "a.bed").write_text("# made here\nchr1\t5000\t5400\n")
    rows = load(None, peaks=tmp_path / "a.narrowPeak", nonpeaks=tmp_path / "a.bed", idr=tmp_path / "a.narrowPeak")
    assert [(row["category"], row["start"], row["end"]) for row in rows["train"]] == [
        ("peaks", 5150 - 1057, 5150 + 1057),
        ("idr", 5150 - 1057, 5150 + 1057),
        ("nonpeaks", 5200 - 1057, 5200 + 1057),
    ]
    assert rows["train"][0]["log_counts"] == rows["train"][1]["log_counts"]


def test_several_cell_types(load, inputs, tmp_path):
    signal = {"B": inputs["signal"], "A": inputs["signal"]}
    peaks = dict.fromkeys("AB", LOADERS / "similar_peaks.tsv")
    both = load(None, signal=signal, peaks=peaks, nonpeaks={"A": LOADERS / "similar_nonpeaks.tsv"}, split="train")
    kinds = list(zip(both["cell_type"], both["category"], strict=True))
    assert [kinds.count(kind) for kind in (("A", "peaks"), ("B", "peaks"), ("A", "nonpeaks"))] == [9, 9, 93]
    with pytest.raises(ValueError, match="idr= has the cell types C, which signal= lacks"):
        load(None, signal=signal, peaks=peaks, idr={"C": LOADERS / "similar_peaks.tsv"})
    with pytest.raises(ValueError, match="give one file for each cell type, as signal= does"):
        load(None, signal=signal, peaks=LOADERS / "similar_peaks.tsv")
    assert set(load(cell_type="K562", split="train")["cell_type"]) == {"K562"}


def test_blocks_and_compression(load, tmp_path):
    blocks = tmp_path / "blocks.bed"
    blocks.write_text("chr2\t0\t30000\ttrain\nchr2\t30000\t52000\ttest\n")
    packed = tmp_path / "peaks.tsv.gz"
    packed.write_bytes(gzip.compress((LOADERS / "few_nonpeaks_peaks.tsv").read_bytes()))
    rows = load(None, peaks=packed, splits=blocks)
    expected = [(i, r) for i, r in enumerate(table("few_nonpeaks_peaks.tsv")) if r[0] == "chr2"]
    assert list(rows["train"]["id"]) == [i for i, row in expected if int(row[2]) <= 30_000]
    assert list(rows["test"]["id"]) == [i for i, row in expected if int(row[1]) >= 30_000]


def test_cache_is_named_by_contents_and_options(inputs, tmp_path):
    def name(**options):
        files = {**inputs, "peaks": LOADERS / "similar_peaks.tsv", **options}
        plain = {k: v if isinstance(v, dict | int) else str(v) for k, v in files.items()}
        return ChromatinActivity(cache_dir=str(tmp_path), **plain).config_id

    copy = tmp_path / "other.tsv"
    shutil.copy(LOADERS / "similar_peaks.tsv", copy)
    assert name(peaks=copy) == name()
    others = [
        name(peaks=LOADERS / "few_nonpeaks_peaks.tsv"),
        name(idr=copy),
        name(nonpeaks=copy),
        name(protocol="paper"),
        name(window=2000),
        name(cell_type="K562"),
    ]
    assert len({name(), *others}) == 7


def test_the_originals_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    one_hot = np.zeros((3, 2114, 4), dtype=np.uint8)
    one_hot[:, :, 2] = 1
    one_hot[0, 5] = 0
    with h5py.File(tmp_path / "data.h5", "w") as file:
        for category, rows in (("peaks", 3), ("idr_peaks", 0), ("nonpeaks", 2)):
            group = file.create_group(f"GM12878/test/{category}")
            group["seqs"], group["counts"], group["idxs"] = one_hot[:rows], np.arange(rows) + 0.5, np.arange(rows) * 7
    for protocol, letter in (("fixed", "N"), ("paper", "A")):
        rows = list(
            load_dart("chromatin_activity", protocol, "test", processed=tmp_path / "data.h5", cache_dir=tmp_path)
        )
        assert [(row["id"], row["category"], row["log_counts"]) for row in rows] == [
            (0, "peaks", 0.5),
            (7, "peaks", 1.5),
            (14, "peaks", 2.5),
            (0, "nonpeaks", 0.5),
            (7, "nonpeaks", 1.5),
        ]
        assert rows[0]["sequence"] == "G" * 5 + letter + "G" * 2108
        assert rows[0]["cell_type"] == "GM12878"
        assert rows[0]["chrom"] is None
    with h5py.File(tmp_path / "data.h5", "a") as file:
        del file["GM12878/test/peaks/counts"]
    with pytest.raises(ValueError, match=r"data\.h5: /GM12878/test/peaks has no counts"):
        load_dart("chromatin_activity", processed=tmp_path / "data.h5", cache_dir=tmp_path)
    (tmp_path / "text.h5").write_text("x")
    with pytest.raises(ValueError, match=r"text\.h5: not an HDF5 file"):
        load_dart("chromatin_activity", processed=tmp_path / "text.h5", cache_dir=tmp_path)


BAD_PEAKS = {
    "unknown contig": (
        "chrX\t9000\t9100\n",
        r"bad\.bed:1: .* chrX up to 9100 is on a contig that .* not have",
    ),
    "beyond the end": (
        "chr1\t61900\t62001\n",
        r"bad\.bed:1: .*chr1 up to 62001 ends beyond its contig",
    ),
    "in no split": ("chrM\t100\t300\n", r"bad\.bed: none of its windows lies in a split"),
    "off the start only": ("chr1\t10\t20\n", r"bad\.bed: none of its windows lies in a split"),
    "comments only": ("# nothing\n", r"bad\.bed: has no rows"),
    "header": ("chr\tinput_start\telem_end\n", r"bad\.bed:1: the header has no column input_end"),
    "window": (
        "chr\tinput_start\tinput_end\nchr1\t5000\t7000\n",
        r"bad\.bed:2: chr1:5000-7000 is not a window",
    ),
    "not a number": ("chr1\tx\t20\n", r"bad\.bed:1: 'x' is not a coordinate"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("text", BAD_PEAKS)
def test_bad_peaks(load, tmp_path, text, streaming):
    content, message = BAD_PEAKS[text]
    (tmp_path / "bad.bed").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(None, peaks=tmp_path / "bad.bed", streaming=streaming)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_paper_refuses_what_the_original_cannot_read(load, tmp_path):
    (tmp_path / "bad.bed").write_text("chr1\t700\t900\n")
    with pytest.raises(ValueError, match=r'bad\.bed:1: .* window that starts before its contig \(protocol="paper"\)'):
        load(None, peaks=tmp_path / "bad.bed", protocol="paper")
    assert load(None, peaks=tmp_path / "bad.bed", split="train")[0]["sequence"].startswith("N" * 257)


def test_a_signal_of_another_build_or_without_a_contig_is_refused(load, tmp_path):
    def bigwig(contigs):
        file = pyBigWig.open(str(tmp_path / "other.bw"), "w")
        file.addHeader(contigs)
        file.addEntries([contigs[0][0]], [0], ends=[1], values=[1.0])
        file.close()
        return tmp_path / "other.bw"

    with pytest.raises(ValueError, match=r"other\.bw: chr1 has 62001 bp .* but 62000 bp in .*genome\.fa"):
        load(signal=bigwig([("chr1", 62_001), ("chr2", 52_000), ("chr6", 41_000)]))
    with pytest.raises(ValueError, match=r"other\.bw: has no contig chr2, as .*similar_peaks\.tsv has"):
        load(signal=bigwig([("chr1", 62_000), ("chr6", 41_000)]))
    with pytest.raises(ValueError, match=r"other\.bw: has none of the contigs chr1, chr2, chr6"):
        load(signal=bigwig([("7", 62_000)]))


def test_bad_options(load):
    with pytest.raises(ValueError, match=r"lacks inputs: peaks and signal, or nonpeaks and signal, or processed"):
        load(None, signal=None)
    with pytest.raises(ValueError, match="window=999"):
        load(window=999)
    with pytest.raises(ValueError, match='window=2000: 2114 bp in protocol="paper"'):
        load(window=2000, protocol="paper")
