"""Embeddings of genes by a frozen model, and how well they distinguish biotypes (HyenaDNA section 4.4.2, spec 6.6).

    python -m trainer_scripts.biotype_embeddings --annotation genes.gtf.gz --genome hg38.fa \\
        --model LongSafari/hyenadna-medium-160k-seqlen-hf --output biotypes

Writes embeddings.parquet (one vector a gene), results.json (weighted F1 of gradient-boosted trees on a fifth of the
genes) and tsne.png. A gene longer than the model reads is cut into pieces, whose means are averaged by their lengths.
Pieces are kept as they come, so that a run that was killed goes on.

The paper uses XGBoost with 1000 trees of depth 3 and rate 0.1; here it is scikit-learn's, of the same numbers. How the
paper split its genes is not known. Published weighted F1, in per cent: DNABERT 64.6, Nucleotide Transformer 66.5,
HyenaDNA 72.0.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.manifold import TSNE

import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.outputs import check_output
from datasets_hyenadna import load_task
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.checkpoints import model_id
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.records import RESULTS, digest
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.shards import all_shards, read_shard, score_in_shards
from evaluation_dart.statistics.blocks import Blocks, blocks_at
from evaluation_dart.statistics.estimates import counted, metric
from evaluation_dart.statistics.metric import Metric, interval_text
from evaluation_dart.training.loop import CHOICES
from evaluation_dart.training.states import check_same_run, hold_folder, write_choices
from trainer_scripts.messages import run_function
from trainer_scripts.options import Device, Revision, TrustRemoteCode

TREES = {"max_iter": 1000, "max_depth": 3, "learning_rate": 0.1, "early_stopping": False}
PUBLISHED = {"DNABERT": 64.6, "Nucleotide Transformer": 66.5, "HyenaDNA": 72.0}
PLOTTED, CHUNK = 3000, 64  # genes of the picture, and in a file of embeddings


def pieces(sequence: str, longest: int) -> list[str]:
    """The sequence in as few pieces of at most `longest` bases as there can be, of about one length."""
    number = -(-len(sequence) // longest)
    ends = np.linspace(0, len(sequence), number + 1).round().astype(int).tolist()
    return [sequence[start:end] for start, end in pairwise(ends)]


def gene_embedding(model: Any, sequence: str, longest: int) -> np.ndarray:
    """Mean of the last hidden states over all bases of a gene, each seen within its own piece: (C,) float32."""
    parts = pieces(sequence, longest)
    vectors = np.concatenate([model.embed([part], batch_size=1) for part in parts])
    check_finite(vectors, model.name, lambda row: f"a gene that begins {parts[row][:20]}...")
    return np.average(vectors, axis=0, weights=[len(part) for part in parts]).astype(np.float32)


def embed_rows(model: Any, rows: Any, longest: int, folder: Path, identity: str) -> np.ndarray:
    """Embeddings of all rows, (n, C); chunks of them are kept in `folder`, and read where they are there.

    Args:
        identity: of the rows and the model: chunks of others are made anew.
    """

    def embeddings(chunk: range) -> dict[str, list[np.ndarray]]:
        sequences = rows[chunk.start : chunk.stop]["sequence"]
        return {"embedding": [gene_embedding(model, sequence, longest) for sequence in sequences]}

    score_in_shards(lambda: embeddings, len(rows), folder, CHUNK, identity)
    kept = [read_shard(path)["embedding"] for path in all_shards(folder, len(rows), CHUNK)]
    return np.concatenate([np.stack(column.to_numpy()) for column in kept])


def judge(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, labels: np.ndarray, k: int, blocks: Blocks
) -> Metric:
    """Weighted F1 on test of trees grown on train; blocks: of the test rows."""
    called = HistGradientBoostingClassifier(**TREES, random_state=0).fit(train, train_labels).predict(test)
    return metric(counted("f1_weighted", called, labels, k, blocks))


def plot_tsne(vectors: np.ndarray, labels: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Up to `PLOTTED` genes in two dimensions, as a PNG; nothing where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    chosen = np.random.default_rng(0).permutation(len(vectors))[:PLOTTED]
    places = TSNE(random_state=0, perplexity=min(30, len(chosen) - 1)).fit_transform(vectors[chosen])
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(classes):
        own = places[labels[chosen] == number]
        axes.scatter(own[:, 0], own[:, 1], s=4, label=name, color=f"C{number}")
    axes.legend(frameon=False, markerscale=3, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=120, format="png")


def biotype_embeddings(
    annotation: Annotated[str, typer.Option(help="GTF, Ensembl's or GENCODE's")],
    genome: Annotated[str, typer.Option(help="FASTA of the same build")],
    model: Annotated[str, typer.Option(help="Hub id or folder")],
    output: Annotated[Path, typer.Option(help="folder of embeddings, results and picture")],
    classes: Annotated[int, typer.Option(help="how many of the commonest biotypes", min=2)] = 10,
    longest: Annotated[int | None, typer.Option(help="bases read at once; default: all that the model reads")] = None,
    revision: Revision = None,
    device: Device = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Embed genes, and classify their biotypes by the embeddings.

    python -m trainer_scripts.biotype_embeddings --annotation genes.gtf.gz --genome hg38.fa --model M --output biotypes
    """
    check_output(output, [annotation, genome, model])
    rows: Any = load_task("biotypes", protocol="paper", annotation=annotation, genome=genome, classes=classes)
    loaded = load_language_model(
        model, revision=revision, device=device, head=False, trust_remote_code=trust_remote_code
    )
    limit = (loaded.max_tokens or 1_000_000) - loaded.before - loaded.after
    if longest is not None and not 0 < longest <= limit:
        raise InputError(f"--longest {longest}: {model} reads 1 to {limit} bases")
    longest = longest or limit
    names = rows["test"].features["label"].names
    kept = output / "pieces" / f"{loaded.revision}-{longest}-{classes}"
    inputs = described_inputs(annotation=annotation, genome=genome)
    choices = {"training": TREES, "model": loaded.describe(), "longest": longest, "classes": classes, "inputs": inputs}
    with ExitStack() as stack:
        hold_folder(stack, output, (CHOICES, "pieces", "embeddings.parquet", "tsne.png", RESULTS))
        check_same_run(output / CHOICES, choices, ())
        write_choices(output / CHOICES, choices)
        vectors = {
            split: embed_rows(loaded, rows[split], longest, kept / split, digest([split, choices]))
            for split in ("train", "test")
        }
        labels = {split: np.array(rows[split]["label"][:]) for split in vectors}
        chrom, start = (np.array(rows["test"][name][:]) for name in ("chrom", "start"))
        blocks = blocks_at(chrom, start, len(chrom))
        found = judge(vectors["train"], labels["train"], vectors["test"], labels["test"], len(names), blocks)
        record = {
            "task": "biotypes",
            "model": {"id": model_id(model), "revision": loaded.revision},
            "biotypes": {
                name: int(sum((labels[split] == i).sum() for split in labels)) for i, name in enumerate(names)
            },
            "rows": {split: len(own) for split, own in labels.items()},
            "longest": longest,
            "trees": TREES,
            "metrics": {"f1_weighted": found},
            "published": PUBLISHED,
        }
        with replacing(output / "embeddings.parquet") as path:
            pq.write_table(embeddings_table(rows, vectors, names), path)
        plot_tsne(np.concatenate([*vectors.values()]), np.concatenate([*labels.values()]), names, output / "tsne.png")
        write_text(output / RESULTS, json.dumps(record, indent=1) + "\n")
        typer.echo(f"weighted F1 {found.value:.3f}{interval_text(found)}, n {found.n:,}")


def embeddings_table(rows: Any, vectors: dict[str, np.ndarray], names: Sequence[str]) -> pa.Table:
    """A row for each gene: its place, biotype and split, and its embedding."""
    tables = []
    for split, own in vectors.items():
        columns = {name: rows[split][name][:] for name in ("id", "chrom", "start", "end", "strand")}
        columns |= {"biotype": [names[number] for number in rows[split]["label"]], "split": [split] * len(own)}
        tables.append(pa.table(columns | {"embedding": list(own)}))
    return pa.concat_tables(tables)


if __name__ == "__main__":
    run_function(biotype_embeddings)
