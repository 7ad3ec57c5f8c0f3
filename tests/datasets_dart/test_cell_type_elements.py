"""Task 3: windows labelled with the cell line that alone has them open, and what it makes of bad input."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from datasets import IterableDataset, disable_progress_bars

from datasets_dart import load_dart
from datasets_dart.cell_type_elements import CELL_LINES, CellTypeElements
from datasets_dart.counts import CountMatrix, write_counts
from datasets_dart.formats.bed import Windows
from datasets_dart.formats.fasta import open_genome

GENOME = Path(__file__).parents[1] / "fixtures" / "genome" / "genome.fa"
CONTIGS = {"chr1": "train", "chr6": "validation", "chr5": "test", "chr10": "test"}
COLUMNS = ["id", "chrom", "start", "end", "sequence", "label"]

disable_progress_bars()


def golden_rows(count=160):
    """Rows of task 3's table: windows spread over the fixture's contigs, N runs and all, in an arbitrary order."""
    rng = np.random.default_rng(31)
    lengths = open_genome(GENOME).contigs
    names = sorted({*CONTIGS, "chrM"})
    rows = []
    for number in range(count):
        chrom = names[rng.integers(len(names))]
        start = int(rng.integers(0, lengths[chrom] - 500))
        rows.append((chrom, start, start + 500, CELL_LINES[number % 5]))
    return rows


@pytest.fixture
def elements(tmp_path):
    """The table in the original's layout."""
    path = tmp_path / "peaks_by_cell_label_unique_dataloader_format.tsv"
    with path.open("w") as file:
        file.write("chr\tinput_start\tinput_end\telem_start\telem_end\tis_peak\tlabel\n")
        for chrom, start, end, label in golden_rows():
            file.write(f"{chrom}\t{start}\t{end}\t{start}\t{end}\tTrue\t{label}\n")
    return path


@pytest.fixture
def load(elements, tmp_path, monkeypatch):
    """`load_dart` of task 3 with the table above, a cache of its own, and shards of 16 rows."""
    monkeypatch.setattr("datasets_dart.base.CHUNK_ROWS", 16)

    def load(**options):
        inputs = {"genome": GENOME, "elements": elements, "cache_dir": tmp_path / "cache", **options}
        return load_dart("cell_type_elements", **inputs)

    return load


@pytest.mark.parametrize(("protocol", "unknown"), [("fixed", "N"), ("paper", "A")])
def test_rows_follow_the_definition(load, protocol, unknown):
    genome = open_genome(GENOME)
    data = load(protocol=protocol)
    with_unknown = 0
    for split in ("train", "validation", "test"):
        expected = []
        for number, (chrom, start, end, label) in enumerate(golden_rows()):
            if CONTIGS.get(chrom) == split:
                sequence = "".join(base if base in "ACGT" else unknown for base in genome.fetch(chrom, start, end))
                with_unknown += "N" in genome.fetch(chrom, start, end)
                values = number, chrom, start, end, sequence, CELL_LINES.index(label)
                expected.append(dict(zip(COLUMNS, values, strict=True)))
        assert list(data[split]) == expected
        assert data[split].features["label"].names == list(CELL_LINES)
    assert with_unknown > 3
    assert "in no split, left out" in data["test"].info.description


def test_streaming_and_processes_give_the_same_rows(load, tmp_path):
    one = load()
    two = load(cache_dir=tmp_path / "two", num_proc=2)
    stream = load(streaming=True)
    for split in one:
        assert list(two[split]) == list(one[split])
        assert isinstance(stream[split], IterableDataset)
        assert stream[split].num_shards > 2
        assert stream[split].features == one[split].features
        assert list(stream[split]) == list(one[split])


