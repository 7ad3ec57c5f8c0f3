"""lm-evaluation-harness: likelihoods, rolling likelihoods and generation are ours; a task of DNA as YAML."""

import json
from pathlib import Path

import pytest
import torch

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

TASK = Path(__file__).parents[2] / "docs/examples/next_bases.yaml"


@pytest.fixture(scope="module")
def harness(folder):
    return HFLM(folder, device="cpu", batch_size=2, dtype="float32", add_bos_token=False)


def log_p(model, ids, start):
    """log p of ids[start:] after ids[:start]."""
    with torch.no_grad():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return sum(float(scores[place - 1, ids[place]]) for place in range(start, len(ids)))


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def requests(kind, arguments):
    return [Instance(kind, {}, own, index) for index, own in enumerate(arguments)]


def test_loglikelihood(harness, model, tokenizer, sequences):
    pairs = [(own[:-4], own[-4:]) for own in sequences]
    found = harness.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True)
    for (context, continuation), (value, _) in zip(pairs, found, strict=True):
        expected = log_p(model, ids_of(tokenizer, context + continuation), len(context))
        assert value == pytest.approx(expected, abs=1e-4)


def test_bos_token_must_be_off(folder, model, tokenizer, sequences):
    """Else the harness tokenizes with special tokens: a [SEP] stands in place of the first base of what is scored."""
    harness = HFLM(folder, device="cpu", dtype="float32")
    context, continuation = sequences[0][:-4], sequences[0][-4:]
    ((value, _),) = harness.loglikelihood(requests("loglikelihood", [(context, continuation)]), disable_tqdm=True)
    separator = tokenizer.sep_token_id
    ids = [*ids_of(tokenizer, context), separator, *ids_of(tokenizer, continuation[1:]), separator]
    assert value == pytest.approx(log_p(model, ids, len(context) + 1), abs=1e-4)


def test_rolling_loglikelihood(harness, model, tokenizer, sequences):
    found = harness.loglikelihood_rolling(requests("loglikelihood_rolling", [(own,) for own in sequences]), True)
    for sequence, value in zip(sequences, found, strict=True):
        ids = [tokenizer.bos_token_id, *ids_of(tokenizer, sequence)]  # the harness puts a token before the first base
        assert value == pytest.approx(log_p(model, ids, 1), abs=1e-4)


def test_generation(harness, model, tokenizer, sequences):
    options = {"until": ["[SEP]"], "max_gen_toks": 6, "do_sample": False}
    found = harness.generate_until(requests("generate_until", [(own, options) for own in sequences[:3]]), True)
    for sequence, text in zip(sequences, found, strict=False):
        ids = torch.tensor([ids_of(tokenizer, sequence)])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)[
            0, ids.shape[1] :
        ]
        assert text == tokenizer.decode(new, skip_special_tokens=True)


def test_a_task_of_dna(harness, model, tokenizer, sequences, tmp_path, monkeypatch):
    rows = [{"sequence": own[:12], "right": own[12:16], "wrong": "TTTT"} for own in sequences if len(own) >= 16]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / TASK.name).write_text(TASK.read_text())
    monkeypatch.chdir(tmp_path)
    tasks = TaskManager(include_path=str(tmp_path), include_defaults=False)
    results = lm_eval.simple_evaluate(harness, tasks=["next_bases"], task_manager=tasks, bootstrap_iters=0)
    right = [
        log_p(model, ids_of(tokenizer, row["sequence"] + row["right"]), 12)
        > log_p(model, ids_of(tokenizer, row["sequence"] + row["wrong"]), 12)
        for row in rows
    ]
    assert results["results"]["next_bases"]["acc,none"] == pytest.approx(sum(right) / len(right))
