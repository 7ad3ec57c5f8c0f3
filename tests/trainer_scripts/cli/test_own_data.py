"""hyenadna dataset and train: from files to a model with its card, for each kind of data, and errors of one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch
from datasets import load_dataset

import modeling_hyenadna  # noqa: F401
from evaluation_dart.training.finetuning import load_classifier
from evaluation_dart.training.lora import add_lora, merge_lora
from trainer_scripts.cli import hyenadna
from trainer_scripts.push_model import check_model_folder

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENA, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
CONTIGS = {"chr1": 30_000, "chr6": 6_000, "chr5": 6_000}  # train, validation and test of the paper's split


def run(capsys, monkeypatch, *arguments):
    """The command's exit status, output and errors."""
    monkeypatch.setattr("sys.argv", ["hyenadna", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A genome in which every peak is poly-G for 12 bases, with narrowPeak, BED and bigWig of the same places."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    peaks, labelled, fasta = [], [], []
    with pyBigWig.open(str(folder / "signal.bw"), "w") as track:
        track.addHeader([*CONTIGS.items()])
        for chrom, length in CONTIGS.items():
            bases = rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.35, 0.15, 0.15, 0.35])
            values = np.ones(length)
            for number, start in enumerate(range(300, length - 300, 250)):
                if number % 2:
                    bases[start : start + 12] = ord("G")
                    values[start : start + 12] = 50
                    peaks.append(f"{chrom}\t{start - 20}\t{start + 32}\t.\t0\t.\t1\t-1\t{number}\t26")
                labelled.append(f"{chrom}\t{start - 20}\t{start + 32}\t{'on' if number % 2 else 'off'}\t{number % 2}.5")
            track.addEntries(chrom, 0, values=values.tolist(), span=1, step=1)
            fasta.append(f">{chrom}\n{bases.tobytes().decode()}\n")
    (folder / "g.fa").write_text("".join(fasta))
    (folder / "p.narrowPeak").write_text("\n".join(peaks) + "\n")
    (folder / "r.bed").write_text("\n".join(labelled) + "\n")
    (folder / "avoid.bed").write_text("chr1\t0\t1000\n")
    return folder


def test_peaks_with_negatives_of_the_same_gc(tmp_path, files, capsys, monkeypatch):
    output = tmp_path / "rows"
    genome = ["--genome", files / "g.fa", "--window", 60]
    arguments = ["dataset", "--peaks", files / "p.narrowPeak", *genome, "--avoid", files / "avoid.bed"]
    status, out, err = run(capsys, monkeypatch, *arguments, "--output", output)
    assert status == 0
    rows = load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert rows["train"].features["label"].names == ["negative", "positive"]
    train = rows["train"].to_pandas()
    assert set(train["chrom"]) == {"chr1"}
    assert train["start"].min() >= 1000
    assert "touch what is to be avoided" in err
    positive = train[train["label"] == 1]
    assert positive["sequence"].str.slice(24, 36).eq("G" * 12).all()
    assert (positive["end"] - positive["start"] == 60).all()
    about = json.loads((output / "dataset.json").read_text())
    assert about["rows"]["train"]["positive"] == len(positive)
    assert "no free candidate" in str(about["left_out"])  # poly-G is nowhere else
    assert out.startswith(f"{output}: {len(train)} train (0 negative, {len(train)} positive), ")


def test_shuffled_negatives(tmp_path, files, capsys, monkeypatch):
    output = tmp_path / "rows"
    arguments = ["dataset", "--peaks", files / "p.narrowPeak", "--negatives", "shuffled", "--ratio", 2]
    assert run(capsys, monkeypatch, *arguments, "--genome", files / "g.fa", "--window", 60, "--output", output)[0] == 0
    test = pd.read_parquet(output / "test.parquet")
    assert test["label"].value_counts().to_dict() == {0: 22, 1: 11}
    for _, group in test.groupby(["chrom", "start"]):
        assert group["sequence"].nunique() == 3
        assert group["sequence"].map(sorted).map(tuple).nunique() == 1

    # The same sequences from a FASTA, whose names say where they lie
    fasta, again = tmp_path / "p.fa", tmp_path / "again"
    found = pd.concat(pd.read_parquet(output / f"{split}.parquet") for split in ("train", "validation", "test"))
    found = found[found["label"] == 1].drop_duplicates(["chrom", "start"])
    fasta.write_text("".join(f">{r.chrom}:{r.start}-{r.end}\n{r.sequence.lower()}\n" for r in found.itertuples()))
    assert run(capsys, monkeypatch, "dataset", "--positives", fasta, "--ratio", 2, "--output", again)[0] == 0
    pd.testing.assert_frame_equal(
        *(
            pd.read_parquet(folder / "test.parquet").sort_values(["start", "label", "sequence"], ignore_index=True)
            for folder in (output, again)
        )
    )


