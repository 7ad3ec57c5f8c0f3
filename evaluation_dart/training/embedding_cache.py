"""Embeddings of a split on disk, in half precision, for a probe that is trained for many epochs.

A folder of shards, `{first row}-{checksum}.safetensors`, each of which appears under its name when it is whole, and
`cache.json`, which says what they are of. One shard holds `embeddings` (tokens, C) float16 of its sequences one after
the other, `ends` (n x members), where each ends, and `tokens` (n x members, L) int32, which token covers each base.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from datasets_dart.errors import InputError
from datasets_dart.files import sha256, write_text
from datasets_dart.formats.documents import read_json
from datasets_dart.outputs import LOCK, locked
from datasets_dart.progress import passed
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.training.accelerators import check_common, in_first_process, progress_bar
from evaluation_dart.training.probing import Embedder

ABOUT = "cache.json"
SHARD_ROWS = 256
SAMPLED = 64  # rows whose tokens are counted to say how large a cache will be
logger = logging.getLogger(__name__)


class EmbeddingCache:
    """Reads a finished cache: `cache[row]` gives (embeddings (T, C) float16, tokens (L,)) of each of a row's members.

    Raises:
        FileNotFoundError: if there is no cache. ValueError: if it is not finished, a shard is damaged, or it is of
            another hidden size than `channels`.
    """

    def __init__(self, folder: str | os.PathLike[str], channels: int | None = None):
        self.folder = Path(folder)
        self.about = _about(self.folder)
        if channels is not None and self.about["channels"] != channels:
            raise InputError(
                f"{self.folder}: embeddings of {self.about['channels']} channels, but the model has {channels}: "
                "the cache is of another model"
            )
        found = shards_of(self.folder)
        starts = range(0, self.about["rows"], self.about["shard_rows"])
        if missing := [start for start in starts if start not in found]:
            raise InputError(f"{self.folder}: the cache is not finished, rows from {missing[0]} are missing")
        self.paths = [found[start] for start in starts]
        for path in self.paths:
            if sha256(path)[:16] != path.stem.partition("-")[2]:
                raise InputError(f"{path}: damaged, its checksum is not that of its name; remove it and run again")
        self._open: dict[int, tuple[Any, list[int]]] = {}

    def __len__(self) -> int:
        return int(self.about["rows"])

    def __getitem__(self, row: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        number, place = divmod(row, self.about["shard_rows"])
        if number not in self._open:
            file: Any = safe_open(self.paths[number], framework="pt")
            self._open[number] = file, [0, *file.get_tensor("ends").tolist()]
        (shard, ends), members = self._open[number], self.about["members"]
        embeddings, tokens = shard.get_slice("embeddings"), shard.get_slice("tokens")
        own = range(place * members, (place + 1) * members)
        return [(embeddings[ends[i] : ends[i + 1]], tokens[i].long()) for i in own]


def stack(members: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch of sequences of one length in bases: embeddings (B, T, C) padded with 0, tokens (B, L)."""
    embeddings = torch.nn.utils.rnn.pad_sequence([embedding for embedding, _ in members], batch_first=True)
    return {"embeddings": embeddings, "tokens": torch.stack([tokens for _, tokens in members])}


def estimated_bytes(embedder: Embedder, rows: int, read: Callable[[Sequence[int]], list[str]]) -> int:
    """About how large a cache of `rows` rows will be: exactly, for tokenizers of a fixed number of tokens a base."""
    sample = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLED)).astype(int)).tolist()
    sequences = read(sample)
    tokens = [len(ids) for ids in embedder.model.tokenizer(sequences)["input_ids"]]
    size = 2 * embedder.channels() * sum(tokens) + 4 * sum(map(len, sequences)) + 8 * len(sequences)
    return round(rows / len(sample) * size)


