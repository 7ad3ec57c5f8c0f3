"""The commands that make the element files of tasks 3 and 4, from peaks and reads to what the builders read."""

from pathlib import Path

import numpy as np
import pysam
import pytest
from datasets import disable_progress_bars
from typer.testing import CliRunner

from datasets_dart import load_dart
from trainer_scripts.cli.prepare_peaks import app

FIXTURES = Path(__file__).parents[2] / "fixtures"
CONTIG = 60_000
SUMMITS = range(2000, 58_000, 1000)

disable_progress_bars()


@pytest.fixture
def run():
    def run(*words):
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stderr

    return run


@pytest.fixture
def genome(tmp_path):
    bases = np.random.default_rng(5).choice(list("ACGT"), CONTIG)
    (tmp_path / "genome.fa").write_text(f">chr20\n{''.join(bases)}\n")
    return tmp_path / "genome.fa"


def write_narrowpeak(path, summits):
    rows = (f"chr20\t{x - 80}\t{x + 80}\tp\t0\t.\t1\t9\t{9 - i / 100}\t80\n" for i, x in enumerate(summits))
    path.write_text("".join(rows))
    return path


def write_bam(path, counts):
    """A BAM with so many reads on each summit."""
    with pysam.AlignmentFile(str(path), "wb", header={"SQ": [{"SN": "chr20", "LN": CONTIG}]}) as file:
        for position, count in zip(SUMMITS, counts.tolist(), strict=True):
            for number in range(count):
                read = pysam.AlignedSegment()
                read.query_name, read.flag, read.reference_id = f"{position}.{number}", 0, 0
                read.reference_start, read.query_sequence, read.cigartuples = position, "A" * 30, [(0, 30)]
                file.write(read)
    return path


def test_consensus_equals_the_original(run, tmp_path):
    """The golden windows that start before their contig, in paper; with a genome made to the peaks' measure."""
    with (tmp_path / "genome.fa").open("w") as file:
        for name in ("chr1", "chr10", "chr2", "chrX"):
            file.write(f">{name}\n{'A' * 250_000}\n")
    cells = ("GM12878", "HEPG2", "IMR90", "K562", "H1ESC")
    peaks = [FIXTURES / "task3" / "narrowpeak" / f"{cell}.narrowPeak" for cell in cells]
    command = ("consensus", *peaks, "--genome", tmp_path / "genome.fa", "--output", tmp_path / "windows.tsv")
    said = run(*command, "--protocol", "paper")
    golden = FIXTURES / "task3" / "accepted_peaks_all.tsv"
    assert (tmp_path / "windows.tsv").read_text() == golden.read_text()
    assert "397 rows" in said
    assert "1004 left out: overlap a window of a better peak" in said
    assert "left out: run past an end of their contig" in run(*command)


def test_task_3_from_peaks_and_reads_to_the_dataset(run, genome, tmp_path):
    pytest.importorskip("pydeseq2")
    rng = np.random.default_rng(1)
    peaks = [write_narrowpeak(tmp_path / f"{cell}.narrowPeak", SUMMITS) for cell in ("K562", "H1ESC")]
    run("consensus", *peaks, "--genome", genome, "--output", tmp_path / "windows.tsv")
    bams = []
    for cell, opened in (("K562", slice(0, 8)), ("H1ESC", slice(8, 16))):
        mean = np.full(len(SUMMITS), 40.0)
        mean[opened] = 400
        for number in range(3):
            bam = tmp_path / f"{cell}_{number}.bam"
            bams.append(write_bam(bam, rng.negative_binomial(50, 50 / (50 + mean))))
    said = run(
        "counts", *bams, "--windows", tmp_path / "windows.tsv", "--output", tmp_path / "c.csv", "--genome", genome
    )
    assert f"{len(SUMMITS)} rows" in said
    said = run("differential", tmp_path / "c.csv", "--output", tmp_path / "d", "--top", 4, "--num-proc", 1)
    assert "K562: 8 elements gained, 8 of them by no other cell line" in said
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "H1ESC.csv",
        "K562.csv",
        "elements.bed",
        "top.bed",
    ]
    rows = load_dart(
        "cell_type_elements",
        genome=genome,
        elements=tmp_path / "d" / "elements.bed",
        labels=["K562", "H1ESC"],
        cache_dir=tmp_path / "cache",
        split="test",
    )
    assert [(row["start"], row["label"]) for row in rows] == [
        (summit - 250, number // 8) for number, summit in enumerate(SUMMITS) if number < 16
    ]
    tables = [tmp_path / "d" / f"{cell}.csv" for cell in ("H1ESC", "K562")]
    run("select", *tables, "--output", tmp_path / "again", "--top", 4)
    for name in ("elements.bed", "top.bed"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "d" / name).read_text()
    assert len((tmp_path / "d" / "top.bed").read_text().splitlines()) == 8


def test_task_4_windows_and_negatives(run, genome, tmp_path):
    peaks = write_narrowpeak(tmp_path / "a.narrowPeak", [5000, 500, 20_000])
    said = run("windows", peaks, "--genome", genome, "--output", tmp_path / "peaks.tsv")
    assert "2 rows" in said
    assert "1 left out: run past an end of their contig" in said
    assert (tmp_path / "peaks.tsv").read_text() == (
        "chr\tinput_start\tinput_end\telem_start\telem_end\telem_relative_start\telem_relative_end\n"
        "chr20\t3943\t6057\t4500\t5500\t557\t1557\n"
        "chr20\t18943\t21057\t19500\t20500\t557\t1557\n"
    )
    (tmp_path / "blacklist.bed").write_text("chr20\t30000\t60000\n")
    command = ("negatives", tmp_path / "peaks.tsv", "--genome", genome, "--avoid", tmp_path / "blacklist.bed")
    assert "4 rows" in run(*command, "--output", tmp_path / "nonpeaks.tsv", "--ratio", 2, "--stride", 100)
    rows = [line.split("\t") for line in (tmp_path / "nonpeaks.tsv").read_text().splitlines()[1:]]
    assert all(int(row[2]) <= 30_000 for row in rows)
    assert all(int(row[2]) <= 3943 or int(row[1]) >= 6057 for row in rows)


def test_errors_name_what_is_wrong(run, genome, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run("windows", tmp_path / "nowhere", "--genome", genome, "--output", tmp_path / "x")
    peaks = write_narrowpeak(tmp_path / "K562.narrowPeak", [70_000, 80_000])
    with pytest.raises(ValueError, match=r"are both named 'K562'; write NAME=FILE"):
        run("consensus", peaks, peaks, "--genome", genome, "--output", tmp_path / "x")
    (tmp_path / "other.fa").write_text(">7\nACGT\n")
    with pytest.raises(
        ValueError, match=r"K562\.narrowPeak:1: chr20:69920-70080 is on a contig that the genome does not have"
    ):
        run("consensus", peaks, "--genome", tmp_path / "other.fa", "--output", tmp_path / "x")
    assert not (tmp_path / "x").exists()
