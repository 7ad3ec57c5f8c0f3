"""How often intervals hold the true value, and how often tests reject what is true, on simulated rows.

    python benchmarks/coverage.py [--sets 2000] [--only NAME ...]

Rows that benchmarks/results/coverage.json has of as many sets are kept, each with the commit that it was made by;
delete those that are to be made again. A run that was stopped goes on where it was.

Rows lie in blocks, of equal or of lognormal sizes (sigma 1), and those of one block are correlated by rho: each is
sqrt(rho) times a normal of its block plus sqrt(1 - rho) times one of its own. The goal is a coverage of 93 to 97 % by
95 % intervals, and rejections of 4 to 6 % at 0.05. What is beyond is marked.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from record import RESULTS, about, parsed, parser
from scipy import stats
from sklearn.metrics import adjusted_mutual_info_score

from datasets_dart.files import write_text
from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.metrics import MotifMetrics, motif_estimates
from evaluation_dart.statistics.scores import average_precision

MOST_ROWS = 400_000  # from which a true value is computed where there is no formula
SEEDS, LABELS, MOTIFS = 5, 11, 30  # of clusterings and models; of a median over labels; of a mean over motifs


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


def pairs(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of elements and of their shuffles, alike by half within a pair."""
    shared = normals(code, rho, rng)
    element, shuffle = (np.sqrt(0.5) * (shared + normals(code, rho, rng)) for _ in range(2))
    return element + 0.8, shuffle - 0.8