def write_cache(
    folder: Path,
    embedder: Embedder,
    rows: int,
    read: Callable[[Sequence[int]], list[str]],
    described: Mapping[str, Any],
    *,
    members: int = 1,
    batch_size: int = 64,
    shard_rows: int = SHARD_ROWS,
) -> EmbeddingCache:
    """Embed rows that are not in the cache yet; the log says how large it will be before anything is written.

    Args:
        read: the sequences of rows, `members` each, one row's after another's.
        described: what the embeddings are of: model, its revision, layer, the rows' fingerprint.

    Raises:
        ValueError: if the folder holds a cache of something else, sequences are of several lengths, or the disk has
            not enough room.
        OSError: if writing fails; no part of the shard at hand is left then.
    """
    state = PartialState()
    check_common(folder)
    about = {
        **described,
        "rows": rows,
        "members": members,
        "channels": embedder.channels(),
        "shard_rows": shard_rows,
    }
    if (folder / ABOUT).is_file() and (existing := _about(folder)) != about:
        name = next(key for key in sorted(existing.keys() | about.keys()) if existing.get(key) != about.get(key))
        raise InputError(
            f"{folder} is the cache of something else: {name} is {existing.get(name)} there, {about.get(name)} here"
        )
    with ExitStack() as stack:
        in_first_process(lambda: hold_cache(stack, folder))
        missing = [start for start in range(0, rows, shard_rows) if start not in shards_of(folder)]
        state.wait_for_everyone()  # all have looked before one writes
        if missing:
            size = estimated_bytes(embedder, min(rows, len(missing) * shard_rows), read)
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if state.is_main_process:
                logger.info(
                    "embeddings in %s: about %.1f MB to write, %.0f MB are free", folder, size / 1e6, free / 1e6
                )
            if size > free:
                raise InputError(f"{folder}: about {size:,} bytes of embeddings do not fit, {free:,} bytes are free")
            if state.is_main_process:
                write_text(folder / ABOUT, json.dumps(about, indent=2) + "\n")
            mine = missing[state.process_index :: state.num_processes]
            total = sum(min(start + shard_rows, rows) - start for start in missing)
            with progress_bar("embedding", total, "sequences", passes=total, shared=folder) as bar:
                for start in mine:
                    shard = range(start, min(start + shard_rows, rows))
                    with bar.step(len(shard)):
                        _write_shard(folder, start, _embed(embedder, read(shard), batch_size, start))
        state.wait_for_everyone()
        return EmbeddingCache(folder, about["channels"])


def hold_cache(stack: ExitStack, folder: Path) -> None:
    """Hold a cache to the end of `stack`, and remove from it what is not whole."""
    stack.enter_context(locked(folder / LOCK, folder))
    for unfinished in folder.glob(".[0-9]*-*"):
        unfinished.unlink()
    for path in shards_of(folder).values():
        if sha256(path)[:16] != path.stem.partition("-")[2]:
            path.unlink()


def shards_of(folder: Path) -> dict[int, Path]:
    """First row -> file of the shards that are there."""
    return {int(path.stem.partition("-")[0]): path for path in folder.glob("[0-9]*-*.safetensors")}


def _embed(embedder: Embedder, sequences: Sequence[str], batch_size: int, start: int) -> dict[str, torch.Tensor]:
    hidden, tokens = [], []
    for first in range(0, len(sequences), batch_size):
        batch = sequences[first : first + batch_size]
        if len({*map(len, batch), len(sequences[0])}) > 1:
            raise InputError("a cache of embeddings needs sequences of one length")
        embeddings, covering = embedder.embed(batch)
        passed(len(batch))
        numbers = range(start + first, start + first + len(batch))
        check_finite(
            embeddings.float().cpu().numpy(),
            embedder.model.name,
            lambda row, numbers=numbers: f"row {numbers[row]} of the data set",  # type: ignore[misc]
        )
        lengths = [len(ids) for ids in embedder.model.tokenizer(list(batch))["input_ids"]]
        hidden += [own[:length].half().cpu() for own, length in zip(embeddings, lengths, strict=True)]
        tokens.append(covering.int().cpu())
    ends = torch.tensor([len(own) for own in hidden]).cumsum(0)
    return {"embeddings": torch.cat(hidden), "ends": ends, "tokens": torch.cat(tokens)}


def _write_shard(folder: Path, start: int, shard: dict[str, torch.Tensor]) -> None:
    if not torch.isfinite(shard["embeddings"]).all():
        raise InputError(f"{folder}: embeddings from row {start} on are beyond the range of half precision")
    unfinished = folder / f".{start:010d}-{os.getpid()}"
    try:
        save_file(shard, unfinished)
        os.replace(unfinished, folder / f"{start:010d}-{sha256(unfinished)[:16]}.safetensors")
    except SafetensorError as error:
        raise OSError(f"{folder}: the shard of row {start} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _about(folder: Path) -> dict[str, Any]:
    about = read_json(folder / ABOUT)
    if not isinstance(about, dict):
        raise InputError(f"{folder / ABOUT}: not what a cache of embeddings says of itself")
    return about
