"""`dart-eval suite`: many models, tasks, settings and seeds in one run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trainer_scripts.cli.app import result
from trainer_scripts.cli.options import BatchSize, Device


def suite(
    config: Annotated[Path, typer.Option(help="YAML of models, tasks, settings, seeds and arguments of run")],
    tasks: Annotated[list[str] | None, typer.Option(help="in place of the file's; all: those of DART-Eval")] = None,
    output: Annotated[Path | None, typer.Option(help="folder of records and of the table")] = None,
    batch_size: BatchSize = None,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace records, and start anew")] = False,
) -> None:
    """Run models on tasks. What is recorded already is read; a run that fails does not stop the others.

    Writes suite.csv and suite.parquet beside the records. The exit status is 1 if a run failed.

    dart-eval suite --config suite.yaml --output results
    """
    from evaluation_dart.suite import evaluate_suite, read_suite

    arguments: dict[str, Any] = read_suite(config)
    given = {"output": output, "batch_size": batch_size, "device": device, "overwrite": overwrite or None}
    arguments |= {name: value for name, value in given.items() if value is not None}
    if tasks:
        own = arguments.get("tasks", "all")
        chosen = (
            "all" if tasks == ["all"] else {name: own.get(name) if isinstance(own, dict) else None for name in tasks}
        )
        arguments["tasks"] = chosen
    done = evaluate_suite(**arguments)
    rows = done.table.to_pylist()
    lines = [
        f"{row['model']}  {row['task']}  {row['setting']}  {which(row)}  {row['metric']} {shown(row)}"
        for row in rows
        if row["metric"]
    ]
    lines += [f"failed: {line}" for line in done.failures]
    result(rows, "\n".join(lines))
    if done.failures:
        raise typer.Exit(1)


def which(row: dict[str, Any]) -> str:
    """The run's seed, or of how many seeds it is the mean."""
    return f"seed {row['seed']}" if row["record"] else str(row["status"])


def shown(row: dict[str, Any]) -> str:
    """A value with its interval."""
    from evaluation_dart.statistics.metric import ends_text

    return f"{row['value']:.4g}{ends_text(row, '.4g')}"
