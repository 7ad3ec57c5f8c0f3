"""A model trained on own data: killed and resumed, and on two processes."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate import Accelerator
from markdown_it import MarkdownIt
from safetensors.torch import load_file

import modeling_hyenadna  # noqa: F401
from datasets_dart.errors import InputError
from evaluation_dart.records import read_record
from evaluation_dart.report.hub import write_report
from evaluation_dart.report.tables import valid_records_below
from evaluation_dart.tools.own_model import card, train_own_model
from evaluation_dart.training.recipe import SupervisedTraining
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

ROOT = Path(__file__).parents[3]
CHOICES = SupervisedTraining(
    num_train_epochs=2, batch_size=7, learning_rate=2e-3, reverse_complement=True, class_weights=True, save_steps=2
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rows of two classes, rich and poor in G and C."""
    folder, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    sizes = {"train": 30, "validation": 10, "test": 12}
    for split, n in sizes.items():
        weights = [np.array([4, 1, 1, 4]) / 10, np.array([1, 4, 4, 1]) / 10]
        sequences = ["".join(rng.choice(list("ACGT"), 30, p=weights[row % 2])) for row in range(n)]
        table = {"chrom": ["chr1"] * n, "start": [1000 * row for row in range(n)]}
        table |= {"end": [1000 * row + 30 for row in range(n)], "sequence": sequences}
        pq.write_table(pa.table(table | {"label": [row % 2 for row in range(n)]}), folder / f"{split}.parquet")
    about = {"kind": "bed", "classes": ["off", "on"], "rows": sizes, "window": 30, "negatives": None, "splits": "paper"}
    (folder / "dataset.json").write_text(json.dumps(about | {"inputs": {"bed": "r.bed"}, "target": "class"}))
    return folder


def checkpoint(folder, dropout):
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, emb_dim=5, filter_order=16, embed_dropout=dropout)
    HyenaDNAForCausalLM(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=66).save_pretrained(folder)
    return str(folder)


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_model(tmp_path, data, monkeypatch):
    """Dropout on; killed while writing the second state, within the first epoch."""
    model = checkpoint(tmp_path / "model", 0.1)
    whole = train_own_model(data, model, tmp_path / "whole", CHOICES, logo=False)
    save, calls = Accelerator.save_state, []

    def killed_while_writing(self, folder, *arguments, **options):
        save(self, folder, *arguments, **options)
        calls.append(folder)
        if len(calls) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "save_state", killed_while_writing)
        with pytest.raises(Killed):
            train_own_model(data, model, tmp_path / "killed", CHOICES, logo=False)
    assert not (tmp_path / "killed").exists()
    other = replace(CHOICES, learning_rate=1.0)
    with pytest.raises(ValueError, match=r"of another run: training\.learning_rate is 0\.002 there and 1\.0 here"):
        train_own_model(data, model, tmp_path / "killed", other, logo=False)
    assert train_own_model(data, model, tmp_path / "killed", CHOICES, logo=False) == whole
    record = read_record(tmp_path / "whole")
    assert record["model"]["pretrained_on"] == "unknown"  # the card of the model it began with says nothing
    assert record["dataset"]["in_pretraining"]["inside"] is None
    models = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "killed")]
    assert models[0] == models[1]


SCRIPT = """
import sys
from pathlib import Path
import modeling_hyenadna
from datasets_dart.errors import InputError
from evaluation_dart.tools.own_model import card, train_own_model
from evaluation_dart.training.recipe import SupervisedTraining
data, model, output, *choices = sys.argv[1:]
training = eval(choices[0])
train_own_model(Path(data), model, Path(output), training, logo=False, device="cpu")
"""


