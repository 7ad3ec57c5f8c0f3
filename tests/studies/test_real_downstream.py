"""Runs of downstream tasks on real data: which there are, and the tables of their records."""

import gzip
import json

import pytest

from studies import real_downstream
from studies.pages import take
from studies.tables import downstream_tables
from trainer_scripts.finetune import parse


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in ("benchmarks", "intervals", "genomes"):
        (folder / name).mkdir(parents=True)
    for name in real_downstream.GUE:
        for split in ("train", "dev", "test"):
            (folder / f"benchmarks/GUE_{name}_{split}.csv.gz").write_bytes(gzip.compress(b"sequence,label\nACGT,1\n"))
    header = "dataset split label hg38_chrom hg38_start hg38_end strand hg19_chrom hg19_start hg19_end"
    rows = [
        header,
        "human_ocr_ensembl train negative chr20 5 9 - chr20 15 19",
        "human_ocr_ensembl test ocr c 1 2 . d 3 4",
    ]
    table = "".join("\t".join(row.split()) + "\n" for row in rows)
    path = folder / "intervals/genomic_benchmarks.chr20_chr22.hg38_hg19.tsv.gz"
    path.write_bytes(gzip.compress(table.encode()))
    for name in ("hg19.chr20", "hg19.chr22.partial"):
        (folder / f"genomes/{name}.fa.gz").write_bytes(gzip.compress(b">x\nACGTNNN\nACG\n"))
    return folder


def test_commands(data, tmp_path):
    commands = real_downstream.commands(data, tmp_path / "out", "small", range(2))
    assert len([name for name in commands if name.startswith("gue/tf_0/")]) == 3 * 2 + 1
    assert len([name for name in commands if "human_ocr_ensembl" in name]) == 3 * 2 + 1 + 3
    task, model, training, _ = parse(commands["genomic_benchmarks/human_ocr_ensembl/pads-read-last-token/seed-0"])
    assert (model.masked, model.pooling, model.special_tokens, task.budget) == (False, "last", True, "small")
    assert training.num_train_epochs * 1024 // training.batch_size == 256
    _, model, training, _ = parse(commands["gue/tf_0/from-scratch/seed-1"])
    assert (model.random_weights, training.seed, model.masked) == (True, 1, True)
    full = real_downstream.commands(data, tmp_path / "out", "full", [0])
    assert parse(full["gue/tf_0/fine-tuned/seed-0"])[2].num_train_epochs == 100
    work = tmp_path / "out" / "inputs"
    assert (work / "genomic_benchmarks/human_ocr_ensembl/train/negative.csv").read_text().endswith("0,chr20,15,19,-\n")
    assert (work / "hg19.chr20_chr22.fa").read_text() == ">chr20\nACGTNNNACG\n>chr22\nACGTNNNACG\n"


def test_two_runs_at_a_time(data, tmp_path):
    rows = "".join(f"{'ACGT' * 10 if label else 'AATT' * 10},{label}\n" for label in (0, 1) * 20)
    for path in (data / "benchmarks").iterdir():
        path.write_bytes(gzip.compress(f"sequence,label\n{rows}".encode()))
    output = tmp_path / "out"
    real_downstream.real_downstream(data, output, seeds=1, only="gue+kmers", jobs=2)
    records = [json.loads(path.read_text()) for path in output.rglob("results.json")]
    assert sorted(record["task"] for record in records) == sorted(f"gue/{name}" for name in real_downstream.GUE)
    assert {record["metrics"]["mcc"]["value"] for record in records} == {1.0}
    (output / "inputs/gue/tf_0/test.csv.gz").write_bytes(gzip.compress(b"sequence,label\nACGT,x\n"))
    with pytest.raises(ValueError, match="tf_0/test"):
        real_downstream.real_downstream(data, output, seeds=1, only="gue/tf_0/kmers", jobs=2)


def write_record(folder, value, steps=256):
    metric = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, "method": "m", "higher_is_better": True}
    record = {
        **{"task": "gue/tf_0", "protocol": "fixed", "budget": "small", "seed": 0, "epoch": 1, "reading": {}},
        **{
            "model": {"parameters": 1234},
            "rows": {"train": 1024, "test": 1000},
            "steps": steps,
            "published": {"X": 9.5},
        },
        **{"metrics": {"mcc": metric}, "recipe": {"learning_rate": 0.1}},
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(record))


def test_tables(tmp_path):
    for seed, value in enumerate((0.5, 0.7)):
        write_record(tmp_path / f"runs/gue/tf_0/cnn/seed-{seed}", value)
    write_record(tmp_path / "runs/gue/tf_0/kmers-6/seed-0", 0.25, None)
    take(tmp_path / "runs", tmp_path / "records")
    for model, mcc in (
        ("cnn", {"value": 0.6, "low": 0.35, "high": 0.8}),
        ("kmers-6", {"value": 0.25, "low": 0.15, "high": 0.35}),
    ):
        (tmp_path / f"records/gue/tf_0/{model}/seeds.json").write_text(json.dumps({"mcc": mcc}))
    lines = downstream_tables(tmp_path / "records").splitlines()
    assert lines[0] == "### gue/tf_0"
    assert lines[4] == "| cnn | 1,234 | 1,024 | 256 | 2 | 1,000 |  | 0.600 [0.350, 0.800] |  |"
    assert lines[5] == "| kmers-6 | 1,234 | 1,024 | – | – | 1,000 |  | 0.250 [0.150, 0.350] |  |"
    assert lines[7] == "Published, of the whole task, in per cent: X 9.5."
    with pytest.raises(FileNotFoundError, match=r"no results\.json"):
        take(tmp_path / "nothing", tmp_path / "records")
