"""recall-bench: cross-entropies of a repeated segment are those of the logits, by its adapter of HyenaDNA."""

from pathlib import Path

import numpy as np
import pysam
import pytest
import torch

from evaluation_dart import evaluate as evaluate_task

pytest.importorskip("recall_bench", reason="recall-bench is not installed")
from recall_bench.adapters import HyenaDNA
from recall_bench.copy_task import DNABackground, build_pair, segment_ce
from recall_bench.runner import evaluate


def test_sweep_and_cross_entropy(folder, model, sequences):
    entry = {"path": folder, "max_ctx": 130, "domain": "dna"}
    adapter = HyenaDNA("hyenadna", entry, "cpu", torch.float32)
    background = DNABackground.from_strings(["".join(sequences) * 4])
    options = {"seg": 16, "trials": 3, "ctx": 128, "background": background, "verbose": False}
    (row,) = evaluate(adapter, [16], **options)
    assert row["status"] == "ok"
    assert np.isfinite(row["copy_advantage"])
    rngs = np.random.default_rng(0), np.random.default_rng(1)
    ids, _, span, _ = build_pair(adapter, background, rngs[0], 128, 16, 16, "exact", 0.0, "native", rngs[1])
    with torch.no_grad():
        log_p = model(torch.as_tensor([ids])).logits[0].log_softmax(dim=-1)
    start = span if isinstance(span, int) else span[0]
    expected = -sum(float(log_p[place - 1, ids[place]]) for place in range(start, start + 16))
    assert segment_ce(adapter, ids, span) == pytest.approx(expected, abs=1e-3)


GENOME = Path(__file__).parents[1] / "fixtures" / "genome" / "genome.fa"
VARIANTS = {"exact": "exact", "mutated": "mutate", "inverted": "revcomp"}


@pytest.mark.parametrize("control", ["native", "foreign"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_task_has_its_numbers(variant, control, folder, tmp_path):
    """Copy advantages and intervals of `long_range_recall` are those of recall-bench on the same blocks."""
    with pysam.FastaFile(str(GENOME)) as fasta:
        background = DNABackground.from_strings([fasta.fetch("chr5"), fasta.fetch("chr10")])
    adapter = HyenaDNA("hyenadna", {"path": folder, "max_ctx": 130, "domain": "dna"}, "cpu", torch.float32)
    options = {"variant": VARIANTS[variant], "mut_rate": 0.1, "control": control, "background": background}
    rows = evaluate(adapter, [8, 24], seg=16, trials=5, ctx=128, verbose=False, **options)
    record = evaluate_task(
        folder,
        "long_range_recall",
        f"{variant}_repeat" + ("_foreign_control" if control == "foreign" else ""),
        genome=GENOME,
        distances=[8, 24],
        segment=16,
        trials=5,
        context=128,
        mutation_rate=0.1,
        protocol="paper",
        output=tmp_path / "results",
        cache_dir=tmp_path / "cache",
    )
    for row in rows:
        found = record.metrics[f"copy_advantage_{row['dist']}"]
        assert (found.value, found.low, found.high) == pytest.approx(
            (row["copy_advantage"], row["ci_lo"], row["ci_hi"]), abs=2e-6
        )
