"""`dart-eval suite`: many models, tasks, settings and seeds in one run, or the cells of a paper's tables."""

from pathlib import Path
from typing import Annotated, Any

import typer

from trainer_scripts.cli.options import BatchSize, Device
from trainer_scripts.messages import result, say


def suite(
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML of models, tasks, settings, seeds and arguments of run; of --paper: models, inputs, ..."
        ),
    ] = None,
    paper: Annotated[str | None, typer.Option(help="the cells of a paper's tables: dart-eval or hyenadna")] = None,
    inputs: Annotated[Path | None, typer.Option(help="of --paper: folder of its public inputs")] = None,
    figures: Annotated[
        str | None,
        typer.Option(help="png, svg, pdf, several as png,svg, or none; default: png,svg, of --paper png"),
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option(help="in place of the file's; all: those of DART-Eval")] = None,
    output: Annotated[Path | None, typer.Option(help="folder of records and of the table")] = None,
    batch_size: BatchSize = None,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace records, and start anew")] = False,
) -> None:
    """Run models on tasks. What is recorded already is read; a run that fails does not stop the others.

    Writes beside the records suite.csv and suite.parquet; report.md and report.tex, and pictures in figures/, as
    dart-eval report does. With --paper it runs what gives the cells of a paper's
    tables, and writes tables.md, tables.csv, tables.tex and figures: published beside measured. The exit status is 1 if
    a run failed.

    dart-eval suite --config suite.yaml --output results

    dart-eval suite --paper dart-eval --inputs data --output results
    """
    from datasets_dart.errors import InputError

    given = {"output": output, "batch_size": batch_size, "device": device, "overwrite": overwrite or None}
    given = {name: value for name, value in given.items() if value is not None}
    if paper is not None:
        if tasks:
            raise InputError("--tasks: the tasks of --paper are those of its tables")
        if paper == "hyenadna" and "batch_size" in given:
            raise InputError("--batch-size: HyenaDNA's cells are trainings, whose batches are those of the paper")
        paper_suite(paper, config, inputs, figures, given)
        return
    if config is None:
        raise InputError("a suite needs --config suite.yaml, or --paper for the tables of a paper")
    if inputs is not None:
        raise InputError("--inputs is for the tables of --paper; a suite of --config names its inputs there")
    config_suite(config, tasks, given, figures)


def config_suite(config: Path, tasks: list[str] | None, given: dict[str, Any], figures: str | None) -> None:
    """Run what a file says."""
    from evaluation_dart.report.figures import drawn_formats
    from evaluation_dart.report.summary import check_place, write_summary
    from evaluation_dart.suite import DEFAULT_OUTPUT, evaluate_suite, read_suite
    from evaluation_dart.training.accelerators import in_first_process

    arguments: dict[str, Any] = read_suite(config) | given
    if tasks:
        own = arguments.get("tasks", "all")
        chosen = (
            "all" if tasks == ["all"] else {name: own.get(name) if isinstance(own, dict) else None for name in tasks}
        )
        arguments["tasks"] = chosen
    output = Path(arguments.get("output", DEFAULT_OUTPUT))
    endings, none_drawn = drawn_formats(None if figures is None else endings_of(figures))
    check_place(output)
    done = evaluate_suite(**arguments)
    if done.records:
        for line in in_first_process(lambda: write_summary(done.records, output, endings)) + none_drawn:
            say(line)
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


def paper_suite(
    name: str, config: Path | None, inputs: Path | None, figures: str | None, given: dict[str, Any]
) -> None:
    """Run what there is for the cells of a paper's tables."""
    from datasets_dart.errors import InputError
    from evaluation_dart.papers.plan import failures, plan_of, read_plan
    from evaluation_dart.papers.tables import read_paper
    from evaluation_dart.report.figures import drawn_formats
    from evaluation_dart.report.papers import counts, paper_rows, write_paper

    paper, content = read_paper(name), {} if config is None else read_plan(config)
    if inputs is not None and not inputs.is_dir():
        raise InputError(f"{inputs}: is not a folder of inputs")
    output = given.pop("output", None) or content.get("output") or f"results/{name}"
    arguments = (content.get("arguments") or {}) | given
    inputs_from, measure = programs(name)
    protocol = {"protocol": arguments["protocol"]} if "protocol" in arguments and name == "dart-eval" else {}
    source = None if inputs is None else lambda data: inputs_from(inputs, data, **protocol)
    plan = plan_of(paper, {**content, "arguments": arguments}, source, output)
    endings, none_drawn = drawn_formats(None if figures is None else endings_of(figures), default=(".png",))
    measured = measure(paper, plan)
    rows = paper_rows(paper, measured)
    written = write_paper(paper, rows, plan.output, endings)
    for line in none_drawn:
        say(line)
    failed = failures(measured)
    lines = [f"{paper.name}: {counts(rows)}", *(f"failed: {reason}" for reason in failed), *map(str, written)]
    result(rows, "\n".join(lines))
    if failed:
        raise typer.Exit(1)


def programs(name: str) -> tuple[Any, Any]:
    """What finds a paper's inputs in a folder, and what measures its cells."""
    if name == "dart-eval":
        from evaluation_dart.papers.dart_eval import inputs_from, measure_dart_eval

        return inputs_from, measure_dart_eval
    from trainer_scripts import paper_cells

    return paper_cells.inputs_from, paper_cells.measure_hyenadna


def endings_of(figures: str) -> tuple[str, ...]:
    """The endings of files that are named as in png,svg; none of "none"."""
    return () if figures == "none" else tuple(f".{own.strip()}" for own in figures.split(","))


def which(row: dict[str, Any]) -> str:
    """The run's seed, or of how many seeds it is the mean."""
    return f"seed {row['seed']}" if row["record"] else str(row["status"])


def shown(row: dict[str, Any]) -> str:
    """A value with its interval."""
    from evaluation_dart.statistics.metric import ends_text

    return f"{row['value']:.4g}{ends_text(row, '.4g')}"
