"""The folders of the released checkpoints: card, configuration and tokenizer of each, from released.json and
card_template.md. No weights.

    python model_cards/make_cards.py
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna.convert_checkpoint import official_buffers
from modeling_hyenadna.verify_checkpoint import REFERENCE

HERE = Path(__file__).parent
PAPER = "https://arxiv.org/abs/2306.15794"
TAGS = ["biology", "genomics", "dna", "hyenadna", "long-convolution", "causal-lm"]
FLOAT_BYTES = 4
# What the Hub calls the metric of a row; a group of results has rows of several
METRIC_TYPES = {
    "accuracy, %": "accuracy",
    "MCC, %": "matthews_correlation",
    "F1, %": "f1",
    "weighted F1, %": "f1",
    "AUROC": "roc_auc",
    "median AUROC, %": "roc_auc",
}


def make_cards(output: str | os.PathLike[str] = HERE) -> list[Path]:
    """Write a folder for each released checkpoint below `output`; returns them."""
    released = json.loads((HERE / "released.json").read_text(encoding="utf-8"))
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))["checkpoints"]
    folders = []
    for name in released["checkpoints"]:
        folder = Path(output) / name
        config = HyenaDNAConfig(architectures=["HyenaDNAForCausalLM"], dtype="float32", **reference[name]["config"])
        config.save_pretrained(folder)
        HyenaDNATokenizer(model_max_length=config.max_seq_len).save_pretrained(folder)
        card = make_card(name, released, config, reference[name])
        (folder / "README.md").write_text(str(card), encoding="utf-8")
        folders.append(folder)
    return folders


def make_card(name: str, released: dict[str, Any], config: HyenaDNAConfig, reference: dict[str, Any]) -> ModelCard:
    """One checkpoint's card. Parameters and sizes are counted, not copied."""
    facts = released["checkpoints"][name]
    with torch.device("meta"):
        parameters = HyenaDNAForCausalLM(config).num_parameters()
    tied = parameters - config.padded_vocab_size * config.d_model
    per_layer = sum(buffer.numel() for buffer in official_buffers(config).values())
    results = [row for group in facts.get("results", ()) for row in group["rows"]]
    return ModelCard.from_template(  # type: ignore[no-any-return]
        card_data=ModelCardData(
            model_name=name,
            license="bsd-3-clause",
            library_name="transformers",
            pipeline_tag="text-generation",
            tags=TAGS,
            datasets=["hg38"],
            eval_results=[result for group in facts.get("results", ()) for result in eval_results(group)] or None,
        ),
        template_path=str(HERE / "card_template.md"),
        name=name,
        title=facts["title"],
        context=f"{config.max_seq_len - 2:,}",
        context_bases=config.max_seq_len - 2,
        distances=",".join(map(str, distances(config.max_seq_len - 2))),
        **{field: getattr(config, field) for field in ("n_layer", "d_model", "d_inner", "emb_dim", "filter_order")},
        max_seq_len=f"{config.max_seq_len:,}",
        parameters=f"{parameters:,}",
        parameters_tied=f"{tied:,}",
        file_bytes=f"{FLOAT_BYTES * (parameters + config.n_layer * per_layer):,}",
        buffer_bytes=f"{FLOAT_BYTES * config.n_layer * per_layer:,}",
        weights_memory=size(FLOAT_BYTES * parameters),
        revision=f"`{reference['revision']}`" if "revision" in reference else "not recorded here",
        training_note=facts.get("training_note", ""),
        results=results,
        results_intro=" ".join(group["about"] for group in facts.get("results", ())),
        results_source=" and ".join(group["source"] for group in facts.get("results", ())),
        results_note=" ".join(group["note"] for group in facts.get("results", ()) if "note" in group),
        memory=[(f"{row['tokens']:,}", size(row["peak_bytes"])) for row in released["memory"] if fits(row, config)],
        speed=[timing(row) for row in released["speed"].get(name, ())],
        checked=checked(reference),
    )


def distances(context: int, segment: int = 256, lead: int = 64) -> list[int]:
    """Distances in steps of four at which a window of `context` bases has a segment twice, and the longest."""
    longest = context - 2 * segment - lead
    return [own for own in (4**power for power in range(3, 11)) if own < longest] + [longest]


def eval_results(group: dict[str, Any]) -> list[EvalResult]:
    """The metadata of a group of published results."""
    return [
        EvalResult(
            task_type=group["task_type"],
            dataset_type=group["dataset_type"],
            dataset_name=f"{group['dataset']}: {row['data']}",
            dataset_config=row["data"],
            metric_type=METRIC_TYPES[row["metric"]],
            metric_name=row["metric"],
            metric_value=row["value"],
            verified=False,
            source_name=group["source"] if "url" in group else f"HyenaDNA paper, {group['source']}",
            source_url=group.get("url", PAPER),
        )
        for row in group["rows"]
    ]


def fits(row: dict[str, Any], config: HyenaDNAConfig) -> bool:
    """Whether a measurement was of this shape, and of an input that it can read."""
    return (row["d_model"], row["n_layer"]) == (config.d_model, config.n_layer) and row["tokens"] < config.max_seq_len


def timing(row: dict[str, Any]) -> tuple[str, str, str]:
    """What was timed, its time, and how many times as fast as the stock model that is."""
    ratio = row["stock_milliseconds"] / row["milliseconds"]
    return row["what"], f"{row['milliseconds']:,} ms", f"{ratio:.2f}×"


def size(count: int) -> str:
    """Bytes as a card says them."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def checked(reference: dict[str, Any]) -> str:
    """What `hyenadna verify` can compare."""
    if "pooled_hidden_states" in reference:
        what = "`hyenadna verify` compares hidden states with recorded ones, and the file's SHA-256."
    elif "sha256" in reference:
        what = "`hyenadna verify` compares the file's SHA-256; no hidden states were recorded of these weights."
    else:
        what = "Nothing was recorded of these weights; `hyenadna verify --remote-code` runs the official port on them."
    return (
        f"{what} The weights could not be downloaded where this package was built. Its model equals the official port\n"
        "on other weights, in logits, hidden states, loss and gradients."
    )


if __name__ == "__main__":
    for made in make_cards():
        print(made)