def test_other_tables_give_the_same_rows(load, tmp_path):
    expected = list(load(split="test"))
    bed, subset, numbers = tmp_path / "elements.bed.gz", tmp_path / "top_5000.tsv", tmp_path / "numbers.tsv"
    rows = golden_rows()
    bed.write_bytes(gzip.compress("".join(f"{c}\t{s}\t{e}\t{label}\n" for c, s, e, label in rows).encode()))
    subset.write_text("Chr\tStart\tEnd\tCell Type\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    codes = ((chrom, start, end, CELL_LINES.index(label)) for chrom, start, end, label in rows)
    numbers.write_text("chrom\tstart\tend\tlabel\n" + "".join("\t".join(map(str, row)) + "\n" for row in codes))
    for path in (bed, subset, numbers):
        assert list(load(elements=path, split="test")) == expected


def test_elements_of_another_width_are_centred(load, tmp_path):
    (tmp_path / "a.bed").write_text("chr5\t1000\t1256\tliver\nchr5\t100\t110\tbrain\n")
    rows = load(elements=tmp_path / "a.bed", split="test")
    assert rows.features["label"].names == ["brain", "liver"]
    assert [(row["start"], row["end"], row["label"]) for row in rows] == [(878, 1378, 1), (-145, 355, 0)]
    assert rows[1]["sequence"].startswith("N" * 145)
    with pytest.raises(ValueError, match=r'a\.bed:2: .* window that starts before its contig \(protocol="paper"\)'):
        load(elements=tmp_path / "a.bed", protocol="paper")


def test_classes_can_be_named(load, tmp_path):
    (tmp_path / "a.bed").write_text("chr5\t1000\t1500\tK562\nchr5\t2000\t2500\tGM12878\n")
    rows = load(elements=tmp_path / "a.bed", split="test")
    assert rows["label"][:] == [4, 0]
    assert "0 of IMR90" in rows.info.description
    rows = load(elements=tmp_path / "a.bed", split="test", labels=["K562", "GM12878"])
    assert rows.features["label"].names == ["K562", "GM12878"]
    assert rows["label"][:] == [0, 1]
    with pytest.raises(ValueError, match=r"a\.bed: has no element of IMR90 in any split; leave it out of labels="):
        load(elements=tmp_path / "a.bed", labels=["K562", "GM12878", "IMR90"])
    with pytest.raises(ValueError, match=r"a\.bed:2: cell line 'GM12878' is not one of K562"):
        load(elements=tmp_path / "a.bed", labels=["K562"])


def write_peaks(folder, **summits):
    paths = {}
    for cell, positions in summits.items():
        paths[cell] = folder / f"{cell}.narrowPeak"
        rows = (f"chr5\t{x - 80}\t{x + 80}\tp\t0\t.\t1\t9\t{9 - i / 10}\t80\n" for i, x in enumerate(positions))
        paths[cell].write_text("".join(rows))
    return paths


def test_peaks_without_counts_are_labelled_by_the_one_set_that_overlaps(load, tmp_path):
    peaks = write_peaks(tmp_path, K562=[1000, 5000, 9000, 200], H1ESC=[1100, 7000])
    rows = load(elements=None, peaks=peaks, split="test")
    assert [(row["id"], row["start"], row["label"]) for row in rows] == [(0, 4750, 4), (1, 6750, 1), (2, 8750, 4)]
    report = rows.info.description
    assert "1 windows run past an end of their contig, left out; 1 windows overlap a window of a better peak" in report
    assert "2 of K562" in report
    paths = load(elements=None, peaks=list(peaks.values()), split="test")  # named after the files
    assert list(paths) == list(rows)
    folder = tmp_path / "peaks"
    folder.mkdir()
    for path in peaks.values():
        (folder / path.name).write_bytes(path.read_bytes())
    assert list(load(elements=None, peaks=folder, split="test")) == list(rows)
    with pytest.raises(ValueError, match="the window chr5:-50-450 starts before its contig"):
        load(elements=None, peaks=peaks, protocol="paper")


def test_peaks_with_counts_are_labelled_by_differential_accessibility(load, tmp_path):
    pytest.importorskip("pydeseq2")
    rng = np.random.default_rng(0)
    summits = list(range(1000, 1000 + 600 * 90, 600))
    peaks = write_peaks(tmp_path, K562=summits, H1ESC=summits[::-1])
    start = np.array(summits) - 250
    windows = Windows(np.full(90, "chr5", dtype=object), start, start + 500)
    mean = np.full((90, 6), 100.0)
    mean[:9, :3] = 1000
    mean[9:18, 3:] = 1000
    counts = rng.negative_binomial(50, 50 / (50 + mean))
    samples = [f"{cell}_{n}" for cell in ("K562", "H1ESC") for n in range(3)]
    write_counts(tmp_path / "counts.csv", CountMatrix(windows, samples, counts))
    rows = load(elements=None, peaks=peaks, counts=tmp_path / "counts.csv", split="test")
    found = {row["start"]: rows.features["label"].int2str(row["label"]) for row in rows}
    assert {found.get(x) for x in start[:9].tolist()} == {"K562"}
    assert {found.get(x) for x in start[9:18].tolist()} == {"H1ESC"}
    assert len(found) < 25
    wrong = CountMatrix(windows.take(np.arange(89)), samples, counts[:89])
    write_counts(tmp_path / "wrong.csv", wrong)
    with pytest.raises(ValueError, match=r"wrong\.csv: the peaks are not the consensus windows of K562, H1ESC"):
        load(elements=None, peaks=peaks, counts=tmp_path / "wrong.csv")


def test_cache_is_named_by_contents_and_options(elements, tmp_path):
    def name(**options):
        inputs = {"genome": str(GENOME), "elements": str(elements), **options}
        builder = CellTypeElements(cache_dir=str(tmp_path), **inputs)
        assert builder.info.features["label"].names == list(CELL_LINES)
        return builder.config_id

    copy = tmp_path / "copy.tsv"
    copy.write_bytes(elements.read_bytes())
    peaks = {cell: str(path) for cell, path in write_peaks(tmp_path, K562=[1000], H1ESC=[7000]).items()}
    assert name(elements=str(copy)) == name()
    swapped = dict(zip(peaks, reversed(peaks.values()), strict=True))
    others = [
        name(protocol="paper"),
        name(window=300),
        name(labels=CELL_LINES),
        name(elements="", peaks=peaks),
        name(elements="", peaks=swapped),
    ]
    assert len({name(), *others}) == 6


def test_the_originals_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    one_hot = np.zeros((5, 500, 4), dtype=np.uint8)
    one_hot[np.arange(5), :, [0, 1, 2, 3, 0]] = 1
    one_hot[0, 3] = 0
    with h5py.File(tmp_path / "data.h5", "w") as file:
        for split, rows in (("train", slice(0, 2)), ("test", slice(2, 5))):
            file[f"{split}/seqs"], file[f"{split}/labels"] = one_hot[rows], np.arange(5, dtype=np.uint8)[rows]
            file[f"{split}/idxs"] = np.arange(100, 105, dtype=np.uint32)[rows]
    for protocol, letter in (("fixed", "N"), ("paper", "A")):
        data = load_dart("cell_type_elements", protocol, processed=tmp_path / "data.h5", cache_dir=tmp_path)
        assert set(data) == {"train", "test"}
        rows = [*data["train"], *data["test"]]
        assert [(row["id"], row["label"], row["chrom"]) for row in rows] == [(100 + i, i, None) for i in range(5)]
        assert rows[0]["sequence"] == "AAA" + letter + "A" * 496
        assert [row["sequence"][9] for row in rows] == list("ACGTA")
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file["test/labels"][1] = 5
    with pytest.raises(ValueError, match=r"data\.h5: /test/labels has the label 5, but there are 5 classes"):
        load_dart("cell_type_elements", processed=tmp_path / "data.h5", cache_dir=tmp_path)
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file["train/seqs"][0, 0] = 2
    with pytest.raises(ValueError, match=r"data\.h5: /train/seqs\[0:2\]: not one-hot"):
        load_dart("cell_type_elements", processed=tmp_path / "data.h5", cache_dir=tmp_path)


BAD_ELEMENTS = {
    "no label": ("chr5\t100\t600\n", r"bad\.bed: has no column with the cell line of each element"),
    "empty label": ("chr5\t100\t600\t\n", r"bad\.bed:1: has no cell line"),
    "contradiction": (
        "chr5\t100\t600\tK562\nchr5\t700\t800\tK562\nchr5\t100\t600\tIMR90\n",
        r"bad\.bed:3: chr5:100 is 'IMR90' here and 'K562' in line 1",
    ),
    "unknown contig": ("chr14\t100\t600\tK562\n", r"bad\.bed:1: .* chr14 up to 600 is on a contig that .* not have"),
    "beyond the end": ("chr5\t100\t9999999\tK562\n", r"bad\.bed:1: .*chr5 up to 9999999 ends beyond its contig"),
    "in no split": ("chrM\t100\t600\tK562\n", r"bad\.bed: none of its 1 rows lies in a split"),
    "end before start": ("chr5\t600\t100\tK562\n", r"bad\.bed:1: the end 100 is before the start 600"),
    "width": ("chr\tinput_start\tinput_end\tlabel\nchr5\t0\t499\tK562\n", r"bad\.bed:2: chr5:0-499 is not a window"),
    "names": ("".join(f"chr5\t{i}\t600\tpeak{i}\n" for i in range(300)), r"bad\.bed:1: 300 names in the label column"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("text", BAD_ELEMENTS)
def test_bad_elements(load, tmp_path, text, streaming):
    content, message = BAD_ELEMENTS[text]
    (tmp_path / "bad.bed").write_text(content)
    with pytest.raises(ValueError, match=message):
        load(elements=tmp_path / "bad.bed", streaming=streaming)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_bad_options(load, tmp_path):
    peaks = write_peaks(tmp_path, K562=[1000])
    with pytest.raises(ValueError, match="takes exactly one of the inputs elements, peaks and processed"):
        load(peaks=peaks)
    with pytest.raises(ValueError, match="counts= needs peaks="):
        load(counts=[peaks["K562"]])
    with pytest.raises(ValueError, match="two or more cell lines are needed"):
        load(elements=None, peaks=peaks)
    with pytest.raises(ValueError, match="lacks inputs: elements, or peaks, or processed"):
        load(elements=None)
    with pytest.raises(ValueError, match='window=300: 500 bp in protocol="paper"'):
        load(window=300, protocol="paper")
    with pytest.raises(ValueError, match="both named 'K562'"):
        load(elements=None, peaks=[peaks["K562"], peaks["K562"]])
