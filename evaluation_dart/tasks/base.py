"""What a task is: its data, what a model reads of them, how each setting scores a model, and what comes of the scores.

A task is one object in one module, named in the entry point group "evaluation_dart.tasks"; `TASKS` is the list of them.
Nothing heavy is imported here, nor by the tasks' modules: their functions import what they use.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    from evaluation_dart.statistics.blocks import Blocks
    from evaluation_dart.statistics.calibration import Calls
    from evaluation_dart.statistics.estimates import Estimate
    from evaluation_dart.statistics.metric import Metric
    from evaluation_dart.training.objective import Objective

Columns = dict[str, Any]
Score = Callable[[range], Columns]  # row numbers -> columns of predictions
MEGABASES, CHROMOSOMES = "1Mb", "chromosomes"  # blocks of rows that are alike
DART_EVAL = "DART-Eval"
LOGIT = "logit_"  # of a class, what a column of its logits begins with
# The settings that train a model, or take what one predicts
SUPERVISED = ("probed", "finetuned", "ab_initio")


class Input(NamedTuple):
    """An input of a task's builder.

    Attributes:
        help: what it is.
        kind: "file"; "files", one or NAME=FILE of each cell line; or "text", no file at all.
        names_data: whether the data set is called after it.
    """

    help: str
    kind: str = "file"
    names_data: bool = False


class Job(NamedTuple):
    """What is to be done with the rows of a dataset.

    Attributes:
        recipe: of a likelihood, an embedding or a training; None of a table.
        window: bp of the centred crop, None for all.
        batch_size: rows of a forward pass, or "auto".
    """

    recipe: Any
    window: int | None = None
    batch_size: int | str = "auto"

    def crop(self, sequences: Sequence[str]) -> list[str]:
        """The centre of each sequence."""
        if self.window is None:
            return list(sequences)
        return [centred_crop(sequence, self.window) for sequence in sequences]


@dataclass(frozen=True)
class Setting:
    """One way of asking a model to do a task.

    Attributes:
        needs: "likelihoods", "tokens", "embeddings" or "predictions", which the scorer must have: see
            `models.protocols.NEEDS`.
        columns: of the predictions: what says which row it is, what the metrics need to know, and the scores.
        score: (scorer, dataset, job) -> a function of row numbers, so that a run can go through a dataset in pieces.
        estimates: (predictions, protocol, blocks of rows that are alike) -> estimates of the metrics, by name.
        headlines: names of metrics; the first that a run has is the one to look at.
        permute: (predictions, generator) -> predictions with the outcomes of other rows, drawn at random: what is found
            there is chance. None where it is not known how.
        calls: (predictions, blocks) -> probabilities and what came true; None where a model gives no probabilities.
        finish: what is made of the whole table of predictions at the end.
        described: what a record says of the setting beside its recipe.
        blocks: which rows are taken as alike, see [`blocks_of`].
    """

    needs: str
    columns: tuple[str, ...]
    score: "Callable[[Any, Dataset, Job], Score]"
    estimates: "Callable[[pa.Table, str, Blocks], dict[str, Estimate]]"
    headlines: tuple[str, ...]
    permute: "Callable[[pa.Table, np.random.Generator], pa.Table] | None" = None
    calls: "Callable[[pa.Table, Blocks], Calls] | None" = None
    finish: "Callable[[pa.Table], pa.Table] | None" = None
    described: Mapping[str, Any] = field(default_factory=dict)
    blocks: str = MEGABASES


@dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Attributes:
        name: of the task, its builder and its configuration on the Hub.
        title: what it asks, in a few words.
        number: its place in lists.
        benchmark: what it is a task of; "all" tasks are those of DART-Eval.
        inputs: of the builder, by name.
        columns: of the dataset, those that a model reads: name -> what it is.
        settings: by name; the first is the task's own.
        keys: columns that together name a row.
        alleles: whether a model compares the two columns it reads as alleles.
        alike: columns; rows with the same values in all of them begin alike. Empty where none do.
        objective: what is learned from a dataset's rows; None where nothing is.
        learned_rows: which rows of a training split are learned from; None for all.
        trained_on: the task whose trained models this one takes; None for its own.
        shared_rows: of predictions, which rows every part of them needs; None for none.
        of_recipe: (predictions, name of the recipe, blocks) -> estimates that the recipe's project has of its own.
        measure: the first setting's estimates of arrays, named and typed by `arrays`, with protocol=; None for none.
    """

    name: str
    title: str
    inputs: Mapping[str, Input]
    columns: Mapping[str, str]
    settings: Mapping[str, Setting]
    keys: tuple[str, ...] = ("id",)
    alleles: bool = False
    alike: tuple[str, ...] = ()
    objective: "Callable[[Dataset], Objective] | None" = None
    learned_rows: "Callable[[Dataset], np.ndarray] | None" = None
    trained_on: str | None = None
    shared_rows: "Callable[[pa.Table], np.ndarray] | None" = None
    of_recipe: "Callable[[pa.Table, str, Blocks], dict[str, Estimate]] | None" = None
    measure: "Callable[..., dict[str, Estimate]] | None" = None
    arrays: Mapping[str, str] = field(default_factory=dict)
    number: int = 100
    benchmark: str = DART_EVAL

    @property
    def headline(self) -> dict[str, str]:
        """Setting -> the name of its metric to look at."""
        return {name: setting.headlines[0] for name, setting in self.settings.items()}

    def headline_of(self, setting: str, metrics: Mapping[str, Any]) -> str:
        """The name of a run's metric to look at."""
        return next((name for name in self.settings[setting].headlines if name in metrics), next(iter(metrics)))

    def metrics(
        self, predictions: "pa.Table", protocol: str = "fixed", setting: str | None = None, blocks: str | None = None
    ) -> "dict[str, Metric]":
        """Metrics of a table of predictions; of the task's first setting, if none is named.

        Args:
            blocks: which rows are taken as alike, see [`blocks_of`]; None: as the setting has it.

        Raises:
            InputError: for a setting that there is not, or predictions that have no metrics.
        """
        from evaluation_dart.statistics.estimates import metrics_of

        return metrics_of(self.estimates(predictions, protocol, setting, blocks))

    def estimates(
        self, predictions: "pa.Table", protocol: str = "fixed", setting: str | None = None, blocks: str | None = None
    ) -> "dict[str, Estimate]":
        """What [`metrics`] are made of, which two models' differences and means over seeds are made of, too."""
        own = self.settings[setting or next(iter(self.settings))]
        return own.estimates(predictions, protocol, blocks_of(predictions, blocks or own.blocks))


