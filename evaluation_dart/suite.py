"""Many runs in one: models x tasks x settings x seeds, which share what they load and go on past a failure."""

import csv
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import replacing, shown
from datasets_dart.formats.documents import read_yaml
from datasets_dart.outputs import locked, sweep
from evaluation_dart.controls import control_kind
from evaluation_dart.models.kinds import split_spec
from evaluation_dart.records import Record
from evaluation_dart.report.tables import headline, sound_metrics
from evaluation_dart.run import Loaded, run
from evaluation_dart.seeds import over_seeds
from evaluation_dart.spec import RunSpec
from evaluation_dart.tasks import SUPERVISED, TASKS, dart_eval_tasks, task_named
from evaluation_dart.training.accelerators import in_first_process

logger = logging.getLogger(__name__)

TABLES = ("suite.parquet", "suite.csv")
DEFAULT_OUTPUT = "results"
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("control", pa.string()),
        ("seed", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("status", pa.string()),
        ("record", pa.string()),
    ]
)


@dataclass(frozen=True)
class Suite:
    """The runs of a suite.

    Attributes:
        table: a row for each run, with the columns of `SCHEMA` and its metric to look at; `status` is "done", or why it
            failed. After them, a row for each run of several seeds, whose `seed` is null, with the mean over seeds and
            an interval in which both rows and seeds vary; `status` then says how many seeds.
        records: of the runs that are done.
    """

    table: pa.Table
    records: list[Record] = field(repr=False)

    @property
    def failures(self) -> list[str]:
        """The runs that failed, a line each."""
        failed = [row for row in self.table.to_pylist() if row["metric"] is None]
        return [f"{row['model']} on {row['task']}, {row['setting']}: {row['status']}" for row in failed]


def evaluate_suite(
    models: Sequence[str],
    tasks: str | Sequence[str] | Mapping[str, Mapping[str, Any] | None] = "all",
    *,
    settings: Sequence[str] | None = None,
    seeds: Iterable[int] = (0,),
    output: str | os.PathLike[str] = DEFAULT_OUTPUT,
    **arguments: Any,
) -> Suite:
    """Run models on tasks; writes the records, suite.csv and suite.parquet below `output`.

        evaluate_suite(["org/a", "markov:order3.safetensors"], tasks=["regulatory_elements"], genome=..., elements=...)

    Runs that are recorded already are read. A run that fails leaves its reason in the table.

    Args:
        models: names, see `load_scorer`.
        tasks: names; "all" for those of DART-Eval; or a mapping from names to arguments of their own, `settings` among
            them.
        settings: of each task, those that it has; None for its first.
        seeds: of what is trained or has random weights; all else runs once.
        output: folder of records and of the tables.
        arguments: of `evaluate`, for all runs; a task takes the inputs that it has.

    Raises:
        InputError: for a name or argument that no task has.
    """
    return evaluate_specs(
        list(specifications(models, tasks, settings, list(seeds), {**arguments, "output": output})), output
    )


def evaluate_specs(specs: Sequence[RunSpec], output: str | os.PathLike[str]) -> Suite:
    """[`evaluate_suite`] of runs as they are; the first rows of the table are the runs, in their order."""
    folder = Path(output)
    with ExitStack() as stack:
        in_first_process(lambda: hold_tables(stack, folder))
        return run_all(specs, folder)


def hold_tables(stack: ExitStack, folder: Path) -> None:
    """Hold the tables of a suite to the end of `stack`.

    Raises:
        InputError: if another process writes them, or they are not ours.
    """
    stack.enter_context(locked(folder / ".suite.lock", folder))
    for name in TABLES:
        sweep(folder / name)
    for path in (folder / name for name in TABLES):
        if os.path.lexists(path) and not is_table(path):
            raise InputError(f"{path}: is not the table of a suite, which goes there; move it, or name another output")


def is_table(path: Path) -> bool:
    """Whether a file is the table of a suite."""
    if path.suffix == ".csv":
        with path.open("rb") as file:
            return file.readline().strip() == ",".join(SCHEMA.names).encode()
    try:
        return bool(pq.read_schema(path).names == SCHEMA.names)
    except (OSError, pa.ArrowInvalid):
        return False


def run_all(specs: Sequence[RunSpec], output: Path) -> Suite:
    """Run what a suite says, and write its tables."""
    rows, records = [], []
    loaded: Loaded = {}
    for number, spec in enumerate(specs, 1):
        for key in [key for key in loaded if key[0] == "model" and key[1] != spec.model]:
            del loaded[key]
        setting = spec.chosen_setting
        logger.info("%d of %d: %s on %s, %s, seed %d", number, len(specs), spec.model, spec.task, setting, spec.seed)
        row: dict[str, Any] = {"model": spec.model, "task": spec.task, "setting": setting, "seed": spec.seed}
        try:
            record = run(spec, loaded=loaded)
        except (InputError, MissingExtra, OSError) as error:
            logger.warning("failed: %s", error)
            rows.append(row | {"status": " ".join(str(error).split())})
            continue
        name = headline(record.content)
        metric = {key: sound_metrics(record.content)[name][key] for key in ("value", "low", "high", "n")}
        known = {"control": control_kind(record.content), "status": "done", "record": str(record.folder)}
        rows.append(row | {"metric": name, **metric} | known)
        records.append(record)
    if PartialState().is_main_process:
        rows += mean_rows(rows, {str(record.folder): record for record in records})
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    if PartialState().is_main_process:
        write_tables(table, output)
    return Suite(table, records)


