"""Perplexity of the demo checkpoint in fewer bits, beside float32, on the bundled sample of chrX.

    python benchmarks/quantisation.py [--threads 2]

Needs bitsandbytes and torchao. The implicit filter and the head stay as they are in every case.
"""

import copy
import importlib
import json
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, about, parsed, parser
from transformers import BitsAndBytesConfig

from datasets_dart.files import write_text
from datasets_dart.formats.fasta import read_fasta
from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNATokenizer

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "model_cards" / "hyenadna-tiny-1k-demo"
SAMPLE = ROOT / "datasets_dart" / "samples" / "cpg_islands_chrX.fa.gz"
WINDOW, WINDOWS = 1024, 64


def loaded(**options: Any) -> Any:
    """The demo, loaded with these options."""
    model: Any = HyenaDNAForCausalLM.from_pretrained(DEMO, **options)
    return model.eval()


def by_bitsandbytes(**options: Any) -> Any:
    """The demo, quantised while it is loaded."""
    return loaded(quantization_config=BitsAndBytesConfig(**options), device_map="cpu")


def by_torchao(name: str) -> Any:
    """The demo, quantised by a configuration of torchao."""
    quantization: Any = importlib.import_module("torchao.quantization")
    model = copy.deepcopy(loaded())
    quantization.quantize_(model, getattr(quantization, name)())
    return model


def by_torch() -> Any:
    """The demo, quantised by torch itself."""
    quantization: Any = importlib.import_module("torch.ao.quantization")
    return quantization.quantize_dynamic(loaded(), {torch.nn.Linear}, dtype=torch.qint8)


def windows() -> torch.Tensor:
    """(WINDOWS, WINDOW) ids of windows of known bases, spread evenly over those in the sample."""
    tokenizer: Any = HyenaDNATokenizer()
    known = re.compile(f"[ACGT]{{{WINDOW}}}")
    rows = [found[0] for _, _, sequence in read_fasta(SAMPLE) for found in known.finditer(sequence.upper())]
    chosen = [rows[index * len(rows) // WINDOWS] for index in range(WINDOWS)]
    return torch.tensor(tokenizer(chosen, add_special_tokens=False)["input_ids"])


def perplexity(model: Any, ids: torch.Tensor) -> float:
    """Of all bases but the first of each window."""
    with torch.inference_mode():
        losses = [float(model(batch, labels=batch).loss) * len(batch) for batch in ids.split(16)]
    return math.exp(sum(losses) / len(ids))


if __name__ == "__main__":
    parsed(parser(__doc__))
    ids = windows()
    exact = perplexity(loaded(), ids)
    cases = {
        "bfloat16": loaded(dtype=torch.bfloat16),
        "bitsandbytes, 8 bit": by_bitsandbytes(load_in_8bit=True),
        "bitsandbytes, 4 bit": by_bitsandbytes(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
        "torchao, int8 weights": by_torchao("Int8WeightOnlyConfig"),
        "torchao, int8 weights and activations": by_torchao("Int8DynamicActivationInt8WeightConfig"),
        "torch.ao.quantization.quantize_dynamic": by_torch(),
    }
    found = {"float32": exact} | {name: perplexity(model, ids) for name, model in cases.items()}
    packages = {name: version(name) for name in ("bitsandbytes", "torchao")}
    record = about("quantisation") | {"bases": ids.numel(), "packages": packages, "perplexity": found}
    write_text(RESULTS / "quantisation.json", json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))
