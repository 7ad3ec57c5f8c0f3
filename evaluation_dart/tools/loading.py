"""What the tools are given: models by name or as objects, and tables in memory in place of files."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from transformers.utils import logging

from datasets_dart.errors import InputError
from datasets_dart.files import sha256
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.records import model_id
from evaluation_dart.scoring.alleles import load_head

VARIANT_COLUMNS = {
    "chrom": ("chrom", "#chrom", "chr", "contig"),
    "position": ("position", "pos"),
    "id": ("id",),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternative"),
}
REGION_COLUMNS = {
    "chrom": ("chrom", "#chrom", "chr", "contig"),
    "start": ("start",),
    "end": ("end",),
    "name": ("name",),
}
OPTIONAL = ("id", "name")
VCF_HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"

# A path, a pandas or polars frame, or a pyarrow.Table
Table = Any
# A Hub id, a folder, markov:FILE, or a scorer in memory
Model = Any


def load(
    model: Model,
    kind: str = "likelihood",
    *,
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """A scorer, and what a file says of it.

    Args:
        model: see [`Model`]; a scorer is taken as it is.
        kind: what is needed of it: "likelihood", "embedding", or "head", a trained head.

    Raises:
        InputError: if the model cannot do that. OSError: if there is no such model.
    """
    if not isinstance(model, str | os.PathLike):
        return model, described(model, getattr(model, "name", type(model).__name__))
    name = os.fspath(model)
    if name.startswith("markov:"):
        if kind != "likelihood":
            raise InputError(f"{name}: a Markov model has likelihoods only")
        path = Path(name.removeprefix("markov:"))
        markov = MarkovModel.load(path)
        file = f"local/{path.name.partition('.')[0]}-order-{markov.order}"
        return markov, {"id": file, "revision": sha256(path.resolve())[:12]}
    register_models()
    options: dict[str, Any] = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of a second's work
    try:
        if kind == "head":
            scorer = load_head(name, dtype=dtype, **options)
        else:
            scorer = load_language_model(name, dtype=dtype, head=kind == "likelihood", **options)
    finally:
        if bars:
            logging.enable_progress_bar()
    return scorer, described(scorer, model_id(name)) | {"dtype": dtype}


def register_models() -> None:
    """Let packages register their model types with transformers' Auto classes."""
    for entry in entry_points(group="hyenadna_dart.models"):
        entry.load()


def described(scorer: Any, name: str) -> dict[str, Any]:
    """What a file says of a model: id, revision and, where it has them, parameters."""
    found = {"id": name, "revision": getattr(scorer, "revision", "in memory")}
    parameters = getattr(scorer, "num_parameters", None)
    return found if parameters is None else found | {"parameters": parameters}


def rows_at_once(batch_size: int | str, scorer: Any) -> int:
    """Rows in a forward pass; "auto" is 64 on a GPU, and 16 on a CPU, in whose cache their activations stay."""
    if batch_size != "auto":
        return int(batch_size)
    return 64 if hasattr(scorer, "device") and scorer.device.type != "cpu" else 16


@contextmanager
def as_file(table: Table, columns: dict[str, tuple[str, ...]], name: str) -> Iterator[Path]:
    """A path as it is; of a table in memory, a temporary VCF or BED file called `name`.

    Args:
        columns: [`VARIANT_COLUMNS`] or [`REGION_COLUMNS`]: what a column may be called, in any case.

    Raises:
        InputError: if the table lacks a column.
    """
    if isinstance(table, str | os.PathLike):
        yield Path(table)
        return
    if not isinstance(table, pa.Table):
        table = table.to_arrow() if hasattr(table, "to_arrow") else pa.Table.from_pandas(table, preserve_index=False)
    there = {column.lower(): table[column].to_pylist() for column in table.column_names}
    found: list[Sequence[Any]] = []
    for column, names in columns.items():
        known = [there[other] for other in names if other in there]
        if not known and column not in OPTIONAL:
            raise InputError(f"the table has no column {column!r} among {', '.join(table.column_names)}")
        if known or columns is VARIANT_COLUMNS:
            found.append(known[0] if known else ["."] * table.num_rows)
    vcf = columns is VARIANT_COLUMNS
    ending = "\t.\t.\t.\n" if vcf else "\n"
    lines = [
        "\t".join("." if value is None else str(value) for value in row) + ending for row in zip(*found, strict=True)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text((VCF_HEADER if vcf else "") + "".join(lines))
        yield path


def described_inputs(**paths: Any) -> dict[str, str]:
    """`name: file name, SHA-256` of each input file; of several files of one name, all; of None, nothing."""

    def describe(value: Any) -> str:
        if value == "paper":
            return "paper"
        if isinstance(value, dict):
            return ", ".join(f"{name}={describe(path)}" for name, path in sorted(value.items()))
        if isinstance(value, list):
            return ", ".join(map(describe, value))
        return f"{Path(value).name} sha256:{sha256(Path(value).resolve())}"

    return {name: describe(value) for name, value in paths.items() if value is not None}
