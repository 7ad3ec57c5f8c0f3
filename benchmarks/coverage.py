"""How often intervals hold the true value, and how often tests reject what is true, on simulated rows.

    python benchmarks/coverage.py [--sets 2000]

Rows lie in blocks, of equal or of lognormal sizes (sigma 1), and those of one block are correlated by rho: each is
sqrt(rho) times a normal of its block plus sqrt(1 - rho) times one of its own. The goal is a coverage of 93 to 97 % by
95 % intervals, and rejections of 4 to 6 % at 0.05. What is beyond is marked.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from record import RESULTS, about, parsed, parser
from scipy import stats
from sklearn.metrics import adjusted_mutual_info_score

from datasets_dart.files import write_text
from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.scores import average_precision

MOST_ROWS = 400_000  # from which a true value is computed where there is no formula
SEEDS = 5  # of the clusterings


class Design(NamedTuple):
    """Rows, blocks, the correlation within a block, and sigma of the blocks' lognormal sizes (0: equal)."""

    n: int
    blocks: int
    rho: float
    sigma: float


DESIGNS = [
    Design(1000, 10, 0.2, 0),
    Design(1000, 10, 0.2, 1),
    Design(1000, 30, 0.2, 0),
    Design(1000, 30, 0.3, 0),
    Design(1000, 30, 0.3, 1),
    Design(1000, 100, 0.2, 1),
    Design(1000, 1000, 0, 0),
    Design(100, 10, 0, 0),
    Design(200, 20, 0.2, 1),
    Design(5000, 200, 0.3, 1),
]
Draw = Callable[[np.ndarray, float, np.random.Generator], Any]


class Case(NamedTuple):
    """What is estimated or tested: how rows are drawn, the truth, and the interval or p-value of a draw."""

    name: str
    draw: Draw
    truth: float
    estimate: Callable[[Any, Blocks], estimates.Estimate]


def block_codes(design: Design, rng: np.random.Generator) -> np.ndarray:
    """(n,) number of each row's block."""
    weight = np.exp(design.sigma * rng.standard_normal(design.blocks))
    rest = rng.multinomial(design.n - design.blocks, weight / weight.sum())
    even = design.n // design.blocks + (np.arange(design.blocks) < design.n % design.blocks)
    return np.repeat(np.arange(design.blocks), even if design.sigma == 0 else 1 + rest)


def normals(code: np.ndarray, rho: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) standard normal values, correlated by rho within a block."""
    shared = rng.standard_normal(int(code.max()) + 1)[code]
    return np.asarray(np.sqrt(rho) * shared + np.sqrt(1 - rho) * rng.standard_normal(len(code)))


def below(threshold: float) -> Draw:
    """Whether a normal is below a threshold."""
    return lambda code, rho, rng: normals(code, rho, rng) < threshold


def two_classes(share: float, shift: float) -> Draw:
    """Scores of two classes, the positive one higher by `shift`, and which rows are positive."""

    def draw(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        positive = rng.random(len(code)) < share
        return normals(code, rho, rng) + shift * positive, positive

    return draw


def correlated(r: float) -> Draw:
    """Two columns of correlation r."""

    def draw(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        one = normals(code, rho, rng)
        return one, r * one + np.sqrt(1 - r * r) * normals(code, rho, rng)

    return draw


def clusterings(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, and `SEEDS` clusterings that follow them with noise."""
    value = normals(code, rho, rng)
    noisy = value[:, None] + 0.8 * rng.standard_normal((len(code), SEEDS))
    return np.digitize(value, [-0.43, 0.43]), np.digitize(noisy, [-0.55, 0.55])


def true_average_precision(share: float, shift: float) -> float:
    """From many independent rows."""
    code = np.arange(MOST_ROWS)
    return average_precision(*two_classes(share, shift)(code, 0, np.random.default_rng(0)))


def true_information() -> float:
    """Mutual information of classes and one clustering, adjusted, from many independent rows."""
    label, clusters = clusterings(np.arange(MOST_ROWS), 0, np.random.default_rng(0))
    return float(adjusted_mutual_info_score(label, clusters[:, 0]))


def mean_information(drawn: tuple[np.ndarray, np.ndarray], blocks: Blocks) -> estimates.Estimate:
    """Of the mean over clusterings."""
    label, clusters = drawn
    by_seed = np.array([adjusted_mutual_info_score(label, column) for column in clusters.T])
    return estimates.mutual_information(by_seed, label, clusters, blocks)


def of_quantile(q: float, values: np.ndarray, blocks: Blocks) -> estimates.Estimate:
    """Of the quantile q."""
    return estimates.quantile(values, q, blocks)


