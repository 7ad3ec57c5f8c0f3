"""Vectors of the regions of a BED file, in the file's order."""

import logging
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_dart.alphabet import known_bases
from datasets_dart.contigs import contig_ends, numbers_of, renamed, some_of
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import input_file, replacing
from datasets_dart.formats.bed import NO_BASE, Intervals, has_column, listed, note_strands, read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.outputs import check_output
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.language_model import BatchSize
from evaluation_dart.scoring.finite import stored_as
from evaluation_dart.scoring.regions import RegionRecipe, chunk_length, embed_sequences
from evaluation_dart.shards import part_rows, shards_of
from evaluation_dart.tools.loading import REGION_COLUMNS, Model, Table, as_file, load, paths_of
from evaluation_dart.tools.parts import begin, complete, one_process
from evaluation_dart.training.accelerators import process_state
from evaluation_dart.workload import announce

PART = 256
BASES_IN_PART = 1 << 21  # of vectors a base, so that a part fits into memory
ZARR_CHUNK = 4096  # bases
STEP = 64  # regions, at most, that are read at once
SUFFIXES = (".parquet", ".zarr")
STORED = ("float32", "float16")

log = logging.getLogger(__name__)


NO_CONTIG = "are on contigs that the genome does not have"
BEYOND_CONTIG = "end beyond their contig (another build?)"
LeftOut = dict[str, list[int]]  # line numbers of rows that are left out, by reason


class Regions(NamedTuple):
    """Bases [start, end) of contigs, one entry a region."""

    chrom: np.ndarray  # (n,) str objects, as the genome names them
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    name: np.ndarray | None  # (n,) str objects, where every row of the BED has a fourth column


