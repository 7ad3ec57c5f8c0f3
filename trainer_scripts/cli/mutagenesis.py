"""The command `hyenadna mutagenesis`: what every single substitution in a region does to a model's score
(docs/mutagenesis.md)."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    from datasets_dart.formats.fasta import Genome
    from evaluation_dart.models.language_model import LanguageModel

TABLES = (".parquet", ".tsv", ".tsv.gz", ".bed", ".bed.gz")
HEAD = "head"
SCHEMA = pa.schema(
    [
        ("chrom", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("region", pa.string()),
        ("ref", pa.string()),
        ("alt", pa.string()),
        ("change", pa.float64()),
    ]
)


class Region(NamedTuple):
    """Bases [start, end) of a contig, read within the window [window_start, window_end)."""

    chrom: str
    start: int
    end: int
    window_start: int
    window_end: int

    @property
    def name(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"


def mutagenesis(
    fasta: Annotated[Path, typer.Option(help="genome, or sequences to mutate whole: plain, gzip or bgzip")],
    model: Annotated[
        str, typer.Option(help="Hub id or folder of a causal or masked language model, or of one with a trained head")
    ],
    output: Annotated[Path, typer.Option(help="file to write: .parquet, .tsv[.gz] or .bed[.gz]")],
    bed: Annotated[Path | None, typer.Option(help="regions to mutate")] = None,
    region: Annotated[str | None, typer.Option(help="one region, chr20:1,001-1,200: from 1, both ends in it")] = None,
    window: Annotated[
        int | None,
        typer.Option(help="bases that the model reads, the region in the middle; default: the region", min=2),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="of dart-eval ls, or head; default: head where there is one, dart-eval of masked models, biofoundation"
        ),
    ] = None,
    strand: Annotated[str | None, typer.Option(help="forward or mean; default: the recipe's, of heads forward")] = None,
    label: Annotated[str | None, typer.Option(help="of a head with several outputs: which, by name or number")] = None,
    logo: Annotated[Path | None, typer.Option(help="draw the regions, at most 20: .png or .svg")] = None,
    batch_size: Annotated[int, typer.Option(help="sequences in a forward pass", min=1)] = 64,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Score every single substitution in regions of a genome, or in whole sequences.

    One line a substitution; OUTPUT.json says what was done. Positions that are none of A, C, G, T are left out.

    hyenadna mutagenesis --fasta hg38.fa --region chr20:1,001-1,200 --model my-model --output out.tsv --logo out.png
    """
    from transformers.utils import logging

    from datasets_dart.files import write_text
    from datasets_dart.formats.fasta import open_genome
    from evaluation_dart.records import model_id, package_versions
    from evaluation_dart.report.logo import MOST_ROWS, check_logo, draw_logos
    from evaluation_dart.tools.mutagenesis import importance
    from trainer_scripts.cli.dart_eval import described_inputs

    if not output.name.endswith(TABLES):
        raise InputError(f"{output}: a table is written as {', '.join(TABLES)}")
    if logo is not None:
        check_logo(logo)
    logging.disable_progress_bar()
    genome = open_genome(fasta)
    regions = regions_of(genome, bed, region, window)
    loaded, table_of, how = scorer(model, recipe, strand, label, batch_size, revision, device, trust_remote_code)
    if logo is not None and len(regions) > MOST_ROWS:
        raise InputError(f"--logo {logo}: a picture has at most {MOST_ROWS} regions, and here are {len(regions)}")
    if how["name"] != HEAD:
        say_rows(loaded, regions, how)
    panels: list[tuple[str, np.ndarray]] = []
    left_out = 0

    def parts() -> Iterator[pa.Table]:
        nonlocal left_out
        bar = typer.progressbar(regions, label="regions", file=typer.get_text_stream("stderr"))
        with bar as steps:
            for own in steps:
                sequence = genome.fetch(own.chrom, own.window_start, own.window_end)
                first, last = own.start - own.window_start, own.end - own.window_start
                changes = table_of(sequence, first, last)
                left_out += int(np.isnan(changes[:, 0]).sum())
                if logo is not None:
                    panels.append((own.name, importance(changes, sequence[first:last])))
                yield as_table(own, sequence[first:last], changes)

    rows = write_table(output, parts())
    about = {
        "model": {"id": model_id(model), "revision": loaded.revision, "parameters": loaded.num_parameters},
        "recipe": how,
        "change": "score of the sequence with ALT less that of the sequence as it is",
        "inputs": described_inputs(fasta=fasta, **({} if bed is None else {"bed": bed})),
        "regions": len(regions) if region is None else region,
        "window": window or "region",
        "rows": rows,
        "positions_left_out": left_out,
        "device": loaded.device_name,
        "versions": package_versions(),
    }
    write_text(output.with_name(f"{output.name}.json"), json.dumps(about, indent=1) + "\n")
    if logo is not None:
        draw_logos(logo, panels, "log-odds" if how["name"] == HEAD else "nats")
    without = f"; {left_out} positions are none of A, C, G, T" if left_out else ""
    typer.echo(f"{output}: {rows} substitutions in {len(regions)} regions{without}")