def centred_crop(sequence: str, window: int) -> str:
    """The central `window` bases; of an odd rest, the larger half is cut from the right."""
    offset = (len(sequence) - window) // 2
    return sequence[offset : offset + window]


def taken(batch: Mapping[str, Any], names: Sequence[str]) -> Columns:
    """Columns of a batch of the dataset."""
    return {name: batch[name] for name in names}


def values_together(batch: Mapping[str, Any], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """Of each row of a batch, its values in some columns."""
    return [*zip(*(batch[name] for name in names), strict=True)]


def blocks_of(predictions: "pa.Table", choice: str = MEGABASES) -> "Blocks":
    """Which rows of a table are alike.

    Args:
        choice: "1Mb", the same 1 Mb of the genome, rows without a place being blocks of their own; "chromosomes"; or
            the name of a column, of which rows with the same value are one block.

    Raises:
        InputError: for a column that there is not.
    """
    from evaluation_dart.statistics.blocks import blocks_at, column_blocks

    names = predictions.column_names
    if choice == MEGABASES:
        place = next((name for name in ("start", "position") if name in names), None)
        known = place is not None and "chrom" in names
        return blocks_at(
            predictions["chrom"].to_numpy() if known else None,
            predictions[place].to_numpy() if known else None,
            predictions.num_rows,
        )
    column = "chrom" if choice == CHROMOSOMES else choice
    if column not in names:
        raise InputError(f"blocks {choice}: there are {MEGABASES}, {CHROMOSOMES}, and the columns {', '.join(names)}")
    return column_blocks(predictions[column].to_numpy(), CHROMOSOMES if column == "chrom" else f"values of {column}")


def predicted(
    scorer: Any,
    dataset: "Dataset",
    taken_columns: Sequence[str],
    keys: Sequence[str],
    names: Sequence[str],
    predict: Callable[[Mapping[str, Any]], Columns],
    label: Callable[[Mapping[str, Any]], Columns] = lambda batch: {},
) -> Score:
    """Columns of the dataset beside the outputs of a trained model, or what a [`RowPredictor`] says of its rows."""
    from evaluation_dart.models.protocols import RowPredictor

    def score(rows: range) -> Columns:
        batch = dataset[rows]
        found = scorer.columns(batch, keys, names) if isinstance(scorer, RowPredictor) else predict(batch)
        return taken(batch, taken_columns) | label(batch) | found

    return score


def with_columns(table: "pa.Table", columns: "Mapping[str, pa.Array | pa.ChunkedArray]") -> "pa.Table":
    """A table with other values in some of its columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def outcomes_permuted(*names: str, among: str | None = None) -> "Callable[[pa.Table, np.random.Generator], pa.Table]":
    """For `Setting.permute`: the columns of these names, together, of another row; only of rows that are `among`."""

    def permute(table: "pa.Table", rng: "np.random.Generator") -> "pa.Table":
        import numpy as np

        order = np.arange(table.num_rows)
        own = order if among is None else np.flatnonzero(table[among].to_numpy())
        order[own] = rng.permutation(own)
        return with_columns(table, {name: table[name].take(order) for name in names})

    return permute


def pairs_swapped(*pairs: tuple[str, str]) -> "Callable[[pa.Table, np.random.Generator], pa.Table]":
    """For `Setting.permute`: of rows drawn at random, the values of two columns the other way round, of each pair.

    Pairs of columns that predictions do not have are left out.
    """

    def permute(table: "pa.Table", rng: "np.random.Generator") -> "pa.Table":
        import numpy as np
        import pyarrow as pa

        swapped = rng.random(table.num_rows) < 0.5
        for one, two in (pair for pair in pairs if {*pair} <= {*table.column_names}):
            first, second = table[one].to_numpy(), table[two].to_numpy()
            columns = {one: np.where(swapped, second, first), two: np.where(swapped, first, second)}
            table = with_columns(table, {name: pa.array(values) for name, values in columns.items()})
        return table

    return permute


def supervised(setting: Setting) -> dict[str, Setting]:
    """The same setting under each of the names in `SUPERVISED`."""
    return dict.fromkeys(SUPERVISED, setting)