def mean_rows(rows: Sequence[Mapping[str, Any]], records: Mapping[str, Record]) -> Iterator[dict[str, Any]]:
    """A row of the mean over seeds for each model, task and setting that was run with several."""
    runs: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["status"] == "done":
            runs.setdefault((row["model"], row["task"], row["setting"]), []).append(row)
    for names, own in runs.items():
        if len(own) < 2:
            continue
        name = own[0]["metric"]
        found = over_seeds([records[row["record"]] for row in own]).get(name)
        if found is not None:
            ends = {key: found[key] for key in ("value", "low", "high", "n")}
            about = dict(zip(("model", "task", "setting"), names, strict=True)) | {"control": own[0]["control"]}
            yield about | {"metric": name, **ends, "status": f"mean of {len(own)} seeds"}


def specifications(
    models: Sequence[str],
    tasks: str | Sequence[str] | Mapping[str, Mapping[str, Any] | None],
    settings: Sequence[str] | None,
    seeds: Sequence[int],
    arguments: Mapping[str, Any],
) -> Iterator[RunSpec]:
    """The runs of a suite, model by model."""
    check_shape(models, tasks, settings, seeds)
    names = dart_eval_tasks() if tasks == "all" else [tasks] if isinstance(tasks, str) else list(tasks)
    own = {name: dict((tasks.get(name) if isinstance(tasks, Mapping) else None) or {}) for name in names}
    inputs = {name: set(task_named(name).inputs) for name in names}
    all_inputs = set().union(*inputs.values())
    unused = {name for task in TASKS.values() for name in task.inputs} - all_inputs
    if given := sorted(unused & arguments.keys()):
        raise InputError(f"none of the tasks {', '.join(names)} takes {given[0]}")
    for model in models:
        for name in names:
            chosen = {key: value for key, value in arguments.items() if key in inputs[name] or key not in all_inputs}
            chosen |= own[name] | {"model": model, "task": name}
            for setting in chosen_settings(name, chosen.pop("settings", settings)):
                varies = setting in SUPERVISED or split_spec(model)[0] == "random"
                for seed in seeds if varies else seeds[:1]:
                    yield RunSpec.of({**chosen, "setting": setting, "seed": seed if varies else 0})


def check_shape(models: Any, tasks: Any, settings: Any, seeds: Any) -> None:
    """Raise InputError naming what is not of the type that a suite has it in."""
    texts = {
        "models": models,
        "tasks": [tasks] if isinstance(tasks, str) else tasks,
        "settings": [] if settings is None else settings,
    }
    for name, own in texts.items():
        if not isinstance(own, list | tuple | dict) or not all(isinstance(text, str) for text in own):
            raise InputError(f"{name} is {shown(own)}, but should be a list of names")
    if isinstance(tasks, Mapping) and not all(own is None or isinstance(own, Mapping) for own in tasks.values()):
        raise InputError(f"tasks is {shown(tasks)}, but each task should have a mapping of its arguments")
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise InputError(f"seeds is {shown(seeds)}, but should be a list of whole numbers")


def chosen_settings(task: str, settings: Sequence[str] | None) -> list[str]:
    """Those of the settings that a task has; of None, its first.

    Raises:
        InputError: naming a setting that no task has.
    """
    known = task_named(task).settings
    for setting in settings or ():
        if not any(setting in other.settings for other in TASKS.values()):
            raise InputError(f"no task has a setting {setting}")
    return list(known)[:1] if settings is None else [setting for setting in settings if setting in known]


def read_suite(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of [`evaluate_suite`] from a YAML file.

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("models"), list):
        raise InputError(f"{path}: a suite must be a mapping with a list of models")
    if odd := [name for name in content if not isinstance(name, str)]:
        raise InputError(f"{path}: {odd[0]!r} is not an argument of a suite")
    if not isinstance(content.get("seeds", []), list) or not isinstance(content.get("output", ""), str):
        raise InputError(f"{path}: seeds must be a list of whole numbers, and output the name of a folder")
    return content


def write_tables(table: pa.Table, output: Path) -> None:
    """suite.csv and suite.parquet."""
    output.mkdir(parents=True, exist_ok=True)
    with replacing(output / "suite.parquet") as unfinished:
        pq.write_table(table, unfinished)
    with replacing(output / "suite.csv") as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table.column_names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
