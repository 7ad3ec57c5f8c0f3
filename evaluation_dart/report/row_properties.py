"""What is known of a record's rows beside its predictions: columns of a table, GC content, share of repeats."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets_dart import BUILDERS
from datasets_dart.alphabet import letter_shares
from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.tables import read_whole
from evaluation_dart.records import Record, row_keys, row_names

GC, REPEAT = "gc", "repeat"  # shares of G and C among the known bases, and of lower case among all
COMPUTED = (GC, REPEAT)
SEQUENCES = ("sequence", "sequence1")  # columns of a dataset that hold a row's sequence


def row_property(
    record: Record,
    predictions: pa.Table,
    column: str,
    table: str | os.PathLike[str] | None = None,
    genome: str | os.PathLike[str] | None = None,
    on: Sequence[str] | None = None,
) -> pa.Array:
    """A value for each row of a record's predictions, null where there is none.

    Args:
        column: of `table`, else of the predictions; "gc" or "repeat" are computed, where neither has such a column:
            from the genome, else from the sequences of `table`.
        table: TSV, CSV or Parquet, or a folder of Parquet files such as a prepared dataset.
        genome: FASTA; "repeat" takes its lower-case bases for repeats. on: columns of `table` that name a row; by
            default those that name a row of the task.

    Raises:
        InputError: for a column that there is not, rows that occur twice in the table, or no row in common.
    """
    keys = tuple(on or row_keys(record.content))
    given = None if table is None else read_rows(table)
    if given is not None and column in given.column_names:
        return joined(predictions, given, keys, column, table)
    if column in predictions.column_names:
        return predictions[column].combine_chunks()
    if column in COMPUTED and genome is not None:
        return pa.array(of_genome(record, predictions, column, genome), from_pandas=True)
    if column in COMPUTED and given is not None:
        return joined(predictions, with_shares(given, column, table), keys, column, table)
    places = "the predictions" if table is None else f"{table} or the predictions"
    more = "; gc and repeat are computed where a genome or a table of sequences is given" if column in COMPUTED else ""
    raise InputError(f"{record.folder}: no column {column!r} in {places}{more}")


def read_rows(path: str | os.PathLike[str]) -> pa.Table:
    """A table of text or Parquet, or all Parquet files below a folder."""
    if not Path(path).is_dir():
        return read_whole(input_file(path))
    files = sorted(Path(path).rglob("*.parquet"))
    if not files:
        raise InputError(f"{path}: no Parquet files in it")
    try:
        return pa.concat_tables([pq.read_table(file) for file in files], promote_options="default")
    except pa.ArrowException as error:
        raise InputError(f"{path}: its Parquet files have different columns: {error}") from None


def joined(
    predictions: pa.Table,
    table: pa.Table,
    keys: Sequence[str],
    column: str,
    where: str | os.PathLike[str] | None,
) -> pa.Array:
    """The column's value in the row of `table` with the same keys, or null."""
    for source, own in ((where, table), ("the predictions", predictions)):
        if absent := [name for name in keys if name not in own.column_names]:
            there = ", ".join(own.column_names)
            raise InputError(f"{source}: no column {absent[0]!r}, by which rows are found; there are {there}")
    names = row_names(table, keys)
    order = np.argsort(names, kind="stable")
    twice = np.flatnonzero(names[order][1:] == names[order][:-1])
    if len(twice):
        row = ", ".join(f"{key} {table[key][int(order[twice[0]])]}" for key in keys)
        raise InputError(f"{where}: {row} occurs more than once")
    wanted = row_names(predictions, keys)
    place = np.searchsorted(names[order], wanted).clip(max=max(len(names) - 1, 0))
    found = names[order][place] == wanted if len(names) else np.zeros(len(wanted), bool)
    if not found.any():
        example = ", ".join(f"{key} {predictions[key][0]}" for key in keys)
        raise InputError(f"{where}: has none of the rows of the predictions, such as {example}")
    rows = pa.array(np.where(found, order[place], 0), mask=~found)
    return table[column].combine_chunks().take(rows)


def with_shares(table: pa.Table, column: str, where: str | os.PathLike[str] | None) -> pa.Table:
    """A table of sequences with the column "gc" or "repeat".

    Raises:
        InputError: where it has no sequences, or no repeats are marked in them.
    """
    name = next((name for name in SEQUENCES if name in table.column_names), None)
    if name is None:
        raise InputError(f"{where}: neither a column {column!r} nor a column of sequences ({', '.join(SEQUENCES)})")
    shares = np.array([share(text or "", column) for text in table[name].to_pylist()])
    if column == REPEAT and not np.nansum(shares):
        raise InputError(f"{where}: no base is in lower case, so that repeats are not marked; a genome may have them")
    return table.append_column(column, pa.array(shares, from_pandas=True))


def share(sequence: str, of: str) -> float:
    """Of G and C among the known bases, or of lower case among all; NaN where there are none."""
    lower, _, strong = letter_shares(sequence)
    return lower if of == REPEAT else strong


def of_genome(record: Record, predictions: pa.Table, column: str, path: str | os.PathLike[str]) -> np.ndarray:
    """(n,) shares of the windows that the rows are of, as far as the genome has them; NaN where it does not.

    Raises:
        InputError: where the record does not say where rows lie, or the genome has none of their contigs or marks no
            repeats.
    """
    chrom, start, width = windows(record, predictions)
    genome = open_genome(path)
    shares = np.full(len(chrom), np.nan)
    contigs = {name: find_contig(name, genome.contigs) for name in set(chrom)}
    for row, (name, first) in enumerate(zip(chrom, start.tolist(), strict=True)):
        own = contigs[name]
        if own is not None:
            low, high = max(0, first), min(first + width, genome.contigs[own])
            if low < high:
                shares[row] = share(genome.fetch(own, low, high, keep_case=True), column)
    if np.isnan(shares).all():
        raise InputError(f"{path}: has none of the rows of {record.folder}, such as {chrom[0]}:{start[0]}")
    if column == REPEAT and not np.nansum(shares):
        raise InputError(f"{path}: no base of the rows is in lower case, so that repeats are not marked")
    return shares


def windows(record: Record, predictions: pa.Table) -> tuple[list[str], np.ndarray, int]:
    """Contig and start of the window of each row, and the windows' width: what the model was given."""
    position = "position" if "position" in predictions.column_names else "start"
    names = [name for name in ("chrom", position) if name in predictions.column_names]
    if record.kind != "task" or len(names) < 2 or any(predictions[name].null_count for name in names):
        raise InputError(f"{record.folder}: does not say where its rows lie; give a table of their sequences")
    options = BUILDERS[record.task].BUILDER_CONFIG_CLASS.inputs()
    whole = options["window"].default if "window" in options else record.recipe.get("window")
    if whole is None:
        raise InputError(f"{record.folder}: its rows have windows of several lengths; give a table of their sequences")
    width = record.recipe.get("window") or whole
    start = predictions[position].to_numpy().astype(np.int64)
    if position == "position":  # 1-based, at index whole // 2 of the window
        start = start - 1 - whole // 2
    return predictions["chrom"].to_pylist(), start + (whole - width) // 2, width


def is_number(values: pa.Array) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(values.type) or pa.types.is_floating(values.type))


def as_floats(values: pa.Array) -> np.ndarray:
    """(n,) float64, NaN where there is no value."""
    return np.asarray(pc.cast(values, pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False))
