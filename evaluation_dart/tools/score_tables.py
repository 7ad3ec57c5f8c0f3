"""Tables of scored variants, as `score_variants` makes them: read again, and looked up by variant."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from datasets_dart.errors import InputError
from datasets_dart.files import input_file, replacing
from datasets_dart.formats.tables import read_whole
from datasets_dart.outputs import check_output, described, made
from evaluation_dart.tools.loading import Table

VARIANT = ("chrom", "position", "ref", "alt")
SUFFIXES = (".parquet", ".tsv")


def scores_of(table: Table, column: str = "score") -> pa.Table:
    """A table of scores: a path (.parquet, .tsv or .tsv.gz), a pyarrow.Table, or a pandas or polars frame.

    Raises:
        InputError: naming the file and a column that it lacks, or where it cannot be read.
    """
    name = os.fspath(table) if isinstance(table, str | os.PathLike) else "the table"
    if isinstance(table, str | os.PathLike):
        found = read_whole(input_file(table))
    elif isinstance(table, pa.Table):
        found = table
    else:
        found = table.to_arrow() if hasattr(table, "to_arrow") else pa.Table.from_pandas(table, preserve_index=False)
    for needed in (*VARIANT, column):
        if needed not in found.column_names:
            raise InputError(f"{name}: has no column {needed!r} among {', '.join(found.column_names)}")
    for own, kind in ((column, pa.float64()), ("position", pa.int64())):
        values = found[own]
        try:
            if pa.types.is_string(values.type):
                values = pa.chunked_array(
                    [pc.if_else(pc.equal(values.combine_chunks(), ""), None, values.combine_chunks())]
                )
            found = found.set_column(found.column_names.index(own), own, values.cast(kind))
        except pa.ArrowException:
            raise InputError(f"{name}: column {own!r} does not hold numbers") from None
    for own in ("chrom", "ref", "alt"):
        found = found.set_column(found.column_names.index(own), own, found[own].cast(pa.string()))
    return found


def as_floats(table: pa.Table, column: str) -> np.ndarray:
    """(n,) float64, NaN for what is missing."""
    return np.asarray(table[column].to_numpy(zero_copy_only=False), dtype=np.float64)


def keys_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Contig, position and alleles of each row."""
    return list(zip(*(table[name].to_pylist() for name in VARIANT), strict=True))


def written(
    output: str | Path | None, table: Callable[[], pa.Table], about: Mapping[str, Any], inputs: list[Any]
) -> pa.Table | dict[str, Any]:
    """The table; or, with an output, what its sidecar says, the table being written unless it already exists.

    Raises:
        InputError: for another ending than .parquet or .tsv.
    """
    if output is None:
        return table()
    target = Path(output)
    if target.suffix not in SUFFIXES:
        raise InputError(f"{target}: a table is written as {' or '.join(SUFFIXES)}")
    files = [Path(own) for own in inputs if isinstance(own, str | os.PathLike)]
    check_output(target, files)

    def write(path: Path) -> dict[str, Any]:
        found = table()
        with replacing(path) as temporary:
            if target.suffix == ".parquet":
                pq.write_table(found, temporary)
            else:
                options = pacsv.WriteOptions(delimiter="\t", quoting_style="none")
                pacsv.write_csv(found, str(temporary), options)
        return {"rows": found.num_rows}

    return dict(made(target, {**about, "inputs": [described(path) for path in files]}, write, files))