def regions_of(genome: "Genome", bed: Path | None, region: str | None, window: int | None) -> list[Region]:
    """Regions to mutate: of a BED file, the one of `region`, or all contigs whole.

    Raises:
        ValueError: naming file, line and region, for one outside its contig or longer than the window.
    """
    from datasets_dart.files import input_file
    from datasets_dart.formats.bed import read_intervals

    if bed is not None and region is not None:
        raise InputError(f"--bed {bed} --region {region}: give one of them")
    if bed is not None:
        path = input_file(bed)
        rows = [
            placed(genome, f"{bed}:{line}", chrom, int(start), int(end), window)
            for _, chunk in read_intervals(path)
            for chrom, start, end, line in zip(*chunk[:4], strict=True)
        ]
        if not rows:
            raise InputError(f"{bed}: has no regions")
        return rows
    if region is not None:
        parts = re.fullmatch(r"(.+):([\d,]+)-([\d,]+)", region)
        if parts is None:
            raise InputError(f"--region {region}: is not CONTIG:FIRST-LAST, counted from 1")
        first, last = (int(number.replace(",", "")) for number in parts.groups()[1:])
        return [placed(genome, f"--region {region}", parts[1], first - 1, last, window)]
    return [placed(genome, str(genome.path), chrom, 0, length, window) for chrom, length in genome.contigs.items()]