def test_random_splits_keep_shuffles_with_their_sequence(tmp_path, capsys, monkeypatch):
    fasta, output = tmp_path / "s.fa", tmp_path / "rows"
    rng = np.random.default_rng(1)
    fasta.write_text("".join(f">s{i}\n{''.join(rng.choice(list('ACGT'), 30))}\n" for i in range(20)))
    arguments = ["dataset", "--positives", fasta, "--output", output]
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert status == 1
    assert "no row is in split 'train': the rows are on no contig that their names tell" in err
    assert run(capsys, monkeypatch, *arguments, "--splits", "random")[0] == 0
    sizes, composition = [], {}
    for split in ("train", "validation", "test"):
        table = pd.read_parquet(output / f"{split}.parquet")
        sizes.append(len(table))
        for sequence in table["sequence"]:
            composition.setdefault((sequence[0], sequence[-1], "".join(sorted(sequence))), set()).add(split)
    assert sizes == [28, 4, 8]
    assert all(len(splits) == 1 for splits in composition.values())


def test_labels_of_a_bed_and_a_trained_model(tmp_path, files, capsys, monkeypatch):
    """From files to a model that tells the classes, its card and logo; then mutagenesis of it."""
    data, model = tmp_path / "rows", tmp_path / "my-model"
    bed = ["--regions", files / "r.bed", "--genome", files / "g.fa", "--window", 40]
    splits = ["--validation", "chr6", "--test", "chr5"]
    assert run(capsys, monkeypatch, "dataset", *bed, *splits, "--output", data)[0] == 0
    arguments = ["train", "--data", data, "--model", HYENA, "--pooling", "max", "--output", model]
    arguments += ["--num-train-epochs", 4]
    status, out, _ = run(capsys, monkeypatch, *arguments, "--learning-rate", 2e-3)
    assert status == 0
    assert "auroc_on: " in out
    record = json.loads((model / "results.json").read_text())
    assert record["metrics"]["auroc_on"]["value"] > 0.9
    assert (record["metrics"]["accuracy"]["n"], record["data"]["classes"]) == (22, ["off", "on"])
    assert not model.with_name("my-model.training").exists()
    check_model_folder(model)
    card = (model / "README.md").read_text()
    assert "| accuracy | " in card
    assert "![importance of each base in three test rows](logo.png)" in card
    assert (model / "logo.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_classifier(model, None)
    assert (loaded.model.config.id2label, loaded.model.config.pooling) == ({0: "off", 1: "on"}, "max")

    sequence, output = tmp_path / "s.fa", tmp_path / "out.parquet"
    sequence.write_text(">s\n" + "ATTAAATCAA" + "G" * 12 + "TTATCAATTA\n")
    assert run(capsys, monkeypatch, "mutagenesis", "--genome", sequence, "--model", model, "--output", output)[0] == 0
    table = pd.read_parquet(output)
    assert table["change"][table["ref"] == "G"].mean() < table["change"][table["ref"] != "G"].mean()

    status, said, _ = run(capsys, monkeypatch, *arguments, "--learning-rate", 2e-3)
    assert (status, said) == (0, out)
    status, _, err = run(capsys, monkeypatch, *arguments)
    assert (status, err) == (1, f"hyenadna: {model}: already exists; name a new or empty folder\n")


def test_signal_with_lora_of_a_masked_model(tmp_path, files, capsys, monkeypatch):
    data, model = tmp_path / "rows", tmp_path / "my-model"
    signal = ["--signal", files / "signal.bw", "--genome", files / "g.fa", "--window", 100]
    assert run(capsys, monkeypatch, "dataset", *signal, "--output", data)[0] == 0
    table = pd.read_parquet(data / "train.parquet")
    assert (len(table), table["label"].dtype) == (300, np.float64)
    peaks = table["sequence"].str.count("GGGGGGGGGGGG")
    assert table["label"][peaks == 0].median() == pytest.approx(np.log1p(100))
    arguments = ["train", "--data", data, "--model", BERT, "--method", "lora", "--num-train-epochs", 1, "--no-logo"]
    assert run(capsys, monkeypatch, *arguments, "--output", model)[0] == 0
    record = json.loads((model / "results.json").read_text())
    assert set(record["metrics"]) == {"pearson", "spearman"}
    assert record["metrics"]["pearson"]["n"] == 60
    assert load_classifier(model, None).model.config.problem_type == "regression"
    predictions = pd.read_parquet(model / "predictions.parquet")
    again = load_classifier(model, None)
    inputs, _ = again.encode(pd.read_parquet(data / "test.parquet")["sequence"][:5].tolist())
    with torch.no_grad():
        forward = again.model(**inputs).logits[:, 0].numpy()
    assert np.abs(forward - predictions["output_0"][:5]).max() < 0.5  # the other strand is averaged in

    regions = ["--regions", files / "r.bed", *signal, "--limit", 40, "--output", tmp_path / "regions"]
    assert run(capsys, monkeypatch, "dataset", *regions)[0] == 0
    of_split = (pd.read_parquet(tmp_path / "regions" / f"{split}.parquet") for split in ("train", "validation", "test"))
    assert sum(map(len, of_split)) == 40


def test_merged_lora_computes_the_same():
    torch.manual_seed(0)
    classifier = load_classifier(HYENA, 2)
    add_lora(classifier.model.hyena)
    for name, parameter in classifier.model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    inputs, _ = classifier.encode(["ACGTTGCAAC"])
    with torch.no_grad():
        before = classifier.model.eval()(**inputs).logits
        merge_lora(classifier.model.hyena)
        after = classifier.model(**inputs).logits
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
    assert not any("lora" in name or "original" in name for name in classifier.model.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give one of regions, peaks, positives and signal (regions may be added to signal)"),
        (["--regions", "r.bed", "--peaks", "p.narrowPeak"], "give one of regions, peaks, positives and signal"),
        (["--regions", "r.bed"], "the genome of the regions is needed"),
        (["--regions", "r.bed", "--genome", "g.fa", "--test", "chr5"], "validation and test contigs go together"),
        (["--regions", "r.bed", "--genome", "g.fa", "--label-column", 9], "r.bed:1: 5 columns where 9 are needed"),
        (["--regions", "r.bed", "--genome", "g.fa", "--regression"], "r.bed:1: 'off' is not a number to predict"),
        (["--regions", "avoid.bed", "--genome", "g.fa"], "avoid.bed:1: 3 columns where 4 are needed"),
        (["--regions", "one.bed", "--genome", "g.fa"], "one.bed: column 4 says 'a' everywhere; two classes are needed"),
        (["--signal", "g.fa", "--genome", "g.fa"], "g.fa: not a bigWig file"),
        (
            ["--regions", "r.bed", "--genome", "g.fa", "--validation", "chr5", "--test", "chrX"],
            "test: there is no contig 'chrX'; there are chr1, chr5, chr6",
        ),
        (["--regions", "r.bed", "--genome", "g.fa", "--validation", "chr5", "--test", "chr5"], "chr5 is in validation"),
    ],
)
def test_bad_input_is_one_line(tmp_path, files, capsys, monkeypatch, options, message):
    monkeypatch.chdir(files)
    (files / "one.bed").write_text("chr1\t500\t600\ta\n")
    status, out, err = run(capsys, monkeypatch, "dataset", *options, "--window", 60, "--output", tmp_path / "rows")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.replace(f"{files}/", "").startswith(f"hyenadna: {message}")
    assert not (tmp_path / "rows").exists()


def test_training_refuses(tmp_path, files, capsys, monkeypatch):
    arguments = ["train", "--model", HYENA, "--output", tmp_path / "m", "--data"]
    status, _, err = run(capsys, monkeypatch, *arguments, tmp_path / "nowhere")
    missing = f"{tmp_path}/nowhere"
    assert (status, err) == (1, f"hyenadna: {missing}/dataset.json: no such file: there is no folder {missing}\n")
    (tmp_path / "dataset.json").write_text("{}")
    status, _, err = run(capsys, monkeypatch, *arguments, tmp_path)
    assert (status, err) == (1, f"hyenadna: {tmp_path}: no folder of hyenadna dataset: 'classes'\n")
    data = tmp_path / "rows"
    bed = ["--regions", files / "r.bed", "--genome", files / "g.fa", "--window", 200]
    assert run(capsys, monkeypatch, "dataset", *bed, "--output", data)[0] == 0
    status, _, err = run(capsys, monkeypatch, *arguments, data)
    assert status == 1
    assert "reads at most 130 tokens, but 200 bases are 201 tokens" in err
