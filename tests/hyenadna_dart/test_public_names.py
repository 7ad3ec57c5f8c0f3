"""`from hyenadna_dart import ...`: the tools on files and on tables in memory, and what is imported when."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest

import hyenadna_dart
from evaluation_dart.models.language_model import load_language_model
from hyenadna_dart import embed_regions, generate, mutagenesis, score_variants

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
FASTA = FIXTURES / "genome" / "genome.fa"
HEAVY = ("accelerate", "datasets", "numpy", "pyarrow", "pysam", "scipy", "sklearn", "torch", "transformers")


class PolarsFrame:
    """As much of a polars frame as is asked of one."""

    def __init__(self, table):
        self.table = table

    def to_arrow(self):
        return self.table


@pytest.fixture(scope="module")
def variants():
    fasta = pysam.FastaFile(str(FASTA))
    rows = []
    for chrom, position in (("chr5", 9000), ("chr5", 5000), ("1", 9000)):
        reference = fasta.fetch(f"chr{chrom.removeprefix('chr')}", position - 1, position).upper()
        others = [base for base in "ACGT" if base != reference]
        rows.append({"chrom": chrom, "pos": position, "ref": reference, "alt": ",".join(others[:2])})
    return pd.DataFrame(rows)


def test_variants_of_a_frame_in_its_order(variants, tmp_path, capsys):
    options = {"genome": FASTA, "window": 96, "device": "cpu"}
    table = score_variants(variants, model=MODEL, **options)
    assert table["position"].to_pylist() == [9000, 9000, 5000, 5000, 9000, 9000]
    assert table["chrom"].to_pylist() == ["chr5"] * 4 + ["1"] * 2
    for frame in (pa.Table.from_pandas(variants), PolarsFrame(pa.Table.from_pandas(variants))):
        assert score_variants(frame, model=load_language_model(MODEL, device="cpu"), **options).equals(table)
    summary = score_variants(variants, model=MODEL, output=tmp_path / "out.parquet", **options)
    assert summary["status"] == {"scored": 6}
    written = pq.read_table(tmp_path / "out.parquet").sort_by([("chrom", "ascending"), ("position", "ascending")])
    expected = table.sort_by([("chrom", "ascending"), ("position", "ascending")])
    np.testing.assert_allclose(written["score"], expected["score"], atol=1e-4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "scored" not in captured.err
    with pytest.raises(ValueError, match="the table has no column 'ref' among chrom, pos, alt"):
        score_variants(variants.drop(columns="ref"), model=MODEL, **options)


def test_regions_of_a_frame():
    regions = pd.DataFrame({"chrom": ["chr5", "10"], "start": [5000, 9000], "end": [5100, 9050], "name": ["a", "b"]})
    options = {"genome": FASTA, "device": "cpu"}
    table = embed_regions(regions, model=MODEL, pooling="max", **options)
    assert table.column_names == ["chrom", "start", "end", "name", "embedding"]
    assert table["chrom"].to_pylist() == ["chr5", "chr10"]
    assert len(table["embedding"][0]) == 32
    changed = mutagenesis(regions=regions.assign(end=regions["start"] + 2), window=60, model=MODEL, **options)
    assert changed.num_rows == 12
    assert changed["chrom"].to_pylist() == ["chr5"] * 6 + ["chr10"] * 6


def test_generated_sequences():
    options = {"number": 2, "length": 9, "seed": 1, "device": "cpu"}
    table = generate(MODEL, prompts={"one": "acgt"}, **options)
    assert table["name"].to_pylist() == ["one_1", "one_2"]
    assert table["prompt_length"].to_pylist() == [4, 4]
    assert {len(sequence) for sequence in table["sequence"].to_pylist()} == {9}
    assert generate(MODEL, prompts={"one": "ACGT"}, **options).equals(table)


def test_names_are_there_and_others_are_not():
    assert set(hyenadna_dart.__all__) <= set(dir(hyenadna_dart))
    assert hyenadna_dart.HyenaDNAConfig.model_type == "hyenadna"
    assert hyenadna_dart.load_dart.__module__.startswith("datasets_dart")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = hyenadna_dart.nothing


@pytest.mark.parametrize(
    "statement",
    [
        "import hyenadna_dart",
        "from trainer_scripts.cli.hyenadna import app; import typer; typer.main.get_command(app)",
        "from trainer_scripts.cli.dart_eval import app; import typer; typer.main.get_command(app)",
        "import sys; sys.argv = ['hyenadna', 'score', '--help']; "
        "from trainer_scripts.hyenadna import main\ntry: main()\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement):
    code = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.strip()) == (0, "")
