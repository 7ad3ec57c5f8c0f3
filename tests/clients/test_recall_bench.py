"""recall-bench: cross-entropies of a repeated segment are those of the logits, by its adapter of HyenaDNA."""

import numpy as np
import pytest
import torch

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
