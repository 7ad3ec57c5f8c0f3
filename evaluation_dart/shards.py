"""Rows scored in shards, each a Parquet file that is there when it is whole: a run that was killed goes on from them.

A shard's name is its first row and the digest of its bytes; its schema says which rows of which run it holds. One that
was cut short, changed or moved to another's place is noticed, and scored again.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.outputs import digest_of, sweep_folder
from evaluation_dart.training.accelerators import DONE, in_first_process, progress_bar

PLACE = b"rows of run"  # metadata of a shard's schema
# How tables of rows are joined: a column that has only nulls in some of them is of the type that the others give it
NULLS: Literal["default"] = "default"
SECONDS_TO_APPEAR = 90  # of files of other machines: NFS looks at a folder anew once a minute
TOKENS_IN_PART = 1 << 21  # about a minute of a small model on two cores


class Stages(NamedTuple):
    """Work on rows in two stages: what is read for the next rows is read in a thread beside the work on these.

    Attributes:
        read: what is needed of a range of rows; later ranges after earlier ones, from one thread.
        work: the columns of a range, from what was read.
    """

    read: Callable[[range], Any]
    work: Callable[[range, Any], dict[str, Any]]


class Share(NamedTuple):
    """What one of many jobs does that have a folder of shards in common, and know nothing else of each other.

    Attributes:
        number: of the job, from 1. of: jobs. A job has every `of`-th shard, from its number on.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


Score = Callable[[range], dict[str, Any]] | Stages


def one_after_another(score: Score, parts: Sequence[range]) -> Iterator[Callable[[], dict[str, Any]]]:
    """For each part in turn a function that gives its columns; of stages, the next part is being read meanwhile."""
    if not isinstance(score, Stages):
        for part in parts:
            yield partial(score, part)
        return
    with ThreadPoolExecutor(1) as reader:
        coming = None
        for number, part in enumerate(parts):
            read = (coming or reader.submit(score.read, part)).result()
            following = parts[number + 1 : number + 2]
            coming = reader.submit(score.read, following[0]) if following else None
            yield partial(score.work, part, read)


def part_rows(most: int, tokens: float, step: int = 1) -> int:
    """Rows of a part of about a minute, `most` at most: whole steps, if there is time for one.

    Args:
        tokens: that a model reads for a row, in all its passes.
    """
    rows = max(1, min(most, int(TOKENS_IN_PART // max(tokens, 1))))
    return rows - rows % step if rows > step else rows


def shards_of(folder: Path) -> list[Path]:
    """The shards in a folder, in the order of their rows."""
    return sorted(folder.glob("[0-9]*-*.parquet"))


def read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The rows of a shard."""
    return pq.read_table(path, columns=columns).replace_schema_metadata(None)


def score_in_shards(
    prepare: Callable[[], Score],
    rows: int,
    folder: Path,
    shard_rows: int,
    identity: str,
    step: int | None = None,
    passes: int | None = None,
    unit: str = "rows",
    share: Share | None = None,
) -> int:
    """Score this process's shards of `rows` rows that are missing; returns the number of rows scored now.

    A shard is `shard_rows` rows of predictions. It appears under its name when it is whole. `prepare` is called only
    if there is something to score, and its function is given `step` rows at once.

    Args:
        identity: of the run: shards of another one are removed.
        passes: about how many rows go through a model for all `rows`, to show the progress; `unit`: what they are.
        share: of one of several jobs; nothing is removed then, as others are at work in the folder.
    """
    state = PartialState()
    shards = steps_of(range(rows), shard_rows)
    if share is not None:
        shards = shards[share.number - 1 :: share.of]

    def look() -> set[int]:
        folder.mkdir(parents=True, exist_ok=True)
        if share is not None:
            return {own.start for own in whole_shards(folder, shards, identity)}
        sweep_folder(folder)
        for path in folder.glob(f"{DONE}*"):
            path.unlink()
        remove_unfit(folder, shards, identity)
        return {first_row(path) for path in shards_of(folder)}

    there = in_first_process(look)  # so that all share out the same list
    missing = [own for own in shards if own.start not in there]
    mine = missing[state.process_index :: state.num_processes]
    if not mine:
        return 0
    pieces = {own.start: steps_of(own, step or shard_rows) for own in mine}
    score = one_after_another(prepare(), [part for own in mine for part in pieces[own.start]])
    total = sum(map(len, missing))
    passes = None if passes is None else round(passes * total / rows)
    shared = folder if share is None else None
    with progress_bar("scoring", total, unit, passes=passes, shared=shared) as progress:
        for shard in mine:
            parts = []
            for part in pieces[shard.start]:
                with progress.step(len(part)):
                    parts.append(pa.table(next(score)()))
            write_shard(folder, shard, pa.concat_tables(parts, promote_options=NULLS), identity)
    return sum(map(len, mine))


def all_shards(folder: Path, rows: int, shard_rows: int) -> list[Path]:
    """The shards of all rows, in order. What other machines wrote may take a while to be seen.

    Raises:
        InputError: naming the folder, where some are missing.
    """
    wanted = {own.start for own in steps_of(range(rows), shard_rows)}
    last = time.monotonic() + (SECONDS_TO_APPEAR if PartialState().num_processes > 1 else 0)
    while True:
        found = shards_of(folder)
        if wanted == set(map(first_row, found)):
            return found
        if time.monotonic() >= last:
            raise InputError(f"{folder}: has {len(found)} of {len(wanted)} parts of the work; run it again")
        time.sleep(1)


def whole_shards(folder: Path, shards: Sequence[range], identity: str) -> list[range]:
    """Those of the shards of a run that are in a folder, whole."""
    first = {first_row(path): path for path in shards_of(folder)}
    return [own for own in shards if own.start in first and fits(first[own.start], own, identity)]


def steps_of(rows: range, step: int) -> list[range]:
    """Rows, `step` at a time: all as shards, or those of a shard as they are scored."""
    return [range(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]


def write_shard(folder: Path, rows: range, table: pa.Table, identity: str) -> None:
    """Write a shard: whole, on the disk, or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({PLACE: place(rows, identity)}), sink)
    whole = sink.getvalue()
    with replacing(folder / f"{rows.start:010d}-{hashlib.sha256(whole).hexdigest()[:16]}.parquet") as unfinished:
        unfinished.write_bytes(whole)


def remove_unfit(folder: Path, shards: list[range], identity: str) -> None:
    """Remove what is not a whole shard of this run in its own place."""
    wanted, seen = {own.start: own for own in shards}, set[int]()
    for path in shards_of(folder):
        first = first_row(path)
        if first not in seen and first in wanted and fits(path, wanted[first], identity):
            seen.add(first)
        else:
            path.unlink()


def fits(path: Path, rows: range, identity: str) -> bool:
    """Whether a shard has the bytes of its name and the rows of its place."""
    if digest_of(path)[:16] != path.stem.partition("-")[2]:
        return False
    return bool((pq.read_schema(path).metadata or {}).get(PLACE) == place(rows, identity))


def place(rows: range, identity: str) -> bytes:
    """What a shard says of itself."""
    return f"{rows.start} to {rows.stop} of {identity}".encode()


def first_row(path: Path) -> int:
    """The first row of a shard, by its name."""
    digits = path.name.partition("-")[0]
    return int(digits) if digits.isdecimal() else -1