def of_confusion(name: str) -> Callable[[Any, Blocks], estimates.Estimate]:
    """Of F1 or Matthews' correlation of calls above half the shift."""

    def interval(drawn: tuple[np.ndarray, np.ndarray], blocks: Blocks) -> estimates.Estimate:
        score, positive = drawn
        return estimates.counted(name, (score > 0.5).astype(int), positive.astype(int), 2, blocks)

    return interval


def cases() -> Iterator[Case]:
    """All intervals that are offered."""
    for share in (0.5, 0.93, 0.98):
        yield Case(f"proportion, {share}", below(stats.norm.ppf(share)), share, estimates.proportion)
    yield Case("mean", normals, 0, estimates.mean)
    for q in (0.05, 0.25, 0.5):
        yield Case(f"quantile, {q}", normals, stats.norm.ppf(q), partial(of_quantile, q))
    for share in (0.5, 0.1):
        draw = two_classes(share, 1)
        yield Case(
            f"AUROC, positives {share}",
            draw,
            stats.norm.cdf(1 / np.sqrt(2)),
            lambda d, b: estimates.auroc(d[0], d[1], b),
        )
        yield Case(
            f"average precision, positives {share}",
            draw,
            true_average_precision(share, 1),
            lambda d, b: estimates.average_precision(d[0], d[1], b),
        )
        right = stats.norm.cdf(0.5)  # of either class
        f1 = 2 * share * right / (share * right + (1 - share) * (1 - right) + share)
        called = share * right + (1 - share) * (1 - right)
        mcc = (share * right - share * called) / np.sqrt(share * (1 - share) * called * (1 - called))
        yield Case(f"F1, positives {share}", draw, f1, of_confusion("f1"))
        yield Case(f"Matthews' correlation, positives {share}", draw, mcc, of_confusion("mcc"))
    for r in (0.0, 0.6):
        yield Case(f"Pearson, {r}", correlated(r), r, lambda d, b: estimates.pearson(d[0], d[1], b))
        rank = 6 / np.pi * np.arcsin(r / 2)
        yield Case(f"Spearman, {r}", correlated(r), rank, lambda d, b: estimates.spearman(d[0], d[1], b))
    yield Case(f"adjusted mutual information, {SEEDS} seeds", clusterings, true_information(), mean_information)


TESTS: dict[str, tuple[Draw, Callable[[Any, Blocks], float]]] = {
    "sign flips of blocks": (normals, significance.sign_flip_p),
    "Mann-Whitney by blocks": (
        two_classes(0.3, 0),
        lambda d, b: estimates.p_value(estimates.auroc(d[0], d[1], b), 0.5, False),
    ),
}


def draws(design: Design, draw: Draw, sets: int) -> Iterator[tuple[Any, Blocks]]:
    """`sets` draws, each with its blocks."""
    rng = np.random.default_rng(1)
    for _ in range(sets):
        code = block_codes(design, rng)
        yield draw(code, design.rho, rng), Blocks(code, "blocks")


def coverage(design: Design, case: Case, sets: int) -> dict[str, Any]:
    """Share of the intervals that hold the truth, and of the sets that have none."""
    found = [estimates.interval(case.estimate(*one)) for one in draws(design, case.draw, sets)]
    given = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    held = sum(low <= case.truth <= high for low, high in given)
    return {
        "what": case.name,
        **design._asdict(),
        "sets": sets,
        "without": sets - len(given),
        "coverage": float(held / len(given)) if given else None,
        "width": float(np.mean([high - low for low, high in given])) if given else None,
    }


def size(design: Design, name: str, sets: int) -> dict[str, Any]:
    """Share of the sets without a difference that a test rejects at 0.05."""
    draw, test = TESTS[name]
    rejected = sum(test(*one) < 0.05 for one in draws(design, draw, sets))
    return {"what": name, **design._asdict(), "sets": sets, "rejected": rejected / sets}


def main() -> None:
    """Simulate, and write benchmarks/results/coverage.json."""
    options = parser(__doc__)
    options.add_argument("--sets", type=int, default=2000)
    sets = parsed(options).sets
    offered = list(cases())
    rows = []
    for design in DESIGNS:
        for case in offered:
            rows.append(coverage(design, case, sets))
            print(rows[-1], flush=True)
        for name in TESTS:
            rows.append(size(design, name, sets))
            print(rows[-1], flush=True)
    write_text(RESULTS / "coverage.json", json.dumps(about("coverage") | {"simulated": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
