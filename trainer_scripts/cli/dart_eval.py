"""The command `dart-eval`: score a model on DART-Eval's tasks.

Several processes, on GPUs or on CPU (where `accelerate launch --cpu` would start only one):

    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.dart_eval run ...
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts import supervised
from trainer_scripts.cli import prepare, prepare_peaks, report
from trainer_scripts.cli.inputs import by_name

if TYPE_CHECKING:
    from datasets import Dataset

Files = Annotated[list[str] | None, typer.Option(help="file, or NAME=FILE for each cell line or type")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(prepare_peaks.app, name="prepare-peaks")
prepare.register(app)
app.command("report")(report.report)
app.command("profile")(supervised.profile)


class Protocol(StrEnum):
    fixed = "fixed"
    paper = "paper"


@app.callback()
def dart_eval() -> None:
    """Score DNA language models on regulatory DNA: tasks, protocols and intervals of DART-Eval."""


@app.command("ls")
def list_tasks() -> None:
    """What can be run: tasks with their settings, recipes, and the model families of the paper.

    dart-eval ls
    """
    from evaluation_dart.models.language_model import PAPER_FAMILIES
    from evaluation_dart.records import PREDICTION_COLUMNS
    from evaluation_dart.scoring.likelihoods import RECIPES

    typer.echo("tasks and settings")
    for task, settings in PREDICTION_COLUMNS.items():
        typer.echo(f"  {task}: {', '.join(settings)}")
    typer.echo("recipes of likelihoods")
    for recipe in RECIPES.values():
        typer.echo(
            f"  {recipe.name}: {recipe.reduction} over tokens, strand {recipe.strand}, special tokens "
            f"{recipe.special_tokens}, alleles {recipe.alleles}"
        )
    typer.echo("model families of the paper (any other model of the Auto classes runs the same way)")
    for family in PAPER_FAMILIES:
        typer.echo(f"  {family.name}, {family.kind}, {family.model}: {family.status}")


@app.command()
def run(
    model: Annotated[
        str,
        typer.Option(
            help="Hub id or folder of a causal or masked language model; or a baseline: a Markov model's .safetensors, "
            "a .meme file of motifs to count (clustering); of ab_initio a column of the variant table, a table of "
            "predictions (.tsv, .csv, .parquet), probing-head-like, chrombpnet-like, chrombpnet-counts, kmers-1 to "
            "kmers-8, gc-content, or the folder of a model whose architecture is trained from random weights"
        ),
    ],
    genome: Annotated[Path | None, typer.Option(help="FASTA: plain, gzip or bgzip")] = None,
    elements: Annotated[Path | None, typer.Option(help="BED of elements: plain, gzip or bgzip")] = None,
    motifs: Annotated[Path | None, typer.Option(help="motif_footprinting: MEME file")] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="motif_footprinting: one sequence a line")] = None,
    peaks: Files = None,
    idr: Files = None,
    nonpeaks: Files = None,
    signal: Files = None,
    counts: Files = None,
    cell_type: Annotated[str | None, typer.Option(help="chromatin_activity: of single files")] = None,
    variants: Annotated[Path | None, typer.Option(help="variant_effects: table or VCF")] = None,
    effect: Annotated[str | None, typer.Option(help="variant_effects: column of the effect")] = None,
    label: Annotated[str | None, typer.Option(help="variant_effects: column of the label")] = None,
    processed: Annotated[Path | None, typer.Option(help="the original's own data.h5 or table")] = None,
    task: Annotated[str, typer.Option(help="see dart-eval ls")] = "regulatory_elements",
    setting: Annotated[str, typer.Option(help="see dart-eval ls")] = "zero_shot_likelihood",
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results"),
    protocol: Annotated[
        Protocol, typer.Option(help="the sound one, or the original with its defects")
    ] = Protocol.fixed,
    recipe: Annotated[str, typer.Option(help="of likelihoods, see dart-eval ls")] = "dart-eval",
    layer: Annotated[int, typer.Option(help="of embeddings: index into the hidden states")] = -1,
    splits: Annotated[str, typer.Option(help='"paper", or BED of blocks named train, validation, test')] = "paper",
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    window: Annotated[int | None, typer.Option(help="score the central so many bases only")] = None,
    limit: Annotated[int | None, typer.Option(help="score the first so many rows only", min=1)] = None,
    sample_seed: Annotated[int | None, typer.Option(help="with --limit: rows at random, by this seed")] = None,
    batch_size: Annotated[int, typer.Option(help="rows in a forward pass", min=1)] = 64,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    cache_dir: Annotated[Path | None, typer.Option(help="of the dataset built from the inputs")] = None,
    num_proc: Annotated[int | None, typer.Option(help="processes that build the dataset")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace a record, and start afresh")] = False,
    method: Annotated[str | None, typer.Option(help="probed: cnn, linear; finetuned: lora, full")] = None,
    budget: Annotated[
        supervised.Budget, typer.Option(help="of supervised settings: small is 1024 rows of a split, 256 steps")
    ] = supervised.Budget.full,
    training: Annotated[Path, typer.Option(help="folder of what supervised settings train")] = Path("training"),
    trained: Annotated[Path | None, typer.Option(help="variant_effects: a training of chromatin_activity")] = None,
    cache: Annotated[Path | None, typer.Option(help="probed: keep embeddings in this folder")] = None,
    hyperparameters: Annotated[Path | None, typer.Option(help="YAML, as training.yaml in a training's folder")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of a hyper-parameter, such as seed=1")
    ] = None,
) -> None:
    """Score a model on a task; writes predictions.parquet and results.json, and prints the metrics.

    A run that was killed goes on where it stopped when the same line is given again.

    dart-eval run --model model_cards/hyenadna-tiny-1k-demo --genome hg38.fa --elements ENCFF420VPZ.bed
    """
    from transformers.utils import logging

    from evaluation_dart.records import PREDICTION_COLUMNS, SUPERVISED, read_record
    from evaluation_dart.run import evaluate, sequence_columns
    from evaluation_dart.scoring.likelihoods import RECIPES
    from evaluation_dart.scoring.rows import centred_crop, embedding_recipe
    from evaluation_dart.training.accelerators import process_state

    if setting not in PREDICTION_COLUMNS.get(task, ()):
        known = "; ".join(f"{name}: {', '.join(settings)}" for name, settings in PREDICTION_COLUMNS.items())
        raise InputError(f"--task {task} --setting {setting}: there are {known}")
    if recipe not in RECIPES:
        raise InputError(f"--recipe {recipe}: there are {', '.join(RECIPES)}")
    state = process_state(device)
    logging.disable_progress_bar()  # of every process, for a second's work
    # The model first: what is wrong with it shows before a whole genome is read.
    load: dict[str, Any] = {"revision": revision, "device": device or state.device, "dtype": dtype}
    trains = supervised.is_trained(model, task, setting)
    scorer: Any = None
    described: dict[str, Any] = {}
    if not trains:
        scorer, described = load_scorer(model, setting, load, trust_remote_code)
    given: dict[str, Any] = {
        **{"genome": genome, "elements": elements, "motifs": motifs, "backgrounds": backgrounds, "variants": variants},
        **{name: by_name(paths or []) for name, paths in (("peaks", peaks), ("idr", idr), ("nonpeaks", nonpeaks))},
        **{"signal": by_name(signal or []), "counts": counts, "processed": processed},
    }
    files = {name: value for name, value in given.items() if value is not None}
    named = {"cell_type": cell_type, "effect": effect, "label": label}
    names = {name: value for name, value in named.items() if value is not None}
    with state.main_process_first():
        dataset = load_rows(task, protocol.value, splits, split, cache_dir, num_proc, **files, **names)
    if trains and budget == supervised.Budget.small and limit is None:
        limit, sample_seed = supervised.SMALL_ROWS["test"], 0
    dataset, subset = drawn(dataset, limit, sample_seed)
    inputs = described_inputs(**files, splits=splits) | names
    trained_recipe = None
    if trains:

        def split_rows(name: str) -> "Dataset":
            with state.main_process_first():
                return load_rows(task, protocol.value, splits, name, cache_dir, num_proc, **files, **names)

        wish = supervised.Wish(
            *(model, task, setting, protocol.value, method, budget.value, training, trained, cache, hyperparameters),
            *(set_ or [], window, batch_size, revision, device or state.device, trust_remote_code, overwrite),
        )
        scorer, described, trained_recipe = supervised.train_scorer(wish, split_rows, inputs)
    elif setting == "ab_initio" and model.endswith(supervised.TABLES):
        scorer, described = supervised.external(model, dataset, task)
    sequence = dataset[0][sequence_columns(task)[0]]
    example = [sequence if window is None else centred_crop(sequence, window)]
    likelihood = setting == "zero_shot_likelihood"
    if model.endswith(".safetensors"):
        summed = RECIPES[recipe].reduction == "sum" and RECIPES[recipe].special_tokens == "not scored"
        if not summed or (task == "variant_effects" and RECIPES[recipe].alleles == "masked"):
            raise InputError(f"--recipe {recipe}: a Markov model sums over whole sequences (--recipe biofoundation)")
    if hasattr(scorer, "forward_passes"):
        passes = scorer.forward_passes(example, RECIPES[recipe].special_tokens == "scored")  # refuses what is too long
        one_pass = not likelihood or (task == "variant_effects" and RECIPES[recipe].alleles == "masked")
        if scorer.kind == "masked" and state.is_main_process:
            strands = 2 if likelihood and RECIPES[recipe].strand == "mean" else 1
            sequences = len(dataset) * (1 if likelihood and one_pass else len(sequence_columns(task)))
            rows = sequences * strands * (1 if one_pass else passes)
            why = "one for each sequence" if one_pass else "one for each token"
            typer.echo(f"masked model: about {rows:,} rows through the model, {why}", err=True)
    options: dict[str, Any] = {"batch_size": batch_size} if hasattr(scorer, "forward_passes") else {}
    folder = evaluate(
        *(scorer, dataset, task, setting),
        RECIPES[recipe]
        if likelihood
        else trained_recipe
        if setting in SUPERVISED
        else embedding_recipe(task, scorer, protocol, layer),
        output,
        model=described,
        inputs=inputs,
        split=split,
        protocol=protocol.value,
        window=window,
        subset=subset,
        overwrite=overwrite,
        **options,
    )
    if state.is_main_process:
        print_metrics(read_record(folder))
        typer.echo(f"record: {folder}")


@app.command()
def validate(
    folders: Annotated[list[Path], typer.Argument(help="folders with results.json and predictions.parquet")],
    submitted_to: Annotated[
        Path | None, typer.Option(help="the records' root: nothing else may lie in the folders, nor they elsewhere")
    ] = None,
) -> None:
    """Check that every metric of a record follows from its predictions.

    dart-eval validate results/local__hyenadna-tiny-1k-demo/*/regulatory_elements/zero_shot_likelihood
    """
    from evaluation_dart.records import validate_record
    from evaluation_dart.submission import validate_submission

    for folder in folders:
        record = validate_record(folder) if submitted_to is None else validate_submission(folder, submitted_to)
        typer.echo(f"{folder}: valid ({record['predictions']['rows']} predictions)")


def load_scorer(
    model: str, setting: str, options: dict[str, Any], trust_remote_code: bool = False
) -> tuple[Any, dict[str, Any]]:
    """What scores, and what a record says of it: a language model; or a baseline, by what `model` names.

    Raises:
        ValueError: if the setting needs what the baseline cannot do.
    """
    from datasets_dart.files import sha256

    path = Path(model)
    name = path.name.partition(".")[0]
    if setting == "ab_initio":
        return model, {"id": f"table/{model}", "revision": "as-given"}
    if model.endswith((".meme", ".meme.gz")):
        from evaluation_dart.models.motif_counts import MotifCounts

        if setting != "clustering":
            raise InputError(f"--model {model} --setting {setting}: motifs are counted for clustering only")
        counts = MotifCounts(path)
        return counts, {"id": f"local/motif-counts-{name}", "revision": counts.revision, "motifs": len(counts.motifs)}
    if model.endswith(".safetensors"):
        from evaluation_dart.models.markov import MarkovModel

        if setting != "zero_shot_likelihood":
            raise InputError(f"--model {model} --setting {setting}: a Markov model has likelihoods only")
        markov = MarkovModel.load(path)
        return markov, {"id": f"local/{name}-order-{markov.order}", "revision": sha256(path.resolve())[:12]}

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.models.language_model import load_language_model
    from evaluation_dart.records import model_id

    head = setting == "zero_shot_likelihood"
    scorer = load_language_model(model, trust_remote_code=trust_remote_code, head=head, **options)
    described = {"id": model_id(model), "revision": scorer.revision, "parameters": scorer.num_parameters}
    return scorer, described | {"dtype": options["dtype"]}


def load_rows(
    task: str,
    protocol: str,
    splits: Path | str,
    split: str,
    cache_dir: Path | None = None,
    num_proc: int | None = None,
    **inputs: Any,
) -> "Dataset":
    """One split of a task as a Dataset.

    Raises:
        ValueError: naming the split, if no row is in it.
    """
    from datasets import disable_progress_bars

    from datasets_dart import load_dart

    disable_progress_bars()
    rows = load_dart(task, protocol=str(protocol), splits=splits, cache_dir=cache_dir, num_proc=num_proc, **inputs)
    if split not in rows:
        rows_of = ", ".join(str(path) for name, path in inputs.items() if name != "genome")
        raise InputError(f"{rows_of}: no element is in split {split!r}; there are {', '.join(rows)}")
    return rows[split]


def load_split(genome: Path | str, elements: Path | str, protocol: str, splits: Path | str, split: str) -> "Dataset":
    """One split of task 1 as a Dataset."""
    return load_rows("regulatory_elements", protocol, splits, split, genome=genome, elements=elements)


def drawn(dataset: "Dataset", limit: int | None, seed: int | None) -> tuple["Dataset", str]:
    """At most `limit` rows: the first or, with a seed, rows at random in their order; and what that is called."""
    import numpy as np

    if limit is None or limit >= len(dataset):
        return dataset, "all"
    if seed is None:
        return dataset.select(range(limit)), f"the first {limit}"
    rows = np.random.default_rng(seed).choice(len(dataset), limit, replace=False)
    return dataset.select(np.sort(rows).tolist()), f"{limit} at random, seed {seed}"


def described_inputs(**paths: Any) -> dict[str, str]:
    """`name: file name, SHA-256` of each input file; of several files of one name, all."""
    from datasets_dart.files import sha256

    def describe(value: Any) -> str:
        if value == "paper":
            return "paper"
        if isinstance(value, dict):
            return ", ".join(f"{name}={describe(path)}" for name, path in sorted(value.items()))
        if isinstance(value, list):
            return ", ".join(map(describe, value))
        return f"{Path(value).name} sha256:{sha256(Path(value).resolve())}"

    return {name: describe(value) for name, value in paths.items()}


def print_metrics(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{record['model']['id']} on {record['task']}, {record['setting']}, protocol {record['protocol']}"
    table = Table("metric", "value", "95 % interval", "n", title=title)
    for name, metric in record["metrics"].items():
        interval = "" if metric["low"] is None else f"{metric['low']:.4g} to {metric['high']:.4g}"
        table.add_row(name, f"{metric['value']:.4g}", interval, str(metric["n"]))
    Console().print(table)


def main() -> None:
    try:
        app()
    except (ValueError, OSError, ImportError) as error:  # ImportError: an extra is not installed
        print("dart-eval:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