def placed(genome: "Genome", source: str, chrom: str, start: int, end: int, window: int | None) -> Region:
    """A region in the middle of its window, which is moved into the contig, or is the contig if that is shorter.

    source: what to name in errors.
    """
    try:
        length = genome.length(chrom)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    if not 0 <= start < end <= length:
        raise InputError(f"{source}: {chrom}:{start}-{end} is not within the contig's {length} bases")
    if window is None:
        return Region(chrom, start, end, start, end)
    if end - start > window:
        raise InputError(f"{source}: {chrom}:{start}-{end} has {end - start} bases, more than --window {window}")
    left = max(0, min((start + end - window) // 2, length - window))
    return Region(chrom, start, end, left, min(left + window, length))


def scorer(
    model: str,
    recipe: str | None,
    strand: str | None,
    label: str | None,
    batch_size: int,
    revision: str | None,
    device: str | None,
    trust_remote_code: bool,
) -> tuple["LanguageModel", Callable[[str, int, int], np.ndarray], dict[str, Any]]:
    """The model, its table of changes as a function of (sequence, start, end), and what a file says of the recipe."""
    from functools import partial

    import torch
    from transformers import AutoConfig

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.models.language_model import load_language_model
    from evaluation_dart.recipes import RECIPES
    from evaluation_dart.tools.attribution import head_score, target_index
    from evaluation_dart.tools.mutagenesis import changes, head_scorer, likelihood_changes
    from evaluation_dart.training.finetuning import load_classifier

    if strand not in (None, "forward", "mean"):
        raise InputError(f"--strand {strand}: there are forward and mean")
    if recipe not in (None, HEAD, *RECIPES):
        raise InputError(f"--recipe {recipe}: there are {', '.join((*RECIPES, HEAD))}")
    options: dict[str, Any] = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    if recipe is None and (Path(model).is_dir() or not model.startswith(("/", ".", "~"))):
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
        if any("ForSequenceClassification" in saved for saved in config.architectures or []):
            recipe = HEAD
    if recipe == HEAD:
        classifier = load_classifier(model, None, **options)
        config = classifier.model.config
        target = target_index(config, label)
        head_score(torch.zeros(1, config.num_labels), config, target)  # refuses to choose among several outputs
        score = head_scorer(classifier, target, strand or "forward", batch_size)
        named = config.id2label[config.num_labels - 1 if target is None else target]
        return classifier, partial(changes, score), {"name": HEAD, "strand": strand or "forward", "output": named}
    if label is not None:
        raise InputError(f"--label {label}: {model} is scored by likelihood, without a head")
    loaded = load_language_model(model, **options)
    chosen = RECIPES[recipe or ("dart-eval" if loaded.kind == "masked" else "biofoundation")]
    if strand is not None:
        chosen = chosen._replace(strand=strand)

    def table_of(sequence: str, start: int, end: int) -> np.ndarray:
        return likelihood_changes(loaded, sequence, start, end, chosen, batch_size)

    return loaded, table_of, chosen._asdict()


def say_rows(model: "LanguageModel", regions: list[Region], how: dict[str, Any]) -> None:
    """Refuse a window that the model cannot read; say how much a masked model has to do."""
    from evaluation_dart.recipes import Recipe
    from evaluation_dart.tools.mutagenesis import forward_rows

    longest = max(regions, key=lambda own: own.window_end - own.window_start)
    width, recipe = longest.window_end - longest.window_start, Recipe(**how)
    rows = forward_rows(model, "ACGT" * (width // 4) + "ACGT"[: width % 4], 0, longest.end - longest.start, recipe)
    if model.kind == "masked":
        typer.echo(f"masked model: about {rows * len(regions):,} rows through the model", err=True)


def as_table(region: Region, sequence: str, changes: np.ndarray) -> pa.Table:
    """Rows of the output, position by position: [`SCHEMA`], start and end counted from 0, as in BED."""
    from evaluation_dart.tools.attribution import BASES

    places = [
        (row, column)
        for row, base in enumerate(sequence)
        if base in BASES
        for column in range(len(BASES))
        if BASES[column] != base
    ]
    start = [region.start + row for row, _ in places]
    columns = {
        "chrom": [region.chrom] * len(places),
        "start": start,
        "end": [position + 1 for position in start],
        "region": [region.name] * len(places),
        "ref": [sequence[row] for row, _ in places],
        "alt": [BASES[column] for _, column in places],
        "change": [float(changes[place]) for place in places],
    }
    return pa.table(columns, schema=SCHEMA)


def write_table(path: Path, parts: Iterator[pa.Table]) -> int:
    """Write tables one after the other as Parquet or as text, whole or not at all; how many rows there were.

    Text is tab-separated under a line of names that begins with #, which makes it a BED file.
    """
    import gzip

    import pyarrow.parquet as pq

    from datasets_dart.files import replacing

    rows = 0
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, SCHEMA) as writer:
                for part in parts:
                    writer.write_table(part)
                    rows += part.num_rows
            return rows
        with gzip.open(temporary, "wt") if path.suffix == ".gz" else temporary.open("w") as file:
            file.write(f"#{chr(9).join(SCHEMA.names)}\n")
            for part in parts:
                for row in zip(*(column.to_pylist() for column in part.columns), strict=True):
                    file.write("\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row))
                    file.write("\n")
                rows += part.num_rows
    return rows
