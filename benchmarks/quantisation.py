"""What the demo checkpoint loses in fewer bits, beside float32, on the bundled sample of chrX.

    python benchmarks/quantisation.py [--threads 2]

Perplexity of windows; the area under the ROC curve of elements against their shuffles (task 1) by log-likelihood; and
scores of SNVs (whole alleles), each with float32's. CPU time is of the windows. Needs bitsandbytes and torchao. The
implicit filter and the head stay as they are in every case.
"""

import copy
import importlib
import json
import math
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import RESULTS, about, parsed, parser
from scipy.stats import spearmanr
from transformers import BitsAndBytesConfig

from datasets_dart import load_dart
from datasets_dart.files import write_text
from datasets_dart.formats.fasta import read_fasta
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart import load_scorer
from evaluation_dart.recipes import variant_recipe
from evaluation_dart.scoring.alleles import VariantScorer
from evaluation_dart.statistics.blocks import genome_blocks
from evaluation_dart.statistics.estimates import Estimate, auroc, difference, metric
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


def snvs(ids: torch.Tensor) -> tuple[list[str], np.ndarray]:
    """Windows with an SNV in the middle of each: REF and ALT in turn, and which window each is of."""
    tokenizer: Any = HyenaDNATokenizer()
    found = []
    for bases in (text.replace(" ", "") for text in tokenizer.batch_decode(ids)):
        other = "ACGT"[("ACGT".index(bases[WINDOW // 2]) + 1) % 4]
        found += [bases, bases[: WINDOW // 2] + other + bases[WINDOW // 2 + 1 :]]
    return found, np.arange(len(found)) // 2


def element_auroc(scorer: Any, pairs: Any) -> Estimate:
    """Of log-likelihoods of elements against those of their controls."""
    scores = scorer.log_likelihood([*pairs["sequence"], *pairs["control"]])
    blocks = genome_blocks(np.array(pairs["chrom"], dtype=object), np.array(pairs["start"])).twice()
    return auroc(scores, np.arange(len(scores)) < len(pairs), blocks)


def with_interval(estimate: Estimate) -> dict[str, Any]:
    """A value, its interval, and how that was made."""
    own = metric(estimate)
    return {"value": own.value, "low": own.low, "high": own.high, "n": own.n, "method": own.method}


WAYS: dict[str, Callable[[], Any]] = {
    "float32": loaded,
    "bfloat16": lambda: loaded(dtype=torch.bfloat16),
    "int8": lambda: load_scorer(DEMO, device="cpu", dtype="int8").model,
    "bitsandbytes, 8 bit": lambda: by_bitsandbytes(load_in_8bit=True),
    "bitsandbytes, 4 bit": lambda: by_bitsandbytes(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
    "torchao, int8 weights": lambda: by_torchao("Int8WeightOnlyConfig"),
    "torchao, int8 weights and activations": lambda: by_torchao("Int8DynamicActivationInt8WeightConfig"),
}


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], help="others stay in the record")
    given = parsed(options)
    ids = windows()
    inputs: dict[str, Any] = {**cpg_islands_chrx()}
    pairs = load_dart("regulatory_elements", split="test", **inputs)
    sequences, record_of = snvs(ids)
    path = RESULTS / "quantisation.json"
    exact: Any = None
    for name in ["float32", *(way for way in given.ways if way != "float32")]:
        model = WAYS[name]()
        begun = time.process_time()
        found: dict[str, Any] = {"perplexity": perplexity(model, ids)}
        found["cpu_s"] = time.process_time() - begun
        scorer = load_scorer(model=model, tokenizer=HyenaDNATokenizer(model_max_length=WINDOW + 2), kind="causal")
        area = element_auroc(scorer, pairs)
        scores = VariantScorer(scorer, variant_recipe("whole-alleles"), 16)(sequences, record_of).score
        exact = exact or (area, scores, found["cpu_s"])
        found["cpu_beside_float32"] = found["cpu_s"] / exact[2]
        found |= {"auroc": with_interval(area), "auroc_difference": with_interval(difference(area, exact[0]))}
        found["snvs"] = {
            "n": len(scores),
            "spearman": float(spearmanr(scores, exact[1]).statistic),
            "median_away": float(np.median(np.abs(scores - exact[1]))),
            "median_size": float(np.median(np.abs(exact[1]))),
        }
        there = json.loads(path.read_text()).get("ways", {}) if path.exists() else {}
        found_by = there | {name: found}
        packages = {package: version(package) for package in ("bitsandbytes", "torchao")}
        record = about("quantisation") | {
            "bases": ids.numel(),
            "packages": packages,
            "ways": {way: found_by[way] for way in WAYS if way in found_by},
        }
        write_text(path, json.dumps(record, indent=2) + "\n")
        print(name, json.dumps(found), flush=True)
