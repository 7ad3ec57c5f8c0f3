"""`hyenadna embed`: Parquet and zarr, what a kill leaves, and errors of one line."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoModel

import modeling_hyenadna  # noqa: F401
from datasets_dart.formats.fasta import open_genome
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.scoring import regions as region_embeddings
from evaluation_dart.tools import regions as region_files
from modeling_hyenadna import HyenaDNATokenizer
from trainer_scripts.cli import hyenadna

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
FASTA = FIXTURES / "genome" / "genome.fa"
REGIONS = [("chr5", 5000, 5100, "one"), ("chr1", 80000, 80040, "two"), ("10", 9000, 9300, "three")]


@pytest.fixture
def bed(tmp_path):
    path = tmp_path / "regions.bed"
    path.write_text("# comment\n" + "".join("\t".join(map(str, region)) + "\n" for region in REGIONS))
    return path


@pytest.fixture
def run(capsys, monkeypatch):
    def run(bed, output, *options, model=MODEL):
        arguments = [
            "--regions",
            bed,
            "--genome",
            FASTA,
            "--model",
            model,
            "--output",
            output,
            "--device",
            "cpu",
            *options,
        ]
        monkeypatch.setattr("sys.argv", ["hyenadna", "embed", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            hyenadna.main()
        return done.value.code, capsys.readouterr().err

    return run


def sequences():
    genome = open_genome(FASTA)
    contigs = [chrom if chrom.startswith("chr") else f"chr{chrom}" for chrom, *_ in REGIONS]
    return [genome.fetch(chrom, start, end) for chrom, (_, start, end, _) in zip(contigs, REGIONS, strict=True)]


def test_parquet(bed, tmp_path, run):
    output = tmp_path / "out.parquet"
    status, errors = run(bed, output, "--strand", "mean")
    assert status == 0, errors
    assert "regions of more than 129 bases are read in separate chunks of this length" in errors
    table = pq.read_table(output)
    assert table.column_names == ["chrom", "start", "end", "name", "embedding"]
    assert table["chrom"].to_pylist() == ["chr5", "chr1", "chr10"]
    assert table["name"].to_pylist() == ["one", "two", "three"]
    vectors = np.stack(table["embedding"].to_pylist())
    scorer = load_language_model(MODEL, device="cpu")
    recipe = region_embeddings.RegionRecipe("mean", strand="mean", chunk=129)
    expected = region_embeddings.embed_sequences(scorer, sequences(), recipe)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    about = json.loads((tmp_path / "out.parquet.json").read_text())
    assert about["recipe"] == {"pooling": "mean", "layer": -1, "strand": "mean", "chunk": 129, "stored": "float32"}
    assert about["model"]["revision"] == scorer.revision
    assert (about["regions"], about["bases"], about["channels"]) == (3, 440, 32)
    status, errors = run(bed, output, "--strand", "mean")
    assert (status, "these embeddings are there already" in errors) == (0, True)


def test_zarr(bed, tmp_path, run):
    zarr = pytest.importorskip("zarr")
    output = tmp_path / "out.zarr"
    for options in ((), ("--stored-dtype", "float16")):
        status, errors = run(bed, output, *options)
        assert status == 0, errors
    group = zarr.open_group(output, mode="r")
    assert group["offsets"][:].tolist() == [0, 100, 140, 440]
    assert group["chrom"][:].tolist() == ["chr5", "chr1", "chr10"]
    assert group["start"][:].tolist() == [5000, 80000, 9000]
    assert group["embeddings"].dtype == np.float16
    scorer = load_language_model(MODEL, device="cpu")
    expected = region_embeddings.embed_sequences(scorer, sequences(), region_embeddings.RegionRecipe(None, chunk=129))
    np.testing.assert_allclose(group["embeddings"][:], np.concatenate(expected), rtol=1e-3, atol=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "out.zarr.json", "regions.bed"]


def test_goes_on_where_it_stopped(bed, tmp_path, run, monkeypatch):
    calls = []
    original = region_embeddings.embed_sequences

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    output = tmp_path / "out.parquet"
    monkeypatch.setattr(region_files, "embed_sequences", interrupted)
    assert run(bed, output, "--part", 1)[0] == 130
    assert not output.exists()
    monkeypatch.undo()
    assert run(bed, output, "--part", 1)[0] == 0
    assert json.loads((tmp_path / "out.parquet.json").read_text())["regions_embedded_now"] == 2
    assert pq.read_table(output).num_rows == 3


def test_models_without_a_language_model_head(bed, tmp_path, run):
    model = tmp_path / "headless"
    AutoModel.from_pretrained(MODEL).save_pretrained(model)
    HyenaDNATokenizer.from_pretrained(MODEL).save_pretrained(model)
    assert run(bed, tmp_path / "out.parquet", model=model)[0] == 0


COLUMNS = ["chrom", "start", "end", "embedding"]


def test_contigs_and_names_that_are_not_used_are_named(bed, tmp_path, run):
    bed.write_bytes(b"chr5\t10\t60\tcaf\xe9\nChr9\t5\t10\n")
    status, errors = run(bed, tmp_path / "out.parquet")
    assert status == 0
    assert "regions.bed: its names (column 4) are left out, as not every row has one: " in errors
    assert "(regions.bed has Chr9; the genome has chr" in errors.replace(f"{bed.parent}/", "")
    assert "name" not in pq.read_schema(tmp_path / "out.parquet").names


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("chr5\t99900\t99988", "end beyond their contig (another build?)"),
        ("chr9\t5\t10", "are on contigs that the genome does not have"),
        ("chr5\t10\t10", "have no base (their end is their start)"),
    ],
)
def test_regions_that_are_not_there_are_left_out(bed, tmp_path, run, line, reason):
    assert run(bed, tmp_path / "without.parquet")[0] == 0
    bed.write_text(f"{line}\n{bed.read_text()}")
    status, errors = run(bed, tmp_path / "out.parquet")
    assert status == 0
    assert f"regions.bed: left out: 1 {reason}: line 1" in errors
    assert json.loads((tmp_path / "out.parquet.json").read_text())["left_out"] == {reason: [1]}
    kept, without = (pq.read_table(tmp_path / f"{name}.parquet", columns=COLUMNS) for name in ("out", "without"))
    assert kept.equals(without)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--chunk", 4000), "reads at most 130 tokens"),
        (("--output", "out.npz"), "out.npz: name an output that ends with .parquet or .zarr"),
        (("--layer", 9), "there is no layer 9"),
    ],
)
def test_errors_are_one_line(bed, tmp_path, run, options, message):
    status, errors = run(bed, tmp_path / "out.parquet", *options)
    assert status == 1
    assert message in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_former_names_of_options_work_and_say_so(bed, tmp_path, capsys, monkeypatch):
    words = ["--bed", bed, "--fasta", FASTA, "--model", MODEL, "--output", tmp_path / "out.parquet", "--half"]
    monkeypatch.setattr("sys.argv", ["hyenadna", "embed", *map(str, words), "--batch_size", "4", "--device", "cpu"])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    errors = capsys.readouterr().err
    assert done.value.code == 0, errors
    for old, new in (("bed", "regions"), ("fasta", "genome"), ("half", "stored-dtype float16")):
        assert errors.count(f"hyenadna embed: --{old} is now --{new}; ") == 1
    assert len(pq.read_table(tmp_path / "out.parquet")["embedding"][0]) == 32


def test_a_picture_of_the_vectors(bed, tmp_path, run, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    bed.write_text(bed.read_text() + "chr5\t7000\t7090\tone\n")
    for name in ("a.png", "b.svg"):
        status, errors = run(bed, tmp_path / "out.parquet", "--plot", tmp_path / name)
        assert status == 0, errors
    vectors = np.stack(pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist()).astype(float)
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    about = json.loads((tmp_path / "a.png.json").read_text())
    shares = 100 * values / values.sum()
    assert about["axes"] == [f"PC {n + 1} ({share:.1f} % of the variance)" for n, share in enumerate(shares[:2])]
    assert about["groups"] == ["one", "three", "two"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<!-- one, n = 2 -->" in (tmp_path / "b.svg").read_text()

    status, errors = run(bed, tmp_path / "out.zarr", "--plot", tmp_path / "c.png")
    assert (status, "a picture is of one vector a region" in errors) == (1, True), errors
    monkeypatch.setitem(sys.modules, "umap", None)
    status, errors = run(bed, tmp_path / "d.parquet", "--plot", tmp_path / "d.png", "--plot-method", "umap")
    assert (status, "pip install 'hyenadna-dart[umap]'" in errors) == (1, True), errors
    assert not (tmp_path / "d.parquet").exists()
