"""What the tools are given: models by name or as objects, and tables in memory in place of files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from transformers import AutoConfig

from datasets_dart.errors import InputError
from datasets_dart.formats.text import UNPRINTABLE
from evaluation_dart.models.checkpoints import DAMAGED_FILES, check_reachable, register_models
from evaluation_dart.models.kinds import split_spec
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.recipes import ANY_ALLELES, HEAD
from evaluation_dart.training.finetuning import load_classifier

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
WHOLE = ("position", "start", "end")
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
) -> Any:
    """A scorer.

    Args:
        model: see [`Model`]; a scorer is taken as it is.
        kind: what is needed of it: "likelihood", "embedding", or "head", a trained head.

    Raises:
        InputError: if the model cannot do that. OSError: if there is no such model.
    """
    if not isinstance(model, str | os.PathLike):
        return model
    if kind == "head":
        return load_classifier(model, None, revision, device, trust_remote_code, dtype=dtype)
    return load_scorer(
        os.fspath(model),
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        head=kind == "likelihood",
    )


def default_recipe(model: Model, revision: str | None, trust_remote_code: bool) -> str:
    """The recipe of tools that take any variants: head of a model with a trained one, otherwise whole-alleles."""
    return HEAD if has_head(model, revision, trust_remote_code) else ANY_ALLELES


def has_head(model: Model, revision: str | None, trust_remote_code: bool) -> bool:
    """Whether a model was saved with a trained head for sequences.

    Raises:
        OSError: if it is on the Hub, and that cannot be asked.
    """
    if not isinstance(model, str | os.PathLike):
        return type(getattr(model, "model", None)).__name__.endswith("ForSequenceClassification")
    name = os.fspath(model)
    if split_spec(name)[0] or (not Path(name).is_dir() and name.startswith(("/", ".", "~"))):
        return False
    register_models()
    check_reachable(name, revision)
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, RuntimeError, ValueError, *DAMAGED_FILES):
        return False  # for the loading to explain
    return any("ForSequenceClassification" in saved for saved in config.architectures or [])


def paths_of(*given: Any) -> list[str | os.PathLike[str]]:
    """What of some inputs are files or folders here; a model's kind, as in markov:FILE, is left away."""
    paths: list[str | os.PathLike[str]] = []
    for own in given:
        if isinstance(own, str):
            paths += [own, own.partition(":")[2] or own]
        elif isinstance(own, os.PathLike):
            paths.append(own)
    return paths


@contextmanager
def as_file(table: Table, columns: dict[str, tuple[str, ...]], name: str) -> Iterator[Path]:
    """A path as it is; of a table in memory, a temporary VCF or BED file called `name`.

    Args:
        columns: [`VARIANT_COLUMNS`] or [`REGION_COLUMNS`]: what a column may be called, in any case.

    Raises:
        InputError: if the table lacks a column or has two of one meaning, and naming the row of a value that cannot be.
    """
    if isinstance(table, str | os.PathLike):
        yield Path(table)
        return
    if not isinstance(table, pa.Table):
        table = table.to_arrow() if hasattr(table, "to_arrow") else pa.Table.from_pandas(table, preserve_index=False)
    found: list[list[str]] = []
    for column, names in columns.items():
        known = [other for other in table.column_names if other.lower() in names]
        if not known and column not in OPTIONAL:
            raise InputError(f"the table has no column {column!r} among {', '.join(table.column_names)}")
        if len(known) > 1:
            raise InputError(f"the table has several columns that may be its {column}: {', '.join(known)}")
        if known:
            values = table[known[0]].to_pylist()
            found.append([_cell(value, row, known[0], column in WHOLE) for row, value in enumerate(values)])
        elif column == "id":
            found.append(["."] * table.num_rows)
    start, ending = (VCF_HEADER, "\t.\t.\t.\n") if columns is VARIANT_COLUMNS else ("", "\n")
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(start + "".join("\t".join(row) + ending for row in zip(*found, strict=True)))
        yield path


def _cell(value: Any, row: int, column: str, whole: bool) -> str:
    """A value as text; a whole number in a column of numbers with missing ones is a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "." if value is None else str(value)
    if whole and not text.isdecimal():
        raise InputError(f"row {row} of the table: {column} is {text!r}, not a whole number >= 0")
    if UNPRINTABLE.search(text):
        raise InputError(f"the table has {text!r}: a name or an allele with a tab, a line end or the like")
    return text
