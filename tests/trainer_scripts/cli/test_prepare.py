"""`dart-eval prepare`, its single steps, and `push`, as commands."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import disable_progress_bars, load_dataset
from typer.testing import CliRunner

from datasets_dart import downloads
from trainer_scripts.cli.dart_eval import app

FIXTURES = Path(__file__).parents[2] / "fixtures"
TASK1, TASK2, TASK5 = (FIXTURES / f"task{number}" for number in (1, 2, 5))
GENOME = FIXTURES / "genome" / "genome.fa"

disable_progress_bars()


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(*words):
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_prepare_writes_a_repository(run, tmp_path):
    folder = tmp_path / "data"
    parquet = ["--to", "parquet", "--output", folder]
    inputs = ["--genome", GENOME, "--variants", TASK5 / "Afr.CaQTLS.tsv"]
    said = run("prepare", "--task", "variant_effects", *inputs, *parquet)
    assert "test: 50 rows, id, chrom, position" in said
    assert "5 with neither allele in the genome, left out (line" in said
    run("prepare", "--task", "motif_footprinting", "--protocol", "paper", "--motifs", TASK2 / "motifs.meme",
        "--backgrounds", TASK2 / "backgrounds.txt", *parquet)  # fmt: skip
    data = load_dataset(str(folder), "motif_footprinting-paper", split="test", cache_dir=str(tmp_path / "reader"))
    assert data["sequence"] == [line.split("\t")[1] for line in (TASK2 / "dataset.txt").read_text().splitlines()]
    variants = load_dataset(str(folder), "variant_effects", split="test", cache_dir=str(tmp_path / "reader"))
    assert len(variants) == 50
    assert (
        run("prepare", "--task", "variant_effects", *inputs, *parquet).split("written")[1:] == said.split("written")[1:]
    )
    (folder / "variant_effects" / "test-00000-of-00001.parquet").write_bytes(b"other")
    with pytest.raises(ValueError, match="already exists"):
        run("prepare", "--task", "variant_effects", *inputs, *parquet)


def test_steps_write_the_originals_tables(run, tmp_path):
    table = tmp_path / "processed.tsv"
    run("prepare-step", "windows", TASK1 / "ccre.bed", "--output", table)
    assert table.read_text() == (TASK1 / "processed.tsv").read_text()
    run("prepare-step", "consensus", TASK2 / "motifs.meme", "--output", tmp_path / "consensus.tsv")
    assert (tmp_path / "consensus.tsv").read_text().startswith("ZNF1.GOLD.0.P.B\tAAGCCCAAT\nAHR.GOLD.0.P.B\tTTGCGTGA\n")
    run("prepare-step", "insertions", "--motifs", TASK2 / "motifs.meme", "--backgrounds", TASK2 / "backgrounds.txt",
        "--protocol", "paper", "--output", tmp_path / "dataset.txt")  # fmt: skip
    assert (tmp_path / "dataset.txt").read_text() == (TASK2 / "dataset.txt").read_text()
    elements = tmp_path / "some.bed"
    elements.write_text("".join(line for line in (TASK1 / "ccre.bed").open() if line.startswith("chr10")))
    run("prepare-step", "backgrounds", elements, "--genome", GENOME, "--output", tmp_path / "backgrounds.txt")
    lines = (tmp_path / "backgrounds.txt").read_text().splitlines()
    assert set(map(len, lines)) == {350}
    assert len(lines) == min(100, len(elements.read_text().splitlines()))
    said = run("prepare-step", "alleles", TASK5 / "Afr.CaQTLS.tsv", "--genome", GENOME, "--output", tmp_path / "m.tsv")
    assert said == f"{tmp_path / 'm.tsv'}: 5 of 56 variants\n"


def test_windows_refuse_what_the_original_cannot_read(run, tmp_path):
    bed = tmp_path / "long.bed"
    bed.write_text("chr5\t1000\t1200\nchr5\t3000\t3400\n")
    with pytest.raises(ValueError, match=r"long\.bed:2: chr5:3000-3400 has no window of 350 bp on its contig"):
        run("prepare-step", "windows", bed, "--output", tmp_path / "out.tsv")
    assert not (tmp_path / "out.tsv").exists()


def test_inputs_are_fetched_and_used(run, tmp_path, monkeypatch):
    there = {"H12CORE_meme_format.meme": TASK2 / "motifs.meme", "ENCFF420VPZ.bed.gz": TASK1 / "ccre.bed"}

    def fetch(url, path, checksum):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(there.get(path.name, GENOME), path)
        return downloads.digest(path, "sha256")

    monkeypatch.setattr(downloads, "fetch", fetch)
    monkeypatch.delenv(downloads.TOKEN, raising=False)
    folder = tmp_path / "inputs"
    inputs = ["--elements", tmp_path / "on_genome.bed"]
    inputs[1].write_text("chr5\t1000\t1200\nchr5\t3000\t3200\n")
    said = run("prepare", "--task", "motif_footprinting", "--download", folder, *inputs)
    assert f"{folder / 'H12CORE_meme_format.meme'}: sha256 " in said
    assert "test: 76 rows" in said
    with pytest.raises(ValueError, match=r"fetch by hand .*syn60756043 as .*inputs/Afr\.CaQTLS\.tsv"):
        run("prepare", "--task", "variant_effects", "--download", folder)
    for name in ("Afr.CaQTLS.tsv", "yoruban.dsqtls.benchmarking.tsv"):
        shutil.copy(TASK5 / name, folder)
    monkeypatch.setattr(downloads, "fetch_synapse", lambda entity, path, client: downloads.digest(path, "sha256"))
    with pytest.raises(ValueError, match="lacks inputs: variants"):
        run("prepare", "--task", "variant_effects", "--download", folder)
    said = run("prepare", "--task", "variant_effects", "--download", folder, "--variants", folder / "Afr.CaQTLS.tsv")
    assert "variants (dsQTLs); choose the input variants" in said
    assert "test: 50 rows" in said


def test_inputs_are_listed_with_their_status(run):
    said = run("inputs", "--task", "variant_effects")
    assert "https://www.synapse.org/Synapse:syn60756043\tunchecked\tcaQTLs, GRCh38" in said
    assert all(line.startswith("variant_effects\t") for line in said.splitlines())
    assert "motif_footprinting" in run("inputs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "--task", "task6"], "dart-eval: task 'task6' is unknown; there are regulatory_elements, motif"),
        (
            ["prepare", "--task", "variant_effects", "--to", "parquet"],
            "dart-eval: --to parquet and --output go together",
        ),
        (["push", ".", "me/x"], "dart-eval: .: has no README.md or no Parquet files"),
        (["inputs", "--task", "x"], "dart-eval: task 'x': no public inputs are known for it"),
    ],
)
def test_errors_are_one_line(words, message, tmp_path):
    command = [sys.executable, "-m", "trainer_scripts.cli.dart_eval", *words]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
