"""Where the time of `hyenadna score` goes: all of it from the first window to the last score, beside the model's own.

    python benchmarks/scoring_profile.py [--variants 1024] [--threads 1]

SNVs in a random genome, by the demo model and windows of 1,024 bp, whole alleles. The model's own time is that between
the beginning and the end of its forward passes; the rest is what records, windows, tokens, batches and scores take in
the same thread, while the next records and windows are read in another. The call also reads the VCF once before, and
writes, sorts and indexes the output. Seconds of the wall clock.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import parsed, parser, row, write
from scaling_inputs import HEADER, LETTERS

from evaluation_dart import load_scorer
from evaluation_dart.tools.variants import score_variants

MODEL = Path(__file__).parents[1] / "model_cards" / "hyenadna-tiny-1k-demo"
LENGTH = 200_000


class Clock:
    """Seconds within the forward passes of a model, and those from its first pass on to the last."""

    def __init__(self, model: Any):
        self.inside, self.first, self.last = 0.0, 0.0, 0.0
        model.register_forward_pre_hook(self.begin)
        model.register_forward_hook(self.end)

    def begin(self, *_: Any) -> None:
        """A pass begins."""
        self.begun = time.perf_counter()
        self.first = self.first or self.begun

    def end(self, *_: Any) -> None:
        """A pass ends."""
        self.last = time.perf_counter()
        self.inside += self.last - self.begun


if __name__ == "__main__":
    options = parser(__doc__)
    options.set_defaults(threads=1)
    options.add_argument("--variants", type=int, default=1024)
    given = parsed(options)
    rng = np.random.default_rng(0)
    bases = LETTERS[rng.integers(4, size=LENGTH)].tobytes().decode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = "\n".join(bases[start : start + 80] for start in range(0, LENGTH, 80))
        (folder / "genome.fa").write_text(f">chr1\n{lines}\n")
        places = np.sort(rng.choice(np.arange(1000, LENGTH - 1000), given.variants, replace=False)).tolist()
        turned = dict(zip("ACGT", "CGTA", strict=True))
        rows = (f"chr1\t{at + 1}\t.\t{bases[at]}\t{turned[bases[at]]}\t.\t.\t.\n" for at in places)
        (folder / "variants.vcf").write_text(HEADER + "".join(rows))
        scorer = load_scorer(str(MODEL), device="cpu")
        scorer.log_likelihood(["ACGT" * 256] * 2)
        clock = Clock(scorer.model)
        begun = time.perf_counter()
        score_variants(folder / "variants.vcf", folder / "genome.fa", scorer, output=folder / "scores.tsv")
        called = time.perf_counter() - begun
    whole, what = clock.last - clock.first, f"{given.variants:,} SNVs, demo model, 1,024 bp, whole alleles"
    write(
        "scoring_profile", [row(f"from the first pass to the last, {what}", whole, "in the model", clock.inside, "s")]
    )