def two_models(draw: Draw, other: float) -> Draw:
    """Columns of a draw, and those of a second model, whose scores are the first's with noise and lower by `other`."""

    def both(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one, two = draw(code, rho, rng)
        return one, np.sqrt(0.5) * (one + normals(code, rho, rng)) - other * two, two

    return both


def of_seeds(code: np.ndarray, rho: float, rng: np.random.Generator) -> np.ndarray:
    """(n, SEEDS): whether models of several seeds are right: the rows' ease, the seed's luck, and chance."""
    ease, luck = normals(code, rho, rng), 0.15 * rng.standard_normal(SEEDS)
    return np.asarray(ease[:, None] + luck + rng.standard_normal((len(code), SEEDS)) < 1.2)


def of_labels(code: np.ndarray, rho: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and 0/1 labels of `LABELS` labels, which are told from 0.5 to 1.5 standard deviations apart."""
    labels = rng.random((len(code), LABELS)) < 0.3
    columns = np.stack([normals(code, rho, rng) for _ in range(LABELS)], axis=1)
    return columns + labels * np.linspace(0.5, 1.5, LABELS), labels


def of_motifs(code: np.ndarray, rho: float, rng: np.random.Generator) -> np.ndarray:
    """(MOTIFS, backgrounds): how often motifs of several strengths win, with both strands, in each background."""
    backgrounds = int(code.max()) + 1
    shared = np.sqrt(rho) * rng.standard_normal(backgrounds)
    strength = np.linspace(-0.5, 1.5, MOTIFS)[:, None, None]
    own = np.sqrt(1 - rho) * rng.standard_normal((MOTIFS, backgrounds, 2))
    return np.asarray((shared[None, :, None] + own + strength > 0).mean(axis=2))


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
    return estimates.mutual_information(estimates.information_by_seed(label, clusters), label, clusters, blocks)


def of_quantile(q: float, values: np.ndarray, blocks: Blocks) -> estimates.Estimate:
    """Of the quantile q."""
    return estimates.quantile(values, q, blocks)


def of_confusion(name: str) -> Callable[[Any, Blocks], estimates.Estimate]:
    """Of F1 or Matthews' correlation of calls above half the shift."""

    def interval(drawn: tuple[np.ndarray, np.ndarray], blocks: Blocks) -> estimates.Estimate:
        score, positive = drawn
        return estimates.counted(name, (score > 0.5).astype(int), positive.astype(int), 2, blocks)

    return interval


def difference_of(kind: Callable[..., estimates.Estimate]) -> Callable[[Any, Blocks], estimates.Estimate]:
    """Of what the first of two models has more, from columns (first, second, labels)."""

    def estimate(drawn: tuple[np.ndarray, np.ndarray, np.ndarray], blocks: Blocks) -> estimates.Estimate:
        one, two, label = drawn
        return estimates.difference(kind(one, label, blocks), kind(two, label, blocks))

    return estimate


def right(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> estimates.Estimate:
    """Of the accuracy of calls above half the shift."""
    return estimates.proportion((score > 0.5) == positive, blocks)


def over_seeds(drawn: np.ndarray, blocks: Blocks) -> estimates.Estimate:
    """Of the mean accuracy of models of several seeds."""
    return estimates.mean_over_seeds([estimates.proportion(column, blocks) for column in drawn.T])


def over_motifs(wins: np.ndarray, blocks: Blocks) -> estimates.Estimate:
    """Of the mean accuracy over motifs; blocks are backgrounds."""
    shape = MOTIFS, wins.shape[1]
    found = MotifMetrics(np.arange(MOTIFS), wins.mean(axis=1), np.ones(MOTIFS), 2 * shape[1], wins)
    return motif_estimates(found)["accuracy"]


def paired_cases() -> Iterator[Case]:
    """Of pairs, of two models, of several seeds, labels and motifs."""
    yield Case("accuracy of 2 n sequences", pairs, stats.norm.cdf(0.8), lambda d, b: pair_accuracy(d, b, "accuracy"))
    wins = stats.norm.cdf(1.6)  # the shared half cancels
    yield Case("accuracy of n pairs", pairs, wins, lambda d, b: pair_accuracy(d, b, "accuracy_paired"))
    agree = 0.5 + np.arcsin(0.6) / np.pi
    yield Case("direction accuracy", correlated(0.6), agree, direction)
    draw = two_models(two_classes(0.5, 1), 0.3)
    shift = np.sqrt(0.5) - 0.3  # of the second model, whose scores have a variance of 1
    yield Case(
        "difference of two AUROC",
        draw,
        stats.norm.cdf(np.sqrt(0.5)) - stats.norm.cdf(shift / np.sqrt(2)),
        difference_of(estimates.auroc),
    )
    second = (stats.norm.cdf(shift - 0.5) + stats.norm.cdf(0.5)) / 2
    yield Case("difference of two accuracies", draw, stats.norm.cdf(0.5) - second, difference_of(right))
    same = two_models(correlated(0.6), 0.0)
    yield Case("difference of two Pearson", same, 0.6 - 0.6 * np.sqrt(0.5), difference_of(estimates.pearson))
    yield Case(
        "difference of two medians",
        two_models(correlated(0.0), 0.0),
        0.0,
        difference_of(lambda score, label, blocks: estimates.quantile(score, 0.5, blocks)),
    )
    luck = np.sqrt(2 + 0.15**2)
    yield Case(f"mean accuracy over {SEEDS} seeds", of_seeds, stats.norm.cdf(1.2 / luck), over_seeds)
    middle = stats.norm.cdf(1 / np.sqrt(2))
    yield Case(
        f"median AUROC over {LABELS} labels",
        of_labels,
        middle,
        lambda d, b: estimates.LabelAreas(d[0], d[1], b).median(range(LABELS)),
    )
    strength = np.linspace(-0.5, 1.5, MOTIFS)
    yield Case(f"mean accuracy over {MOTIFS} motifs", of_motifs, float(stats.norm.cdf(strength).mean()), over_motifs)


def pair_accuracy(drawn: tuple[np.ndarray, np.ndarray], blocks: Blocks, name: str) -> estimates.Estimate:
    """Of elements and their shuffles."""
    element, shuffle = drawn
    if name == "accuracy_paired":
        return estimates.proportion(element > shuffle, blocks)
    return estimates.proportion(np.concatenate([element > 0, shuffle <= 0]), blocks.twice())


def direction(drawn: tuple[np.ndarray, np.ndarray], blocks: Blocks) -> estimates.Estimate:
    """Of how often the signs of changes and effects agree."""
    return estimates.proportion(np.sign(drawn[0]) == np.sign(drawn[1]), blocks)


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
    yield from paired_cases()


TESTS: dict[str, tuple[Draw, Callable[[Any, Blocks], float]]] = {
    "sign flips of blocks": (normals, significance.sign_flip_p),
    "difference of two AUROC, p": (
        two_models(two_classes(0.5, 0), 0.0),
        lambda d, b: estimates.p_value(difference_of(estimates.auroc)(d, b)),
    ),
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


def commit() -> str:
    """That of the code that is run."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def kept_rows(path: Path, sets: int) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows that are there by what they are of."""
    rows = json.loads(path.read_text(encoding="utf-8"))["simulated"] if path.is_file() else []
    return {(row["what"], *(row[name] for name in Design._fields)): row for row in rows if row["sets"] == sets}


def main() -> None:
    """Simulate, and write benchmarks/results/coverage.json."""
    options = parser(__doc__)
    options.add_argument("--sets", type=int, default=2000)
    options.add_argument("--only", nargs="*", default=[""], help="texts: only rows with one of them in their name")
    given = parsed(options)
    path, code = RESULTS / "coverage.json", commit()
    rows = kept_rows(path, given.sets)
    offered = {case.name: case for case in cases()}
    names = [*offered, *TESTS]
    missing = [(name, design) for name in names for design in DESIGNS if (name, *design) not in rows]
    for name, design in missing:
        if not any(text in name for text in given.only):
            continue
        found = coverage(design, offered[name], given.sets) if name in offered else size(design, name, given.sets)
        rows[name, *design] = found | {"commit": code}
        print(rows[name, *design], flush=True)
        in_order = [rows[one, *of] for of in DESIGNS for one in names if (one, *of) in rows]
        write_text(path, json.dumps(about("coverage") | {"simulated": in_order}, indent=1) + "\n")


if __name__ == "__main__":
    main()
