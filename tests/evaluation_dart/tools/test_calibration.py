"""Calibrated scores against means by hand and a derivation of MarinDNA's table; and the commands from end to end."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation_dart.tools.calibration import calibrate, neutral_variants
from evaluation_dart.tools.variants import score_variants
from trainer_scripts.cli.hyenadna import main

MARKOV = f"markov:{Path(__file__).parents[3] / 'model_cards' / 'markov-chrX' / 'markov.safetensors'}"


@pytest.fixture
def genome(tmp_path):
    text = "".join(np.random.default_rng(2).choice([*"ACGT"], 4000))
    path = tmp_path / "g.fa"
    path.write_text(f">c\n{text}\n")
    (tmp_path / "sites.bed").write_text("c\t0\t3000\n")
    return path, text


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["hyenadna", *map(str, arguments)])
    status = 0
    try:
        main()
    except SystemExit as stop:
        status = stop.code or 0
    return status, *capsys.readouterr()


def variants_of(text, places):
    rows = []
    for place in places:
        rows += [
            {"chrom": "c", "position": place + 1, "ref": text[place], "alt": alt}
            for alt in "ACGT"
            if alt != text[place]
        ]
    return rows


def test_means_by_hand(tmp_path):
    (tmp_path / "g.fa").write_text(">c\nAACGTAACGTNNACG\n")
    neutral = [
        {"chrom": "c", "position": 3, "ref": "C", "alt": "T", "score": 1.0},
        {"chrom": "c", "position": 8, "ref": "C", "alt": "T", "score": 2.0},
        {"chrom": "c", "position": 8, "ref": "C", "alt": "A", "score": -5.0},
        {"chrom": "c", "position": 3, "ref": "C", "alt": "A", "score": None},
    ]
    own = [
        {"chrom": "c", "position": 3, "ref": "C", "alt": "T", "score": -4.0},
        {"chrom": "c", "position": 3, "ref": "C", "alt": "A", "score": 1.0},
        {"chrom": "c", "position": 1, "ref": "A", "alt": "T", "score": 1.0},
        {"chrom": "c", "position": 3, "ref": "C", "alt": "CA", "score": 1.0},
    ]
    tables = pa.Table.from_pylist(own), pa.Table.from_pylist(neutral)
    found = calibrate(*tables, tmp_path / "g.fa", fewest=2)
    assert found["context"].to_pylist() == ["AACGT_T", "AACGT_A", None, None]
    assert found["neutral_n"].to_pylist() == [2, 1, 0, 0]
    assert found["neutral_mean"].to_pylist() == [1.5, None, None, None]
    assert found["calibrated"].to_pylist() == [-5.5, None, None, None]
    assert found["calibrated_magnitude"].to_pylist() == [2.5, None, None, None]
    assert calibrate(*tables, tmp_path / "g.fa", fewest=1)["calibrated"].to_pylist()[:2] == [-5.5, 6.0]
    with pytest.raises(ValueError, match="no context has 10 neutral variants with a score: 2 contexts have any"):
        calibrate(*tables, tmp_path / "g.fa")
    wrong = pa.Table.from_pylist([own[0] | {"ref": "G"}])
    with pytest.raises(ValueError, match=r"c:3 G>T: the genome has C; another build\?"):
        calibrate(wrong, tables[1], tmp_path / "g.fa", fewest=1)


def test_the_commands_give_marindnas_calibration(genome, tmp_path, monkeypatch, capsys):
    """From sites to calibrated scores, beside the project's table (aggregate_llr_neutral_mean) and what it is for."""
    path, text = genome
    status, out, err = run(
        monkeypatch,
        capsys,
        "neutral-variants",
        "--sites",
        tmp_path / "sites.bed",
        "--genome",
        path,
        "--output",
        tmp_path / "neutral.vcf",
    )
    assert status == 0, err
    assert "2998 bases" in out  # of 3,000, two have not two bases before them
    for name, variants in (("neutral", tmp_path / "neutral.vcf"), ("own", tmp_path / "own.vcf")):
        if name == "own":
            lines = [
                f"c\t{row['position']}\t.\t{row['ref']}\t{row['alt']}\t.\t.\t.\n"
                for row in variants_of(text, range(3100, 3140))
            ]
            variants.write_text(
                "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(lines)
            )
        score_variants(variants, path, MARKOV, output=tmp_path / f"{name}.parquet", window=64, strand="mean")
    options = (
        "--scores",
        tmp_path / "own.parquet",
        "--neutral",
        tmp_path / "neutral.parquet",
        "--genome",
        path,
        "--fewest",
        2,
    )
    status, out, err = run(monkeypatch, capsys, "calibrate", *options, "--output", tmp_path / "calibrated.tsv")
    assert (status, "120 variants" in out) == (0, True), err
    found = pd.read_csv(tmp_path / "calibrated.tsv", sep="\t")
    frames = [pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("neutral", "own")]
    for own in frames:
        own["pentanuc"] = [text[at - 3 : at + 2] for at in own["position"]]
        own["pentanuc_mut"] = own["pentanuc"] + "_" + own["alt"]
    table = frames[0].groupby("pentanuc_mut")["score"].agg(["mean", "size"])
    table = table[table["size"] >= 2]["mean"]
    expected = frames[1]["score"] - frames[1]["pentanuc_mut"].map(table)
    assert found["calibrated"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6, nan_ok=True)
    assert expected.notna().sum() > 60
    few = neutral_variants(tmp_path / "sites.bed", path, each=1)
    contexts = [text[position - 3 : position + 2] for position in few["position"].to_pylist()]
    assert len(contexts) == len(set(contexts)) > 500