def embed_regions(
    regions: Table,
    genome: str | Path,
    model: Model,
    *,
    output: str | Path | None = None,
    plot: str | Path | None = None,
    plot_method: str = "pca",
    pooling: str = "mean",
    layer: int = -1,
    strand: str = "forward",
    chunk: int | None = None,
    stored_dtype: str = "float32",
    batch_size: BatchSize = "auto",
    part: int | None = None,
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
) -> pa.Table | dict[str, Any]:
    """Embed regions of a genome with a model, in the order of the regions.

    Args:
        regions: a BED file, plain, gzip or bgzip; or a pandas or polars frame or a pyarrow.Table with columns chrom,
            start, end (from 0, half-open) and perhaps name.
        genome: FASTA, plain, gzip or bgzip.
        model: a Hub id or folder of a model, with or without a language-model head; or a scorer in memory.
        output: .parquet, one vector a region; .zarr, one vector a base. A run that was killed goes on where it stopped
            when it is asked for again.
        plot: a picture of the vectors in two dimensions, coloured by the regions' names: .png, .svg or .pdf; not for
            .zarr.
        plot_method: "pca", principal components, or "umap".
        pooling: over a region's tokens: mean, max or last; not for .zarr.
        layer: index into the hidden states; -1 is the last.
        strand: forward, reverse, or the mean of the vectors of both.
        chunk: bases read at once; None for what the model reads, 32,768 at most.
        stored_dtype: float32 or float16, of the vectors.
        batch_size: chunks in a forward pass; "auto" for as many as fit.
        part: regions in a part, the most that a kill can cost; None for about a minute's work of a small model on a
            CPU, at most 256.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        overwrite: start afresh, even if these vectors are there.

    Returns:
        A table with columns chrom, start, end, perhaps name, and embedding; with `output`, what OUTPUT.json says.
        Regions without a base, on contigs that the genome does not have, or beyond an end are left out, with a warning;
        `left_out` in OUTPUT.json has their line numbers.

    Raises:
        InputError: naming file, line and value that cannot be used, or what the model cannot do.
        OSError: if there is no such file or model, or no room to write.
        MissingExtra: if zarr, what draws figures, or UMAP is not installed.
    """
    if stored_dtype not in STORED:
        raise InputError(f"stored_dtype {stored_dtype!r}: there are {', '.join(STORED)}")
    if output is None:
        one_process()
    suffix = ".parquet" if output is None else output_suffix(Path(output))
    if output is not None:
        check_output(output, paths_of(regions, genome, model))
    state = process_state(device)
    if plot is not None:
        from evaluation_dart.report.embedding_figures import check_method  # with scipy and scikit-learn: seconds
        from evaluation_dart.tools.plots import check_plot

        check_method(plot_method)
        if suffix == ".zarr":
            raise InputError(f"plot {plot}: a picture is of one vector a region, and {output} has one a base")
        check_plot(plot, paths_of(regions, genome, model), overwrite)
    with as_file(regions, REGION_COLUMNS, "regions.bed") as bed, TemporaryDirectory() as scratch, ExitStack() as stack:
        target = Path(scratch) / "embeddings.parquet" if output is None else Path(output)
        bases = open_genome(genome)
        found, left_out = read_regions(bed, bases)
        lengths = found.end - found.start
        longest = int(lengths.max())
        scorer = load(
            model,
            "embedding",
            revision=revision,
            device=device or state.device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        pooled = pooling if suffix == ".parquet" else None
        recipe = RegionRecipe(pooled, layer, strand, chunk or chunk_length(scorer)).checked()
        scorer.encode(["A" * min(recipe.chunk, longest)])  # refuses what is too long
        about = {
            "model": scorer.describe(),
            "recipe": recipe._asdict() | {"stored": stored_dtype},
            "inputs": described_inputs(bed=bed, fasta=Path(genome)),
        } | ({"left_out": left_out} if left_out else {})
        step = max(1, min(STEP, BASES_IN_PART // longest))
        strands = 2 if recipe.strand == "mean" else 1
        part = part or part_rows(PART, strands * float(lengths.mean()), step)

        def draw(summary: dict[str, Any]) -> None:
            if plot is not None and state.is_main_process:
                from evaluation_dart.tools.plots import plot_embeddings

                plot_embeddings(plot, target, plot_method, summary, overwrite)

        if pooled is None:
            part = max(1, min(part, BASES_IN_PART // longest))
        work = begin(stack, target, about, part, overwrite, folder=suffix == ".zarr")
        if isinstance(work, dict):
            if state.is_main_process:
                log.info("%s: these embeddings are there already", output)
            draw(work)
            return work
        if state.is_main_process:
            log.info(f"{len(lengths):,} regions, {lengths.sum():,} bases, the longest {longest:,}")
            if longest > recipe.chunk:
                log.info(
                    "regions of more than %s bases are read in separate chunks of this length", f"{recipe.chunk:,}"
                )

        passes = strands * int((-(-lengths // recipe.chunk)).sum())

        def prepare() -> Callable[[range], dict[str, Any]]:
            what = f"vectors of {len(lengths):,} regions"
            announce(what, scorer, passes=passes, tokens=min(recipe.chunk, longest), batch_size=batch_size)
            return embed

        def embed(rows: range) -> dict[str, Any]:
            regions = [*zip(found.chrom[rows], found.start[rows].tolist(), found.end[rows].tolist(), strict=True)]
            sequences = [known_bases(bases.fetch(chrom, start, end)) for chrom, start, end in regions]
            names = [f"{chrom}:{start}-{end}" for chrom, start, end in regions]
            vectors = embed_sequences(scorer, sequences, recipe, batch_size, names)
            stored = [
                stored_as(own, stored_dtype, lambda _, name=name: name)  # type: ignore[misc]
                for own, name in zip(vectors, names, strict=True)
            ]
            flat = pa.array(np.concatenate(stored, axis=None))
            return {"embedding": pa.FixedSizeListArray.from_arrays(flat, vectors[0].shape[-1])}

        def write(path: Path) -> dict[str, Any]:
            written = write_parquet if suffix == ".parquet" else write_zarr
            channels = written(path, shards_of(work.folder), found)
            log.info("%s regions, %s channels", f"{len(lengths):,}", channels)
            return {"regions": len(lengths), "bases": int(lengths.sum()), "channels": channels}

        summary = complete(
            work,
            len(lengths),
            prepare,
            write,
            scorer.device_name,
            "regions_embedded_now",
            step,
            passes=passes,
            unit="passes",
        )
        draw(summary)
        return summary if output is not None else pq.read_table(target)


def output_suffix(output: Path) -> str:
    """The output's suffix.

    Raises:
        InputError: for another one. MissingExtra: if zarr is not installed.
    """
    suffix = output.suffix
    if suffix not in SUFFIXES:
        raise InputError(f"{output}: name an output that ends with {' or '.join(SUFFIXES)}")
    if suffix == ".zarr":
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtra("writing .zarr", "zarr") from error
    return suffix


def read_bed(path: Path, extra: Sequence[int] = (), empty: list[int] | None = None) -> Intervals:
    """All rows of a BED file, with the columns `extra`, counted from 0.

    Args:
        empty: takes the line numbers of rows without a base, which are left out; without it, they are a warning.

    Raises:
        InputError: for a file without any row that has a base, or as [`bed.read_intervals`].
    """
    without_base: list[int] = [] if empty is None else empty
    chunks = [chunk for _, chunk in read_intervals(input_file(path), extra=extra, empty=without_base)]
    if not chunks:
        raise no_regions(path, without_base)
    if without_base and empty is None:
        log.warning(f"{path}: left out: {without_bases(without_base)}")
    chrom, start, end, line = (np.concatenate([chunk[number] for chunk in chunks]) for number in range(4))
    return Intervals(chrom, start, end, line, [own for chunk in chunks for own in chunk.extra if own])


def without_bases(lines: Sequence[int]) -> str:
    """What is said of rows without a base, by their line numbers."""
    return f"{len(lines)} rows {NO_BASE}: {listed(lines)}"


def no_regions(path: Path, without_base: Sequence[int]) -> InputError:
    """The error for a file in which no row has a base."""
    return InputError(f"{path}: no regions in it" + (f", {without_bases(without_base)}" if without_base else ""))


class Found:
    """Rows of a BED that lie within a contig of a genome, as they are read, in 24 bytes each but for their names."""

    def __init__(self, bed: Path, genome: Genome, extra: Sequence[int]):
        self.chrom, self.start, self.end = array("q"), array("q"), array("q")
        self.contigs: dict[str, int] = {}
        self.names: list[str] = []
        self.unknown: set[str] = set()
        self.left_out: LeftOut = {NO_BASE: [], NO_CONTIG: [], BEYOND_CONTIG: []}
        self.rows = 0
        for _, chunk in read_intervals(input_file(bed), extra=extra, empty=self.left_out[NO_BASE]):
            self.add(chunk, genome)
        if not self.rows:
            raise no_regions(bed, self.left_out[NO_BASE])

    def add(self, chunk: Intervals, genome: Genome) -> None:
        """Keep those of some rows that lie within a contig."""
        chrom = renamed(chunk.chrom, genome.contigs)
        limits = contig_ends(chrom, genome.contigs)
        self.left_out[NO_CONTIG] += chunk.line[limits < 0].tolist()
        self.left_out[BEYOND_CONTIG] += chunk.line[(limits >= 0) & (chunk.end > limits)].tolist()
        self.unknown.update(chunk.chrom[limits < 0].tolist())
        kept = np.flatnonzero(chunk.end <= limits)
        self.chrom.extend(numbers_of(chrom[kept], self.contigs).tolist())
        self.start.extend(chunk.start[kept].tolist())
        self.end.extend(chunk.end[kept].tolist())
        self.names += [chunk.extra[row][0] for row in kept.tolist() if chunk.extra[row]]
        self.rows += len(chunk.line)

    def regions(self, named: bool) -> Regions:
        """All that were kept."""
        chrom, start, end = (np.frombuffer(own, dtype=np.int64) for own in (self.chrom, self.start, self.end))
        names = np.array(self.names, dtype=object) if named else None
        return Regions(np.array([*self.contigs], dtype=object)[chrom], start, end, names)


def read_regions(bed: Path, genome: Genome) -> tuple[Regions, LeftOut]:
    """The regions of a BED file that lie within a contig of the genome ("20" is "chr20"), and which do not.

    Raises:
        InputError: for a file without any region within a contig, saying why; or as [`bed.read_intervals`].
    """
    named = True
    try:
        found = Found(bed, genome, (3,))
    except InputError as error:  # not every row has a name
        named, found = False, Found(bed, genome, ())
        if has_column(input_file(bed), 3):
            log.warning(f"{bed}: its names (column 4) are left out, as not every row has one: {error}")
    note_strands(input_file(bed))
    left_out = {reason: own for reason, own in found.left_out.items() if own}
    said = "; ".join(f"{len(own)} {reason}: {listed(own)}" for reason, own in left_out.items())
    if found.unknown:
        said += f" ({bed} has {some_of(found.unknown)}; the genome has {some_of(genome.contigs)})"
    if not len(found.start):
        raise InputError(f"{bed}: none of its regions is within a contig of {genome.path}: {said}")
    if said:
        log.warning(f"{bed}: left out: {said}")
    return found.regions(named), left_out


def vectors_of(part: Path) -> np.ndarray:
    """(n, C) vectors of a part."""
    column = pq.read_table(part)["embedding"].combine_chunks()
    return np.asarray(column.flatten()).reshape(-1, column.type.list_size)


def write_parquet(output: Path, parts: Sequence[Path], found: Regions) -> int:
    """Columns chrom, start, end, name (where the BED has names) and embedding, a row a region; returns C."""
    first = pq.read_table(parts[0])
    places = pa.table({name: column for name, column in found._asdict().items() if column is not None})
    schema = pa.schema([*places.schema, first.schema.field("embedding")])
    at = 0
    with replacing(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for part in parts:
            vectors = pq.read_table(part)
            writer.write_table(places.slice(at, len(vectors)).append_column("embedding", vectors["embedding"]))
            at += len(vectors)
    return int(schema.field("embedding").type.list_size)


def write_zarr(output: Path, parts: Sequence[Path], found: Regions) -> int:
    """A group of arrays; returns C.

    `embeddings` (bases, C), of all regions one after another; `offsets` (regions + 1,), where each begins; `chrom`,
    `start`, `end` and, where the BED has them, `name` (regions,).
    """
    import zarr

    try:
        return fill_group(zarr.open_group(output, mode="w"), parts, found)
    except BaseException:
        time.sleep(0.2)  # zarr's threads end what they were writing, before the folder is removed
        raise


def fill_group(group: Any, parts: Sequence[Path], found: Regions) -> int:
    """Write the arrays of [`write_zarr`]; returns C."""
    offsets = np.cumsum([0, *(found.end - found.start)])
    first, at = vectors_of(parts[0]), 0
    shape = int(offsets[-1]), first.shape[1]
    chunks = min(ZARR_CHUNK, shape[0]), shape[1]
    array = group.create_array("embeddings", shape=shape, dtype=first.dtype, chunks=chunks)
    for vectors in map(vectors_of, parts):
        array[at : at + len(vectors)] = vectors
        at += len(vectors)
    group.create_array("offsets", data=offsets)
    for field, column in found._asdict().items():
        if column is not None:
            group.create_array(field, data=column.astype(np.dtypes.StringDType()) if column.dtype == object else column)
    return int(shape[1])