def test_two_processes_are_one(tmp_path, data):
    """Over gloo, dropout off; 30 rows in batches of 7 in passes of 2, so that no share is even."""
    model = checkpoint(tmp_path / "model", 0.0)
    choices = replace(CHOICES, per_device_train_batch_size=2)
    train_own_model(data, model, tmp_path / "one", choices, logo=False)
    (tmp_path / "train.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [str(tmp_path / "train.py"), str(data), model, str(tmp_path / "two"), repr(choices)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*launch, *words], check=True, env=environment, capture_output=True)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4)


ODD_CLASS = "on|off <img src=x onerror=alert(1)> [x](http://e.org) `c` *b*\u2028"


def test_names_of_classes_and_files_are_only_text_in_the_card(tmp_path, data):
    """The card of a training whose classes, file and folder have names with a meaning in Markdown or YAML."""
    train_own_model(data, checkpoint(tmp_path / "model", 0.0), tmp_path / "made", CHOICES, logo=False)
    record = json.loads((tmp_path / "made" / "results.json").read_text())
    (own,), skipped = valid_records_below([tmp_path])
    assert (own.kind, own.content, skipped) == ("own model", record, [])
    assert write_report([record], tmp_path / "report", "org/data") == (len(record["metrics"]), [])
    plain = ODD_CLASS.replace("\u2028", "")
    record["data"] |= {"classes": ["off", plain], "inputs": {"bed": "a\n# b|<b>.bed"}}
    for metrics in (record["metrics"], *record["baselines"].values()):
        for name in [name for name in metrics if name.endswith("_on")]:
            metrics[name.removesuffix("on") + plain] = metrics.pop(name)
    record["model"]["id"] = "local/`a`|b"
    text = card("x: [&a]\n---", record, False, "mit\nlicense: other")
    front, body = text.split("\n---\n", 1)
    metadata = yaml.safe_load(front.removeprefix("---\n"))
    assert metadata["license"] == "mit\nlicense: other"
    assert metadata["model-index"][0]["name"] == "x: [&a]\n---"
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    children = [child for token in tokens for child in token.children or ()]
    kinds = {child.type for child in children}
    assert not kinds & {"html_inline", "link_open", "image", "em_open"}, kinds
    assert not any(token.type == "html_block" for token in tokens)
    assert len([token for token in tokens if token.type == "heading_open"]) == body.count("\n#")
    shown = {token.content for token in tokens if token.type == "inline"}
    assert any(plain in "".join(child.content for child in token.children or ()) for token in tokens), shown


@pytest.mark.parametrize("name", [ODD_CLASS, "a\nb", "x" * 300, 5])
def test_a_class_that_no_record_can_hold_is_refused_before_the_training(tmp_path, data, name):
    folder = tmp_path / "rows"
    shutil.copytree(data, folder)
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(about | {"classes": ["off", name]}))
    with pytest.raises(InputError, match=r"dataset\.json: class .* is not a name of up to 200 printable"):
        train_own_model(folder, checkpoint(tmp_path / "model", 0.0), tmp_path / "made", CHOICES, logo=False)
    assert not (tmp_path / "made").exists()


ROWS = {
    "a label": ({"label": [7] * 12}, "row 0 has the label 7, not a number of a class, 0 to 1"),
    "a negative label": ({"label": [0] * 11 + [-1]}, "row 11 has the label -1, not a number of a class"),
    "a missing label": ({"label": [0] * 3 + [None] * 9}, "row 3 has the label None, not a number of a class"),
    "other labels": ({"label": [0.5] * 12}, "the labels are double, not numbers of classes"),
    "a missing sequence": ({"sequence": ["A", None] * 6}, "row 1 has no sequence: None"),
    "an empty sequence": ({"sequence": [""] * 12}, "row 0 has no sequence: ''"),
    "a missing column": ({"label": None}, "has no column 'label'"),
    "a value": ({"label": [1.0, np.inf] * 6}, "row 1 has the label inf, not a finite number"),
    "one value": ({"label": [1.0] * 12}, "all rows have one label"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_no_model_can_learn_from_are_refused_before_the_training(tmp_path, data, case):
    changes, message = ROWS[case]
    folder = tmp_path / "rows"
    shutil.copytree(data, folder)
    if "value" in case:
        about = json.loads((folder / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps(about | {"classes": None}))
    table = pq.read_table(folder / "test.parquet")
    for name, column in changes.items():
        table = table.drop_columns(name)
        table = table if column is None else table.append_column(name, pa.array(column))
    pq.write_table(table, folder / "test.parquet")
    with pytest.raises(InputError, match=rf"test\.parquet: {re.escape(message)}"):
        train_own_model(folder, checkpoint(tmp_path / "model", 0.0), tmp_path / "made", CHOICES, logo=False)
    assert not (tmp_path / "made").exists()


def test_other_rows_in_the_same_folder_are_another_training(tmp_path, data):
    folder, model = tmp_path / "rows", checkpoint(tmp_path / "model", 0.0)
    shutil.copytree(data, folder)
    train_own_model(folder, model, tmp_path / "made", CHOICES, logo=False)
    train_own_model(folder, model, tmp_path / "made", CHOICES, logo=False)
    table = pq.read_table(folder / "train.parquet")
    pq.write_table(table.slice(1), folder / "train.parquet")
    with pytest.raises(InputError, match="made: already exists"):
        train_own_model(folder, model, tmp_path / "made", CHOICES, logo=False)
