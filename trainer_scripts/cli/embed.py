"""The command `hyenadna embed`: vectors of the regions of a BED file (docs/embeddings.md).

Vectors are kept in parts as they come, so that a run that was killed goes on where it stopped. Several processes:

    accelerate launch --num_processes 4 -m trainer_scripts.cli.hyenadna embed ...              on GPUs
    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.hyenadna embed ...         on CPU
"""

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from datasets_dart.errors import InputError, MissingExtra

if TYPE_CHECKING:
    import numpy as np

    from datasets_dart.formats.fasta import Genome
    from evaluation_dart.tools.regions import RegionRecipe

PART = 256
BASES_IN_PART = 1 << 21  # of vectors a base, so that a part fits into memory
ZARR_CHUNK = 4096  # bases
SUFFIXES = (".parquet", ".zarr")


class Pooling(StrEnum):
    mean = "mean"
    max = "max"
    last = "last"


class Strand(StrEnum):
    forward = "forward"
    reverse = "reverse"
    mean = "mean"


class Region(NamedTuple):
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


def embed(
    bed: Annotated[Path, typer.Option(help="regions: plain, gzip or bgzip")],
    fasta: Annotated[Path, typer.Option(help="genome: plain, gzip or bgzip")],
    model: Annotated[str, typer.Option(help="Hub id or folder of a model, with or without a language-model head")],
    output: Annotated[Path, typer.Option(help=".parquet: one vector a region; .zarr: one vector a base (extra: zarr)")],
    pooling: Annotated[Pooling, typer.Option(help="over a region's tokens, for .parquet")] = Pooling.mean,
    layer: Annotated[int, typer.Option(help="index into the hidden states; -1 is the last")] = -1,
    strand: Annotated[Strand, typer.Option(help="mean: of forward and reverse complement")] = Strand.forward,
    chunk: Annotated[
        int | None, typer.Option(help="bases read at once; default: what the model reads, 32,768 at most", min=1)
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="write float16 instead of float32")] = False,
    batch_size: Annotated[int, typer.Option(help="chunks in a forward pass", min=1)] = 64,
    part: Annotated[int, typer.Option(help="regions in a part: what a kill can cost", min=1)] = PART,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Embed the regions of a BED file with a model, in the file's order.

    Beside the output lies OUTPUT.json, which says what was done, and with which commit of the model. A run that was
    killed goes on where it stopped when the same line is given again.

    hyenadna embed --bed regions.bed --fasta hg38.fa --model my-model --output out.parquet
    """
    import shutil

    from accelerate.utils import gather_object
    from transformers.utils import logging

    from datasets_dart.formats.fasta import open_genome
    from evaluation_dart.records import digest, package_versions
    from evaluation_dart.run import score_in_shards
    from evaluation_dart.tools.regions import RegionRecipe, chunk_length
    from evaluation_dart.tools.variant_files import read_sidecar, write_sidecar
    from evaluation_dart.training.accelerators import process_state
    from trainer_scripts.cli.dart_eval import described_inputs, load_scorer

    suffix = check_output(output)
    state = process_state(device)
    say: Callable[[str], None] = lambda text: typer.echo(text, err=True) if state.is_main_process else None  # noqa: E731
    logging.disable_progress_bar()
    genome = open_genome(fasta)
    found = checked(bed, genome)
    options = {"revision": revision, "device": device or state.device, "dtype": dtype}
    scorer, described = load_scorer(model, "zero_shot_embedding", options, trust_remote_code)
    pooled = pooling.value if suffix == ".parquet" else None
    recipe = RegionRecipe(pooled, layer, strand.value, chunk or chunk_length(scorer)).checked()
    scorer.encode(["A" * min(recipe.chunk, found.longest)])  # refuses what is too long
    about: dict[str, Any] = {
        "model": described,
        "recipe": recipe._asdict() | {"stored": "float16" if half else "float32"},
        "inputs": described_inputs(bed=bed, fasta=fasta),
    }
    identity = digest(about)
    finished = read_sidecar(output)
    if output.exists() and finished is not None and finished.get("fingerprint") == identity:
        say(f"{output}: these embeddings are there already")
        return
    if pooled is None:
        part = max(1, min(part, BASES_IN_PART // found.longest))
    parts = output.absolute().with_name(f".{output.name}.parts-{identity[:16]}-{part}")
    parts.mkdir(parents=True, exist_ok=True)
    say(f"{found.number:,} regions, {found.bases:,} bases, the longest {found.longest:,}")
    if found.longest > recipe.chunk:
        say(f"regions of more than {recipe.chunk:,} bases are read in chunks of so many, each for itself")
    begun = time.perf_counter()
    prepare = lambda: region_embedder(bed, genome, scorer, recipe, batch_size, half)  # noqa: E731
    now = score_in_shards(prepare, found.number, parts, part)
    about |= {
        **{"fingerprint": identity, "device": scorer.device_name, "versions": package_versions()},
        **{"processes": state.num_processes, "regions_embedded_now": sum(gather_object([now]))},
        **{"seconds": round(time.perf_counter() - begun, 3), "regions": found.number, "bases": found.bases},
    }
    if state.is_main_process:
        write = write_parquet if suffix == ".parquet" else write_zarr
        about["channels"] = write(output, parts, regions(bed, genome, found.named), found)
        write_sidecar(output, about)
        shutil.rmtree(parts)
        say(f"{found.number:,} regions, {about['channels']} channels; written to {output}")
    state.wait_for_everyone()


def check_output(output: Path) -> str:
    """The output's suffix.

    Raises:
        ValueError: for another one, or where something else is in the way. ImportError: naming the extra, if zarr is
            not installed.
    """
    suffix = output.suffix
    if suffix not in SUFFIXES:
        raise InputError(f"{output}: name an output that ends with {' or '.join(SUFFIXES)}")
    if output.is_dir() if suffix == ".parquet" else (output.is_file() or (output.is_dir() and not is_zarr(output))):
        raise InputError(f"{output}: something else is there already")
    if suffix == ".zarr":
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtra("writing .zarr", "zarr") from error
    return suffix


def is_zarr(folder: Path) -> bool:
    return (folder / "zarr.json").is_file()


def regions(bed: Path, genome: "Genome", named: bool) -> Iterator[Region]:
    """Rows of a BED file.

    Raises:
        ValueError: naming file, line and region, if it is not within a contig of the genome ("20" is "chr20"), or as
            `intervals.read_intervals`.
    """
    from datasets_dart.contigs import find_contig
    from datasets_dart.files import input_file
    from datasets_dart.formats.bed import read_intervals

    path = input_file(bed)
    for _, chunk in read_intervals(path, extra=(3,) if named else ()):
        names = [extra[0] for extra in chunk.extra] if named else [""] * len(chunk.line)
        for chrom, start, end, line, name in zip(*chunk[:4], names, strict=True):
            contig = find_contig(chrom, genome.contigs)
            if contig is None:
                genome_path = genome.path
                raise InputError(
                    f"{path}:{line}: {chrom}:{start}-{end} is on a contig that {genome_path} does not have"
                )
            if end > genome.length(contig):
                raise InputError(
                    f"{path}:{line}: {chrom}:{start}-{end} is beyond the end of its contig ({genome.length(contig)} bp)"
                )
            yield Region(contig, int(start), int(end), name)


def checked(bed: Path, genome: "Genome") -> Regions:
    """All rows read once.

    Raises:
        ValueError: as `regions`, and for a file without any.
    """
    count = bases = longest = 0
    for region in regions(bed, genome, named=False):
        count += 1
        bases += region.end - region.start
        longest = max(longest, region.end - region.start)
    if not count:
        raise InputError(f"{bed}: no regions in it")
    return Regions(count, bases, longest, has_names(bed))


def has_names(bed: Path) -> bool:
    """Whether every row has a fourth column."""
    from datasets_dart.files import input_file
    from datasets_dart.formats.bed import read_intervals

    try:
        for _ in read_intervals(input_file(bed), extra=(3,)):
            pass
    except ValueError:
        return False
    return True


def region_embedder(
    bed: Path, genome: "Genome", scorer: Any, recipe: "RegionRecipe", batch_size: int, half: bool
) -> Callable[[range], dict[str, Any]]:
    """A function that embeds the regions of a range, later ranges after earlier ones: one flat list for each."""
    import numpy as np
    import pyarrow as pa

    from datasets_dart.alphabet import decode_bases
    from datasets_dart.windows import window_codes
    from evaluation_dart.tools.regions import embed_regions

    stream = regions(bed, genome, named=False)
    position = 0

    def sequence(region: Region) -> str:
        codes = window_codes(
            genome, np.array([region.chrom], object), np.array([region.start]), region.end - region.start
        )
        return decode_bases(codes[0])

    def embed_range(rows: range) -> dict[str, Any]:
        nonlocal position
        for _ in range(rows.start - position):
            next(stream)
        position = rows.stop
        vectors = embed_regions(scorer, [sequence(next(stream)) for _ in rows], recipe, batch_size)
        flat = [vector.astype(np.float16 if half else np.float32).reshape(-1) for vector in vectors]
        offsets = np.concatenate([[0], np.cumsum([len(vector) for vector in flat])])
        lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(np.concatenate(flat)))
        return {"channels": [vector.shape[-1] for vector in vectors], "embedding": lists}

    return embed_range


def embedded_parts(parts: Path, stream: Iterator[Region]) -> Iterator[tuple[list[Region], int, "np.ndarray"]]:
    """(regions, channels C, (vectors, C)) of each part, in order; one part in memory at a time."""
    import pyarrow.parquet as pq

    for path in sorted(parts.glob("[0-9]*.parquet")):
        table = pq.read_table(path)
        channels = table["channels"][0].as_py()
        values = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        yield [next(stream) for _ in range(table.num_rows)], channels, values.reshape(-1, channels)


def write_parquet(output: Path, parts: Path, stream: Iterator[Region], found: Regions) -> int:
    """Columns chrom, start, end, name (where the BED has names) and embedding, a row a region; returns C."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datasets_dart.files import replacing

    channels, writer = 0, None
    with replacing(output) as temporary:
        for rows, channels, vectors in embedded_parts(parts, stream):
            columns = list(zip(*rows, strict=True))
            names = {"name": pa.array(columns[3])} if found.named else {}
            embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), channels)
            places = {"chrom": pa.array(columns[0]), "start": pa.array(columns[1]), "end": pa.array(columns[2])}
            table = pa.table(places | names | {"embedding": embedding})
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
    import shutil

    import numpy as np
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
