"""hyenadna mutagenesis: regions, tables, logos, and errors of one line."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import modeling_hyenadna  # noqa: F401
from datasets_dart.formats.fasta import open_genome
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.scoring.heads import head_scorer
from evaluation_dart.scoring.likelihoods import score_sequences
from evaluation_dart.scoring.substitutions import substitutions
from evaluation_dart.tools.mutagenesis import Region, likelihood_changes, regions_of
from evaluation_dart.training.finetuning import load_classifier
from trainer_scripts.cli import hyenadna

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENA, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
SEQUENCE = "TTGACCAGGGACCAATGCAGACGTNTTGCA"


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(f">chrA first\n{SEQUENCE[:20]}\n{SEQUENCE[20:].lower()}\n>chrB\nACGTACGT\n")
    return path


def run(capsys, monkeypatch, *arguments):
    """The command's exit status, output and errors."""
    monkeypatch.setattr("sys.argv", ["hyenadna", "mutagenesis", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def test_regions_of_a_bed_as_a_table_that_is_a_bed(tmp_path, fasta, capsys, monkeypatch):
    bed, output = tmp_path / "r.bed", tmp_path / "out.tsv.gz"
    bed.write_text("track name=x\nchrA\t2\t4\nchrA\t23\t26\n")
    arguments = ["--genome", fasta, "--regions", bed, "--model", HYENA, "--window", 12, "--output", output]
    status, out, _ = run(capsys, monkeypatch, *arguments)
    assert (status, out) == (
        0,
        f"{output}: 12 substitutions in 2 regions; 1 positions are none of A, C, G, T\n",
    )
    with gzip.open(output, "rt") as file:
        assert file.readline() == "#chrom\tstart\tend\tregion\tref\talt\tchange\n"
    table = pd.read_csv(output, sep="\t")
    assert table["start"].tolist() == [2] * 3 + [3] * 3 + [23] * 3 + [25] * 3
    assert (table["end"] == table["start"] + 1).all()
    assert table["ref"].tolist() == [*"GGGAAATTTTTT"]
    # Windows lie within the contig, the region in their middle if it fits
    model = load_language_model(HYENA)
    for row, (left, place, alt) in ((0, (0, 2, "A")), (11, (18, 25, "G"))):
        window = SEQUENCE[left : left + 12]
        mutant = window[: place - left] + alt + window[place - left + 1 :]
        score, changed = model.log_likelihood([window, mutant])
        assert table["change"][row] == pytest.approx(changed - score, abs=1e-4)
    about = json.loads((tmp_path / "out.tsv.gz.json").read_text())
    assert about["recipe"]["name"] == "whole-alleles"
    assert (about["rows"], about["positions_left_out"]) == (12, 1)
    assert about["model"]["revision"] == model.revision


def test_head_region_and_logo(tmp_path, fasta, capsys, monkeypatch):
    torch.manual_seed(0)
    classifier = load_classifier(HYENA, 3)
    classifier.model.config.id2label = {0: "low", 1: "mid", 2: "high"}
    folder, output, logo = tmp_path / "model", tmp_path / "out.parquet", tmp_path / "logo.svg"
    classifier.model.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)
    arguments = ["--genome", fasta, "--region", "chrA:3-4", "--model", folder, "--output", output, "--logo", logo]
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert (status, err) == (1, "hyenadna: the model has 3 outputs: name one of low, mid, high as label\n")
    assert not output.exists()

    status, out, _ = run(capsys, monkeypatch, *arguments, "--label", "high", "--strand", "mean")
    assert (status, out) == (0, f"{output}: 6 substitutions in 1 regions\n")
    table = pd.read_parquet(output)
    score = head_scorer(classifier, 2, "mean")
    expected = score([f"{base}A" for base in "ACT"] + [f"G{base}" for base in "CGT"]) - score(["GA"])
    np.testing.assert_allclose(table["change"], expected, atol=1e-5)
    for said in ("chrA:3-4", "position on chrA (bp, from 1)", "importance (log-odds)"):
        assert f"<!-- {said} -->" in logo.read_text()
    assert json.loads((tmp_path / "out.parquet.json").read_text())["recipe"] == {
        "name": "head",
        "strand": "mean",
        "output": "high",
    }


def test_masked_model_and_whole_sequences(tmp_path, fasta, capsys, monkeypatch):
    fasta.write_text(f">s1\n{SEQUENCE[:12]}\n>s2\nACGTACGT\n")
    output, logo = tmp_path / "out.parquet", tmp_path / "logo.png"
    heat_map = tmp_path / "map.svg"
    arguments = ["--genome", fasta, "--model", BERT, "--output", output, "--logo", logo, "--heat-map", heat_map]
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert status == 0
    assert "masked model: about 644 rows through the model; the recipe dart-eval takes 20" in err
    table = pd.read_parquet(output)
    assert table.groupby("chrom").size().to_dict() == {"s1": 36, "s2": 24}
    assert logo.read_bytes().startswith(b"\x89PNG")
    for said in ("s1:1-12", "position on s2 (bp, from 1)", "change (nats)"):
        assert f"<!-- {said} -->" in heat_map.read_text()


def test_windows(fasta):
    genome = open_genome(fasta)
    assert regions_of(genome, None, "chrA:1-2", 10)[0] == [Region("chrA", 0, 2, 0, 10)]
    assert regions_of(genome, None, "chrA:30-30", 10)[0] == [Region("chrA", 29, 30, 20, 30)]
    assert regions_of(genome, None, "chrB:4-5", 99)[0] == [Region("chrB", 3, 5, 0, 8)]
    assert [own.name for own in regions_of(genome, None, None, None)[0]] == ["chrA:1-30", "chrB:1-8"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--region", "chrA:3"], "region chrA:3: is not CONTIG:FIRST-LAST, counted from 1"),
        (["--region", "chrA:0-3"], "region chrA:0-3: is not CONTIG:FIRST-LAST, counted from 1"),
        (["--region", "chrA:9-3"], "region chrA:9-3: is not CONTIG:FIRST-LAST, counted from 1"),
        (["--region", "chrA:,-3"], "region chrA:,-3: is not CONTIG:FIRST-LAST, counted from 1"),
        (["--region", "chrA:3-31"], "region chrA:3-31: chrA:3-31 is not within the contig's 30 bases"),
        (["--region", "chrZ:1-3"], "region chrZ:1-3: g.fa: has no contig 'chrZ' (it has chrA, chrB)"),
        (
            ["--regions", "r.bed"],
            "r.bed: none of its regions is within a contig of g.fa: 1 end beyond their contig (another build?): line 1",
        ),
        (["--regions", "r.bed", "--region", "chrA:1-2"], "regions r.bed and region chrA:1-2: give one of them"),
        (["--region", "chrA:1-9", "--window", "8"], "region chrA:1-9: chrA:1-9 has 9 bases, more than the window of 8"),
        (["--region", "chrA:1-9", "--recipe", "x"], "recipe x: there are dart-eval, "),
        (["--region", "chrA:1-9", "--label", "1"], "label 1: {model} is scored by likelihood, without a head"),
        (["--region", "chrA:1-9", "--recipe", "head"], "{model}: no trained head: saved as HyenaDNAForCausalLM"),
        (["--region", "chrA:1-9", "--strand", "both"], "strand both: there are forward and mean"),
        (["--region", "chrA:1-9", "--logo", "l.pdf"], "l.pdf: a logo is written as .png or .svg"),
        (["--region", "chrA:1-9", "--heat-map", "m.gif"], "m.gif: a figure is written as .png, .svg, .pdf"),
    ],
)
def test_bad_input_is_one_line(tmp_path, fasta, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("r.bed").write_text("chrA\t2\t40\n")
    arguments = ["--genome", "g.fa", "--model", HYENA, "--output", "out.tsv", *options]
    status, out, err = run(capsys, monkeypatch, *arguments)
    assert (status, out, err.count("\n")) == (1, "", 1), err
    assert err.replace(f"{tmp_path}/", "").startswith(f"hyenadna: {message.format(model=HYENA)}")
    assert not Path("out.tsv").exists()


def test_other_bad_outputs_and_models(tmp_path, fasta, capsys, monkeypatch):
    arguments = ["--genome", fasta, "--model", HYENA, "--region", "chrA:1-9", "--output"]
    status, _, err = run(capsys, monkeypatch, *arguments, tmp_path / "out.xls")
    known = ".parquet, .tsv, .tsv.gz, .bed, .bed.gz"
    assert (status, err) == (1, f"hyenadna: {tmp_path}/out.xls: a table is written as {known}\n")
    arguments[3] = tmp_path / "nowhere"
    status, _, err = run(capsys, monkeypatch, *arguments, tmp_path / "out.tsv")
    assert (status, err) == (1, f"hyenadna: {tmp_path}/nowhere: no such folder\n")


def test_substitutions_cost_half_of_whole_windows():
    """Each is read from its position on: REF once a batch, three times what is right of each base."""
    model, sequence = load_language_model(HYENA), "ACGTTGCA" * 8
    seen = []
    hook = model.model.hyena.backbone.embeddings.register_forward_hook(lambda *call: seen.append(call[1][0].numel()))
    recipe = RECIPES["whole-alleles"]
    for strand in ("forward", "mean"):
        found = likelihood_changes(model, sequence, 0, len(sequence), recipe._replace(strand=strand), batch_size=8)
        tokens = sum(seen) / (2 if strand == "mean" else 1)
        seen.clear()
        mutants, places = substitutions(sequence, 0, len(sequence))
        whole = score_sequences(model, [sequence, *mutants], recipe._replace(strand=strand))
        expected = np.zeros((len(sequence), 4))
        expected[places[:, 0], places[:, 1]] = whole[1:] - whole[0]
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert 0.5 < tokens / (len(whole) * (len(sequence) + 1)) < 0.65
        seen.clear()
    hook.remove()
