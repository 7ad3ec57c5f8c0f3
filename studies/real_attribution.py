"""What a model fine-tuned on CTCF peaks reads in held-out peaks, beside the JASPAR motif (docs/mutagenesis.md).

500 peaks of GM12878 (200 bp) against their dinucleotide shuffles, split by DART-Eval's chromosomes. Path attributions
of the fine-tuned model, and mutagenesis by the likelihood of the model it started from, of every held-out peak and of
shuffles of some; mutagenesis of the fine-tuned head, which takes longest, of the first peaks.

    python -m studies.real_attribution --data real-data --output results/attribution
"""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pyarrow.parquet as pq
import torch
import typer

from datasets_dart import alphabet
from datasets_dart.files import numbered_lines, replacing
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.report.logo import Panel, draw_logos
from evaluation_dart.scoring.heads import head_scorer
from evaluation_dart.statistics.blocks import column_blocks, genome_blocks
from evaluation_dart.statistics.estimates import mean, metric, proportion
from evaluation_dart.statistics.metric import Metric
from evaluation_dart.statistics.scores import auroc
from evaluation_dart.tools.attribution import OneHotModel, path_rule
from evaluation_dart.tools.mutagenesis import changes, importance, likelihood_changes
from evaluation_dart.tools.own_data import ABOUT, make_dataset
from evaluation_dart.tools.own_model import train_own_model
from evaluation_dart.training.finetuning import load_classifier
from evaluation_dart.training.recipe import SupervisedTraining
from studies.pages import read_json, write_json
from studies.real_inputs import DEMO
from trainer_scripts.messages import run_function

PEAKS, MOTIFS = "benchmarks/gm12878_ctcf_top500.200bp.fa.gz", "motifs/JASPAR2022_vertebrates.pfm.gz"
MOTIF = "MA0139.1"
HIT_P, SEQLET_P = 1e-4, 0.01
RATIO, EPOCHS, LEARNING_RATE = 2, 10, 6e-4
CONTROLS, MUTATED = 40, 24  # shuffles that are also attributed; peaks on which the head is mutated
SHUFFLES, STEPS = 2, 16  # of path attributions: references of a sequence, nodes of a path
RECORD, FIGURE = "ctcf.json", "ctcf.png"
PATH, MUTAGENESIS = "path attributions of the fine-tuned head", "mutagenesis of the fine-tuned head"
LIKELIHOOD = "likelihoods of the model before fine-tuning"


def real_attribution(
    data: Annotated[Path, typer.Option(help="folder with benchmarks/ and motifs/")],
    output: Annotated[Path, typer.Option(help="folder of rows, model and record")] = Path("results/attribution"),
    record: Annotated[Path | None, typer.Option(help="folder to copy record and figure to")] = None,
    only: Annotated[str, typer.Option(help="attribute by the methods with this in their name, and stop")] = "",
) -> None:
    """Fine-tune, attribute and compare; rows, model and attributions that are already there are kept.

    python -m studies.real_attribution --data real-data --record docs/records/attribution
    """
    rows, model = output / "rows", output / "hyenadna-tiny-1k-ctcf"
    if not (rows / ABOUT).exists():
        make_dataset(rows, positives=data / PEAKS, ratio=RATIO)
    if not (model / "results.json").exists():
        training = SupervisedTraining(
            method="full",
            num_train_epochs=EPOCHS,
            batch_size=32,
            per_device_train_batch_size=32,
            learning_rate=LEARNING_RATE,
            reverse_complement=True,
        )
        train_own_model(rows, DEMO, model, training)
    test = pq.read_table(rows / "test.parquet").to_pydict()
    test = {name: np.array(column) for name, column in test.items()}
    of_peaks = test["label"] == 1
    peaks = test["sequence"][of_peaks].tolist()
    shuffles = test["sequence"][~of_peaks].tolist()[: len(peaks)]  # the first shuffle of each
    where = test["chrom"][of_peaks], test["start"][of_peaks]
    classifier, language_model = load_classifier(model, None), load_language_model(DEMO)
    methods: list[tuple[str, Callable[[list[str]], np.ndarray], int, int]] = [
        (PATH, partial(path_importance, classifier), len(peaks), CONTROLS),
        (LIKELIHOOD, partial(likelihood_importance, language_model), len(peaks), CONTROLS),
        (MUTAGENESIS, partial(head_importance, classifier), MUTATED, 0),
    ]
    attributions = {
        name: kept(output / f"{name.replace(' ', '_')}.npz", method, peaks[:first], shuffles[:controls])
        for name, method, first, controls in methods
        if only in name
    }
    if only:
        return
    motifs = read_pfm(data / MOTIFS)
    motif = motifs[motif_name(motifs)]
    hits = best_hits(peaks, motifs)
    found: dict[str, Any] = {}
    means: dict[str, np.ndarray] = {}
    for name, own in attributions.items():
        here = {row: hit for row, hit in hits.items() if row < len(own[0])}
        found[name] = {"peaks": len(own[0])} | beside_hits(own[0], here, motif, where)
        for kind, values, strings in zip(("peaks", "shuffles"), own, (peaks, shuffles), strict=False):
            found[name][f"seqlets of {kind}"] = seqlet_matches(values, one_hot(strings[: len(values)]), motifs)
        means[name] = aligned_mean(own[0], here, motif.shape[1])
    pairs = zip(attributions[PATH][0], attributions[MUTAGENESIS][0], strict=False)
    agreement = np.array([np.corrcoef(one.sum(axis=0), two.sum(axis=0))[0, 1] for one, two in pairs])
    trained = read_json(model / "results.json")
    result = {
        "data": {"peaks": len(peaks), "with a motif hit": len(hits), "motif": motif_name(motifs), "hit p below": HIT_P},
        "model": trained["model"],
        "training": trained["recipe"] | trained["training"],
        "metrics": of_peaks_only(trained["metrics"]),
        "metrics of 5-mers": of_peaks_only(trained["baselines"]["5-mers"]),
        "marginal effect": marginal_effect(classifier, shuffles, consensus(motif), where),
        "attributions": found,
        "correlation of path attributions and mutagenesis": mean_metric(agreement, *where),
    }
    for folder in filter(None, (output, record)):
        write_json(folder / RECORD, result)
        figure(folder / FIGURE, means, motif)
    typer.echo(f"{output / RECORD}")


