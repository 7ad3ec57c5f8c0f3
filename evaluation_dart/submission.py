"""Results that others hand in: what may be in such a folder before anything in it is read."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datasets_dart.errors import InputError
from evaluation_dart.records import PREDICTIONS, RESULTS, read_record, record_folder, validate_record

LIMITS = {RESULTS: 1 << 20, PREDICTIONS: 256 << 20}  # bytes
MOST_ROWS, MOST_BYTES = 20_000_000, 4 << 30  # of predictions, read


def validate_submission(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a folder that lies at its place below `root`, holds a record alone, and follows from its
    predictions.

    Raises:
        FileNotFoundError, ValueError: naming the file and the reason why it is refused.
    """
    folder, root = Path(folder), Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{folder}: is not in {root}")
    for step in [folder, *folder.parents]:
        if step == root:
            break
        if step.is_symlink():
            raise InputError(f"{step}: is a link")
    for path in sorted(folder.iterdir()):
        if path.name not in LIMITS:
            raise InputError(f"{path}: a submission holds {' and '.join(LIMITS)} alone")
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: is not a plain file")
        if path.stat().st_size > LIMITS[path.name]:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes, more than {LIMITS[path.name]:,}")
    record = read_record(folder)
    _require_small(folder / PREDICTIONS)
    place = record_folder(root, record["model"]["id"], record["model"]["revision"], record["task"], record["setting"])
    if place.resolve() != folder.resolve():
        raise InputError(f"{folder}: a record of this model, task and setting belongs into {place}")
    return validate_record(folder)


def _require_small(path: Path) -> None:
    """Raise ValueError unless a Parquet file is small once read, by what its footer says."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        footer = pq.read_metadata(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a Parquet file: {error}") from None
    size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    if footer.num_rows > MOST_ROWS or size > MOST_BYTES:
        raise InputError(f"{path}: {footer.num_rows:,} rows of {size:,} bytes, too many to be read")
