"""Vectors of the regions of a BED file, in the file's order."""

import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_dart.alphabet import LETTERS, window_codes
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import input_file, replacing
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.vcf import genome_contig
from evaluation_dart.scoring.regions import RegionRecipe, chunk_length, embed_sequences
from evaluation_dart.tools.loading import REGION_COLUMNS, Model, Table, as_file, described_inputs, load, rows_at_once
from evaluation_dart.tools.parts import along, begin, complete, one_process
from evaluation_dart.training.accelerators import process_state

PART = 256
BASES_IN_PART = 1 << 21  # of vectors a base, so that a part fits into memory
ZARR_CHUNK = 4096  # bases
SUFFIXES = (".parquet", ".zarr")
STORED = ("float32", "float16")

log = logging.getLogger(__name__)


class Region(NamedTuple):
    """Bases [start, end) of a contig."""

    chrom: str  # as the genome names it
    start: int
    end: int
    name: str  # fourth column of the BED, or empty


class Regions(NamedTuple):
    """What a BED file holds."""

    number: int
    bases: int
    longest: int  # bp
    named: bool  # every row has a fourth column


def embed_regions(
    regions: Table,
    genome: str | Path,
    model: Model,
    *,
    output: str | Path | None = None,
    pooling: str = "mean",
    layer: int = -1,
    strand: str = "forward",
    chunk: int | None = None,
    stored_dtype: str = "float32",
    batch_size: int | str = "auto",
    part: int = PART,
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> pa.Table | dict[str, Any]:
    """Embed regions of a genome with a model, in the order of the regions.

    Args:
        regions: a BED file, plain, gzip or bgzip; or a pandas or polars frame or a pyarrow.Table with columns chrom,
            start, end (from 0, half-open) and perhaps name.
        genome: FASTA, plain, gzip or bgzip.
        model: a Hub id or folder of a model, with or without a language-model head; or a scorer in memory.
        output: .parquet, one vector a region; .zarr, one vector a base. A run that was killed goes on where it stopped
            when it is asked for again.
        pooling: over a region's tokens: mean, max or last; not for .zarr.
        layer: index into the hidden states; -1 is the last.
        strand: forward, reverse, or the mean of the vectors of both.
        chunk: bases read at once; None for what the model reads, 32,768 at most.
        stored_dtype: float32 or float16, of the vectors.
        batch_size: chunks in a forward pass. part: regions in a part, the most that a kill can cost.
        overwrite: start afresh, even if these vectors are there. quiet: no progress bar.

    Returns:
        A table with columns chrom, start, end, perhaps name, and embedding; with `output`, what OUTPUT.json says.

    Raises:
        InputError: naming file, line and value that cannot be used, or what the model cannot do.
        OSError: if there is no such file or model, or no room to write. MissingExtra: if zarr is not installed.
    """
    if stored_dtype not in STORED:
        raise InputError(f"stored_dtype {stored_dtype!r}: there are {', '.join(STORED)}")
    if output is None:
        one_process()
    suffix = ".parquet" if output is None else check_output(Path(output))
    state = process_state(device)
    with as_file(regions, REGION_COLUMNS, "regions.bed") as bed, TemporaryDirectory() as scratch:
        target = Path(scratch) / "embeddings.parquet" if output is None else Path(output)
        bases = open_genome(genome)
        found = checked(bed, bases)
        scorer, described = load(
            model,
            "embedding",
            revision=revision,
            device=device or state.device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        pooled = pooling if suffix == ".parquet" else None
        recipe = RegionRecipe(pooled, layer, strand, chunk or chunk_length(scorer)).checked()
        scorer.encode(["A" * min(recipe.chunk, found.longest)])  # refuses what is too long
        about = {
            "model": described,
            "recipe": recipe._asdict() | {"stored": stored_dtype},
            "inputs": described_inputs(bed=bed, fasta=Path(genome)),
        }
        if pooled is None:
            part = max(1, min(part, BASES_IN_PART // found.longest))
        work = begin(target, about, part, overwrite)
        if isinstance(work, dict):
            if state.is_main_process:
                log.info("%s: these embeddings are there already", output)
            return work
        if state.is_main_process:
            longest = f"the longest {found.longest:,}"
            log.info("%s regions, %s bases, %s", f"{found.number:,}", f"{found.bases:,}", longest)
            if found.longest > recipe.chunk:
                log.info(
                    "regions of more than %s bases are read in separate chunks of this length", f"{recipe.chunk:,}"
                )
        prepare = partial(
            region_embedder, bed, bases, scorer, recipe, rows_at_once(batch_size, scorer), np.dtype(stored_dtype)
        )

        def write() -> dict[str, Any]:
            written = write_parquet if suffix == ".parquet" else write_zarr
            channels = written(target, work.folder, read_regions(bed, bases, found.named), found)
            log.info("%s regions, %s channels", f"{found.number:,}", channels)
            return {"regions": found.number, "bases": found.bases, "channels": channels}

        summary = complete(work, found.number, prepare, write, scorer.device_name, "regions_embedded_now", quiet)
        return summary if output is not None else pq.read_table(target)


def check_output(output: Path) -> str:
    """The output's suffix.

    Raises:
        InputError: for another one, or where something else is in the way. MissingExtra: if zarr is not installed.
    """
    suffix = output.suffix
    if suffix not in SUFFIXES:
        raise InputError(f"{output}: name an output that ends with {' or '.join(SUFFIXES)}")
    whole = not output.is_dir() if suffix == ".parquet" else (output / "zarr.json").is_file()
    if output.exists() and not whole:
        raise InputError(f"{output}: something else is there already")
    if suffix == ".zarr":
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtra("writing .zarr", "zarr") from error
    return suffix


def read_regions(bed: Path, genome: Genome, named: bool) -> Iterator[Region]:
    """Rows of a BED file.

    Raises:
        InputError: naming file, line and region, if it is not within a contig of the genome ("20" is "chr20"), or as
            [`bed.read_intervals`].
    """
    path = input_file(bed)
    for _, chunk in read_intervals(path, extra=(3,) if named else ()):
        names = [extra[0] for extra in chunk.extra] if named else [""] * len(chunk.line)
        places = zip(chunk.chrom, chunk.start.tolist(), chunk.end.tolist(), chunk.line, names, strict=True)
        for chrom, start, end, line, name in places:
            contig, place = genome_contig(chrom, genome), f"{path}:{line}: {chrom}:{start}-{end}"
            if contig is None:
                raise InputError(f"{place} is on a contig that {genome.path} does not have")
            if end > genome.length(contig):
                raise InputError(f"{place} is beyond the end of its contig ({genome.length(contig)} bp)")
            yield Region(contig, start, end, name)


def checked(bed: Path, genome: Genome) -> Regions:
    """All rows read once.

    Raises:
        InputError: as [`read_regions`], and for a file without any.
    """
    count = bases = longest = 0
    for region in read_regions(bed, genome, named=False):
        count += 1
        bases += region.end - region.start
        longest = max(longest, region.end - region.start)
    if not count:
        raise InputError(f"{bed}: no regions in it")
    try:
        named = sum(len(chunk.line) for _, chunk in read_intervals(input_file(bed), extra=(3,))) == count
    except InputError:
        named = False
    return Regions(count, bases, longest, named)


def region_embedder(
    bed: Path, genome: Genome, scorer: Any, recipe: RegionRecipe, batch_size: int, stored: np.dtype[Any]
) -> Callable[[range], dict[str, Any]]:
    """A function that embeds the regions of a range, later ranges after earlier ones: one flat list for each."""

    def sequence(region: Region) -> str:
        chrom, start = np.array([region.chrom], object), np.array([region.start])
        codes = window_codes(genome, chrom, start, region.end - region.start)
        return LETTERS["fixed"][codes[0]].tobytes().decode()

    def embed(_: range, regions: list[Region]) -> dict[str, Any]:
        vectors = embed_sequences(scorer, list(map(sequence, regions)), recipe, batch_size)
        flat = [vector.astype(stored).reshape(-1) for vector in vectors]
        offsets = np.cumsum([0, *map(len, flat)])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(np.concatenate(flat)))
        return {"channels": [vector.shape[-1] for vector in vectors], "embedding": lists}

    return along(read_regions(bed, genome, named=False), embed)


def embedded_parts(parts: Path, stream: Iterator[Region]) -> Iterator[tuple[list[Region], int, np.ndarray]]:
    """(regions, channels C, (vectors, C)) of each part, in order; one part in memory at a time."""
    for path in sorted(parts.glob("[0-9]*.parquet")):
        table = pq.read_table(path)
        channels = table["channels"][0].as_py()
        values = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        yield [next(stream) for _ in range(table.num_rows)], channels, values.reshape(-1, channels)


def write_parquet(output: Path, parts: Path, stream: Iterator[Region], found: Regions) -> int:
    """Columns chrom, start, end, name (where the BED has names) and embedding, a row a region; returns C."""
    channels, writer = 0, None
    with replacing(output) as temporary:
        for rows, channels, vectors in embedded_parts(parts, stream):
            fields = Region._fields if found.named else Region._fields[:-1]
            columns: dict[str, Any] = {field: pa.array([getattr(row, field) for row in rows]) for field in fields}
            columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), channels)
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return channels


def write_zarr(output: Path, parts: Path, stream: Iterator[Region], found: Regions) -> int:
    """A group of arrays; returns C.

    `embeddings` (bases, C), of all regions one after another; `offsets` (regions + 1,), where each begins; `chrom`,
    `start`, `end` and, where the BED has them, `name` (regions,).
    """
    import zarr

    channels = at = 0
    places: list[Region] = []
    unfinished = parts / "unfinished.zarr"
    shutil.rmtree(unfinished, ignore_errors=True)
    group = zarr.open_group(unfinished, mode="w")
    array: Any = None
    for rows, channels, vectors in embedded_parts(parts, stream):
        if array is None:
            shape, chunks = (found.bases, channels), (min(ZARR_CHUNK, found.bases), channels)
            array = group.create_array("embeddings", shape=shape, dtype=vectors.dtype, chunks=chunks)
        array[at : at + len(vectors)] = vectors
        at += len(vectors)
        places += rows
    lengths = [region.end - region.start for region in places]
    group.create_array("offsets", data=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    for field in ("start", "end"):
        group.create_array(field, data=np.array([getattr(region, field) for region in places], np.int64))
    for field in ("chrom", "name")[: 1 + found.named]:
        texts = np.array([getattr(region, field) for region in places], dtype=np.dtypes.StringDType())
        group.create_array(field, data=texts)
    if output.is_dir():
        shutil.rmtree(output)
    unfinished.rename(output)
    return channels