def of_peaks_only(metrics: dict[str, Any]) -> dict[str, Any]:
    """A record's metrics without those of the negative class."""
    return {name: value for name, value in metrics.items() if not name.endswith("_negative")}


def kept(path: Path, method: Callable[[list[str]], np.ndarray], *groups: list[str]) -> list[np.ndarray]:
    """Attributions (n, 4, L) of each group of sequences that is not empty, from a file if it is there."""
    if not path.exists():
        found = [method(sequences) for sequences in groups if sequences]
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, *found)
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def read_pfm(path: Path) -> dict[str, np.ndarray]:
    """Motifs of a text of counts, one position a line: name -> (4, width) probabilities."""
    motifs: dict[str, list[list[float]]] = {}
    for line in (text.decode().strip() for _, text in numbered_lines(path)):
        if line.startswith(">"):
            rows = motifs.setdefault(line[1:], [])
        elif line and not line.startswith("#"):
            rows.append([float(count) for count in line.split()])
    return {name: (np.array(rows) / np.sum(rows, axis=1, keepdims=True)).T for name, rows in motifs.items()}


def motif_name(motifs: dict[str, np.ndarray]) -> str:
    """The name of the one version of MOTIF that there is."""
    return next(name for name in motifs if name.startswith(MOTIF))


def consensus(motif: np.ndarray) -> str:
    """The likeliest base at each position of a (4, width) motif."""
    return "".join("ACGT"[base] for base in motif.argmax(axis=0))


def one_hot(sequences: list[str]) -> np.ndarray:
    """(n, 4, L) float64."""
    codes = np.array([*map(alphabet.encode_bases, sequences)])
    return alphabet.one_hot(codes).transpose(0, 2, 1).astype(float)


def best_hits(sequences: list[str], motifs: dict[str, np.ndarray]) -> dict[int, tuple[int, int, str]]:
    """Start, end and strand of the best match of the motif in each sequence that has one."""
    from memelite import fimo

    name = motif_name(motifs)
    table = fimo({name: motifs[name]}, one_hot(sequences).astype(np.int8), threshold=HIT_P)[0]
    best = table.sort_values("p-value").drop_duplicates("sequence_name")
    columns = best[["sequence_name", "start", "end", "strand"]]
    return {int(row): (int(start), int(end), strand) for row, start, end, strand in columns.itertuples(index=False)}


def head_importance(model: LanguageModel, sequences: list[str]) -> np.ndarray:
    """(n, 4, L) by mutagenesis of a classifier's head: zero except at the base of the sequence."""
    score = head_scorer(model, alike=True)
    return np.stack([importance(changes(score, own, 0, len(own)), own).T for own in sequences])


def path_importance(model: LanguageModel, sequences: list[str]) -> np.ndarray:
    """(n, 4, L) by path attributions of a classifier's head."""
    from tangermeme.deep_lift_shap import deep_lift_shap

    attributions = deep_lift_shap(
        OneHotModel(model),
        torch.from_numpy(one_hot(sequences)).float(),
        additional_nonlinear_ops=path_rule(STEPS),
        n_shuffles=SHUFFLES,
        batch_size=SHUFFLES,
        random_state=0,
        warning_threshold=1.0,
    )
    return cast(np.ndarray, attributions.double().numpy())


