"""Rows that begin alike, each read from where it differs, beside every row read whole.

    python benchmarks/score_variants.py [--threads 1] [--device cuda] [--rounds 3]

From sequences to scores in one process, in turns, in seconds of CPU of the process (of a GPU, seconds): alleles of
variants in the middle of random windows, every substitution of a window, and the rows of tasks 2 and 5 as `dart-eval
run` scores them. Models have the shapes of released ones and random weights; the other one is the same network under a
class that reads whole rows. Of recipes that mask, the other is a pass over each alternative allele's window to its end.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from datasets import Dataset
from record import Row, Work, medians, milliseconds, parsed, parser, row, write

from datasets_dart.motif_footprinting import trial_names, trials
from evaluation_dart import TASKS
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.recipes import RECIPES, variant_recipe
from evaluation_dart.scoring.alleles import VariantScorer
from evaluation_dart.scoring.embeddings import EmbeddingRecipe
from evaluation_dart.tasks import Job
from evaluation_dart.tools.mutagenesis import likelihood_changes
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

SHAPES = {"tiny-1k": (128, 2, 1026, 1024), "small-32k": (256, 4, 32_770, 8_192)}
RECORDS = {"tiny-1k": 8, "small-32k": 2}
ALTERNATIVES = {
    "SNVs of one alternative allele": ["C"],
    "SNVs of three": ["C", "G", "T"],
    "deletions of 3 bp": ["deletion"],
}
HOW = (
    ("whole-alleles", "forward"),
    ("whole-alleles", "reverse"),
    ("embedding-cosine", "forward"),
    ("dart-eval", "forward"),
)
STRETCH = 4  # bases of a long window that are mutated, at each of four places, in place of all
MOTIFS, BACKGROUND = 31, 350  # of task 2


class ReadWhole(HyenaDNAForCausalLM):
    """The same model, of which every row is read whole."""

    read_alike = None  # type: ignore[assignment]


def models(name: str, device: str) -> tuple[LanguageModel, LanguageModel]:
    """A model of a released shape with random weights, and the same that reads every row whole."""
    width, layers, tokens, _ = SHAPES[name]
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=width, n_layer=layers, max_seq_len=tokens, emb_dim=5, activation_freq=10)
    network, whole = (kind(config).to(device) for kind in (HyenaDNAForCausalLM, ReadWhole))  # type: ignore[arg-type]
    whole.load_state_dict(network.state_dict())
    ours, theirs = (LanguageModel(own, HyenaDNATokenizer(), "causal", name, "random") for own in (network, whole))
    return ours, theirs


def random_bases(length: int, rng: np.random.Generator) -> str:
    """Of A, C, G and T."""
    return "".join(rng.choice(list("ACGT"), length))


def windows(records: int, length: int, alternatives: list[str]) -> tuple[list[str], np.ndarray]:
    """Sequences of REF (A) and its alternatives, and of which record each is."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(records):
        left, right = (random_bases(length // 2, rng) for _ in range(2))
        for allele in ["A", *alternatives]:
            rest = right[3:] + "ACG" if allele == "deletion" else right
            sequences.append((left + ("A" if allele == "deletion" else allele) + rest)[:length])
    return sequences, np.repeat(np.arange(records), 1 + len(alternatives))


@torch.inference_mode()
def scores_to_the_end(scorer: LanguageModel, sequences: list[str], record: np.ndarray) -> np.ndarray:
    """Masked alleles, each window of an alternative allele read to its end."""
    first = np.searchsorted(record, record)
    kept = np.flatnonzero(first != np.arange(len(record)))
    size, found = VariantScorer(scorer, variant_recipe("dart-eval")).batch_size, []
    for rows in np.array_split(kept, -(-len(kept) // size)):
        one, two = (scorer.encode([sequences[r] for r in own])[0]["input_ids"] for own in (first[rows], rows))
        masked = one.masked_fill(one != two, scorer.tokenizer.mask_token_id)
        with scorer.passing(*one.shape):
            log_p = scorer.model(input_ids=masked).logits[:, :-1].float().log_softmax(-1)
        sums = [log_p.gather(-1, own[:, 1:, None]).double().sum(dim=(1, 2)) for own in (one, two)]
        found.append((sums[1] - sums[0]).cpu().numpy())
    return np.concatenate(found)


def compared(
    what: str, unit: str, count: int, ours: Work, theirs: Work, rounds: int, clock: Callable[[Work], float]
) -> Row:
    """`count` of something by both, which are seen to agree in the first round."""
    found: dict[str, np.ndarray] = {}

    def kept(peer: str, work: Work) -> None:
        found[peer] = np.asarray(work())

    peers: dict[str, Work] = {"ours": partial(kept, "ours", ours), "theirs": partial(kept, "theirs", theirs)}
    times = medians(peers, rounds, clock, warm_up=0)
    assert np.abs(found["ours"] - found["theirs"]).max() <= 1e-2, what
    fast, slow = (1000 * count / times[peer] for peer in ("ours", "theirs"))
    measured = row(f"{unit}, {what}", fast, "every row read whole", slow, "a second", higher=True)
    print(f"{fast / slow:.3f} {measured['what']}", flush=True)
    return measured


def allele_scores(scorer: VariantScorer, sequences: list[str], record: np.ndarray) -> np.ndarray:
    """The scores themselves."""
    return scorer(sequences, record).score


def variants(pair: Sequence[LanguageModel], name: str, many: int, measure: Callable[..., Row]) -> list[Row]:
    """Alleles in the middle of their windows."""
    rows, length = [], SHAPES[name][-1]
    for what, alternatives in ALTERNATIVES.items():
        sequences, record = windows(RECORDS[name] * many, length, alternatives)
        count = len(sequences) - int(record[-1]) - 1
        for recipe, strand in HOW if length <= 1024 else HOW[:1]:  # of long windows those that take minutes once
            if recipe == "dart-eval" and "deletion" in alternatives:
                continue
            works: list[Work] = [
                partial(allele_scores, VariantScorer(own, variant_recipe(recipe, strand)), sequences, record)
                for own in pair
            ]
            if recipe == "dart-eval":
                works[1] = partial(scores_to_the_end, pair[1], sequences, record)
            turned = ", reverse strand" if strand == "reverse" else ""
            rows.append(measure(f"{what}, {name}, {length:,} bp, recipe {recipe}{turned}", "alleles", count, *works))
    return rows


def substitutions(pair: Sequence[LanguageModel], name: str, measure: Callable[..., Row]) -> Row:
    """Every substitution of a window, or of a long one every substitution of a few stretches."""
    length = SHAPES[name][-1]
    sequence = random_bases(length, np.random.default_rng(1))
    places = [(0, length)]
    if length > 1024:
        places = [(length * eighth // 8, length * eighth // 8 + STRETCH) for eighth in (1, 3, 5, 7)]
    count = 3 * sum(end - start for start, end in places)

    def work(scorer: LanguageModel) -> np.ndarray:
        recipe = RECIPES["whole-alleles"]
        return np.concatenate([likelihood_changes(scorer, sequence, *own, recipe, "auto") for own in places])

    what = f"{name}, {length:,} bp, " + ("all" if len(places) == 1 else f"{count} at four places")
    return measure(what, "substitutions", count, *(partial(work, own) for own in pair))


def motif_rows() -> Dataset:
    """Rows of task 2: motifs of 8 to 19 bp and their shuffles in a background, on both strands."""
    rng = np.random.default_rng(2)
    motifs = [random_bases(int(rng.integers(8, 20)), rng) for _ in range(MOTIFS)]
    shuffled = ["".join(rng.permutation([*own])) for own in motifs]
    background = np.frombuffer(random_bases(BACKGROUND, rng).encode(), dtype=np.uint8)
    names = trial_names(0, [f"m{number}" for number in range(MOTIFS)])
    columns = {name: [getattr(own, name) for own in names] for name in ("background", "motif", "strand", "kind")}
    sequences = [own.tobytes().decode() for own in trials(background, motifs, shuffled)]
    return Dataset.from_dict(columns | {"id": [*range(len(names))], "sequence": sequences})


def variant_rows() -> Dataset:
    """Rows of task 5: SNVs in the middle of 1,024 bp."""
    sequences, _ = windows(32, 1024, ["C"])
    columns = {"sequence1": sequences[::2], "sequence2": sequences[1::2]}
    others = ("id", "chrom", "position", "label", "effect", "used", "effect_allele")
    return Dataset.from_dict(columns | dict.fromkeys(others, [0] * 32))


def task_scores(scorer: LanguageModel, task: str, setting: str, dataset: Dataset, job: Job) -> np.ndarray:
    """The last column that a task has of its rows."""
    own = TASKS[task].settings[setting]
    score = own.score(scorer, dataset, job)
    return np.concatenate(
        [score(range(at, min(at + 64, len(dataset))))[own.columns[-1]] for at in range(0, len(dataset), 64)]
    )


def tasks(pair: Sequence[LanguageModel], measure: Callable[..., Row]) -> list[Row]:
    """Rows of tasks 2 and 5 as `dart-eval run` scores them, by likelihood and embedding."""
    rows, mean = [], EmbeddingRecipe("mean-pooled", "mean")
    for task, dataset, likelihood in (
        ("motif_footprinting", motif_rows(), RECIPES["dart-eval"]),
        ("variant_effects", variant_rows(), RECIPES["whole-alleles"]),
    ):
        for setting, how in (("zero_shot_likelihood", likelihood), ("zero_shot_embedding", mean)):
            works = [partial(task_scores, own, task, setting, dataset, Job(how)) for own in pair]
            what = f"task {TASKS[task].number}, {setting}, recipe {how.name}, tiny-1k"
            rows.append(measure(what, "rows", len(dataset), *works))
    return rows


def cpu_milliseconds(work: Work) -> float:
    """CPU time of one call, of all threads."""
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun)


if __name__ == "__main__":
    options = parser(__doc__)
    options.set_defaults(threads=1)
    options.add_argument("--device", default="cpu")
    options.add_argument("--rounds", type=int, default=3)
    given = parsed(options)
    gpu = torch.cuda.get_device_name() if given.device.startswith("cuda") else None
    measure = partial(compared, rounds=given.rounds, clock=milliseconds if gpu else cpu_milliseconds)
    rows: list[Row] = []
    for name in SHAPES:
        pair = models(name, given.device)
        rows += variants(pair, name, 16 if gpu else 1, measure)
        if name == "tiny-1k":
            rows += tasks(pair, measure)
        write("score_variants_gpu" if gpu else "score_variants", rows, gpu)
        rows.append(substitutions(pair, name, measure))
        write("score_variants_gpu" if gpu else "score_variants", rows, gpu)