def likelihood_importance(model: LanguageModel, sequences: list[str]) -> np.ndarray:
    """(n, 4, L) by mutagenesis of the sequence's likelihood."""
    recipe = RECIPES["dart-eval-both-strands"]
    return np.stack([importance(likelihood_changes(model, own, 0, len(own), recipe), own).T for own in sequences])


def beside_hits(
    attributions: np.ndarray,
    hits: dict[int, tuple[int, int, str]],
    motif: np.ndarray,
    where: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Attributions (n, 4, L) inside and outside the motif's best hits, and position by position of the motif."""
    rows, positions = sorted(hits), np.arange(attributions.shape[2])
    scores = []
    for row in rows:
        start, end, _ = hits[row]
        scores.append(auroc(attributions[row].sum(axis=0), (start <= positions) & (positions < end)))
    profile = aligned_mean(attributions, hits, motif.shape[1]).sum(axis=0)
    return {
        "auroc of importance inside the hit": mean_metric(np.array(scores), where[0][rows], where[1][rows]),
        "correlation of mean importance and information content over the motif": float(
            np.corrcoef(profile, information(motif))[0, 1]
        ),
    }


def information(motif: np.ndarray) -> np.ndarray:
    """Bits of each position of a (4, width) motif, against equal frequencies."""
    return cast(np.ndarray, 2 + (motif * np.log2(motif + 1e-9)).sum(axis=0))


def aligned_mean(attributions: np.ndarray, hits: dict[int, tuple[int, int, str]], width: int) -> np.ndarray:
    """Mean over the hits, in the motif's direction: (4, width)."""
    turn = {"+": 1, "-": -1}
    pieces = [
        attributions[row, :, start : start + width][:: turn[strand], :: turn[strand]]
        for row, (start, _, strand) in hits.items()
    ]
    return cast(np.ndarray, np.mean(pieces, axis=0))


def mean_metric(values: np.ndarray, chrom: np.ndarray, start: np.ndarray) -> Metric:
    """Mean with an interval by blocks of the genome; values are of the first places."""
    return metric(mean(values, genome_blocks(chrom[: len(values)], start[: len(values)])))


def seqlet_matches(attributions: np.ndarray, rows: np.ndarray, motifs: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many seqlets there are, and of how many the nearest motif of all is CTCF's. rows: (n, 4, L) one-hot."""
    from tangermeme.annotate import annotate_seqlets
    from tangermeme.seqlet import recursive_seqlets

    seqlets = recursive_seqlets(torch.from_numpy(attributions.sum(axis=1)), threshold=SEQLET_P, additional_flanks=3)
    seqlets["start"] = seqlets["start"].clip(lower=0)
    seqlets["end"] = seqlets["end"].clip(upper=attributions.shape[2])
    found: dict[str, Any] = {"seqlets": len(seqlets), "sequences": len(attributions)}
    if len(seqlets) == 0:
        return found
    names = [*motifs]
    nearest, p_values = annotate_seqlets(torch.from_numpy(rows).float(), seqlets, motifs, n_jobs=1)
    families = [names[index].rpartition("_")[2].split(".", 2)[-1] for index in nearest[:, 0].tolist()]
    ctcf = np.array(["CTCF" in family for family in families])
    return found | {
        "nearest motif is CTCF's": metric(proportion(ctcf, column_blocks(seqlets["example_idx"], "peaks"))),
        "median p of TOMTOM": float(np.median(p_values[:, 0].numpy())),
        "most frequent": dict(Counter(sorted(families, reverse=True)).most_common(8)),
        "sequences with one of CTCF's": len(set(seqlets["example_idx"][ctcf].tolist())),
    }


def marginal_effect(
    model: LanguageModel, backgrounds: list[str], motif: str, where: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Change of the head's log-odds when the consensus, or its shuffle, replaces the middle of a shuffled peak."""
    from tangermeme.marginalize import marginalize

    rows = torch.from_numpy(one_hot(backgrounds)).float()
    effects = {}
    for name, word in (
        ("consensus", motif),
        ("shuffled consensus", "".join(random.Random(0).sample(motif, len(motif)))),
    ):
        before, after = marginalize(OneHotModel(model), rows, word)
        effects[name] = mean_metric((after - before)[:, 0].double().numpy(), *where) | {"word": word}
    return effects


def figure(path: Path, means: dict[str, np.ndarray], motif: np.ndarray) -> None:
    """The motif's logo in bits over the mean importance at its best hits, method by method."""
    axis = "position in the motif (bp, from 1)"
    panels = [Panel(f"JASPAR {MOTIF} (CTCF), bits", (motif * information(motif)).T, axis=axis)]
    panels += [
        Panel(f"mean importance at its best hits: {name}", heights.T, axis=axis) for name, heights in means.items()
    ]
    draw_logos(path, panels, "height")


if __name__ == "__main__":
    run_function(real_attribution)
