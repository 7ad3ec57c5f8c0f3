"""In-silico mutagenesis: what every single substitution does to a sequence's score. Columns in the order A, C, G, T."""

import gzip
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from datasets_dart.alphabet import BASES, UNKNOWN, encode_bases, known_bases, one_hot, reverse_complement
from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.outputs import check_output, made_together
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.language_model import BatchSize, LanguageModel
from evaluation_dart.recipes import HEAD, MASKED, RECIPES, Recipe
from evaluation_dart.records import SCHEMA_VERSION, package_versions
from evaluation_dart.report.figures import check_figure
from evaluation_dart.report.logo import MOST_ROWS, Panel, check_logo, draw_heat_maps, draw_logos, region_panel
from evaluation_dart.scoring.alike import reads_alike
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.scoring.four_bases import base_ids
from evaluation_dart.scoring.heads import exclusive, head_scorer, label_index
from evaluation_dart.scoring.likelihoods import score_sequences
from evaluation_dart.scoring.substitutions import places_of, substitutions
from evaluation_dart.tools.loading import (
    REGION_COLUMNS,
    Model,
    Table,
    as_file,
    default_recipe,
    load,
    paths_of,
)
from evaluation_dart.tools.regions import LeftOut, read_regions
from evaluation_dart.training.accelerators import progress_bar
from evaluation_dart.workload import announce

TABLES = (".parquet", ".tsv", ".tsv.gz", ".bed", ".bed.gz")
AT_ONCE = 512  # sequences in one call of a scorer, a multiple of the usual batches
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
Score = Callable[[Sequence[str]], np.ndarray]

log = logging.getLogger(__name__)


class Region(NamedTuple):
    """Bases [start, end) of a contig, read within the window [window_start, window_end)."""

    chrom: str
    start: int
    end: int
    window_start: int
    window_end: int

    @property
    def name(self) -> str:
        """CONTIG:FIRST-LAST, counted from 1, as samtools and genome browsers do."""
        return f"{self.chrom}:{self.start + 1}-{self.end}"


def mutagenesis(
    genome: str | Path,
    model: Model,
    *,
    regions: Table | None = None,
    region: str | None = None,
    output: str | Path | None = None,
    logo: str | Path | None = None,
    heat_map: str | Path | None = None,
    window: int | None = None,
    recipe: str | None = None,
    strand: str | None = None,
    label: str | int | None = None,
    batch_size: BatchSize = "auto",
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
) -> pa.Table | dict[str, Any]:
    """Score every single substitution in regions of a genome, or in whole sequences.

    Args:
        genome: FASTA of a genome, or of sequences to mutate whole.
        model: a Hub id or folder of a causal or masked language model, or of one with a trained head; or a scorer in
            memory.
        regions: to mutate: a BED file; or a pandas or polars frame or a pyarrow.Table with columns chrom, start and end
            (from 0, half-open).
        region: a single one, as "chr20:1,001-1,200": from 1, both ends in it.
        output: .parquet, .tsv[.gz] or .bed[.gz].
        logo: a picture of the regions, at most 20: .png or .svg. Each base that is there, as high as its score less the
            mean over all four.
        heat_map: a picture of the regions, at most 20: .png, .svg or .pdf. What every substitution changes.
        window: bases that the model reads, the region in the middle; None for the region.
        recipe: of likelihoods, or head; None for head where there is one, otherwise whole-alleles.
        strand: forward or mean; None for the recipe's, of heads forward.
        label: of a head with several outputs: which, by name or number.
        batch_size: sequences in a forward pass; "auto" for as many as fit.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        overwrite: start afresh, and replace what is there.

    Returns:
        A table with a row for each substitution, [`SCHEMA`], without positions that are none of A, C, G, T or that
        nothing predicts; with `output`, what OUTPUT.json says.

    Raises:
        InputError: naming file, line and region that cannot be used, or what the model cannot do.
        OSError: if there is no such file or model.
        MissingExtra: if what draws logos is not installed.
    """
    target = None if output is None else Path(output)
    if target is not None and not target.name.endswith(TABLES):
        raise InputError(f"{target}: a table is written as {', '.join(TABLES)}")
    for path in (output, logo, heat_map):
        if path is not None:
            check_output(path, paths_of(genome, regions, model))
    if logo is not None:
        check_logo(Path(logo))
    if heat_map is not None:
        check_figure(Path(heat_map))
    if strand not in (None, "forward", "mean"):
        raise InputError(f"strand {strand}: there are forward and mean")
    if recipe not in (None, HEAD, *RECIPES):
        raise InputError(f"recipe {recipe}: there are {', '.join((*RECIPES, HEAD))}")
    bases = open_genome(genome)
    with nullcontext() if regions is None else as_file(regions, REGION_COLUMNS, "regions.bed") as bed:
        places, left_out = regions_of(bases, bed, region, window)
        inputs = described_inputs(fasta=genome) if bed is None else described_inputs(fasta=genome, bed=bed)
    for what, path in (("logo", logo), ("heat_map", heat_map)):
        if path is not None and len(places) > MOST_ROWS:
            raise InputError(f"{what} {path}: a picture has at most {MOST_ROWS} regions, and here are {len(places)}")
    recipe = recipe or default_recipe(model, revision, trust_remote_code)
    scorer = load(
        model,
        HEAD if recipe == HEAD else "likelihood",
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    table_of, how = method_of(scorer, recipe, strand, label, batch_size)
    passes = model_rows(scorer, places, how)
    positions = sum(own.end - own.start for own in places)

    @cache
    def computed() -> tuple[pa.Table, list[tuple[str, np.ndarray]], int]:
        shown, tables, unknown = [], [], 0
        widest = max(own.window_end - own.window_start for own in places)
        what = f"every substitution of {positions:,} positions in {len(places):,} regions, by {how['name']}"
        alike = None if how.get("alleles") == MASKED else reads_alike(scorer)
        announce(what, scorer, passes=passes, tokens=widest, batch_size=batch_size, alike=alike)
        with progress_bar("mutagenesis", positions, "passes", passes=passes) as bar:
            for own in places:
                sequence = known_bases(bases.fetch(own.chrom, own.window_start, own.window_end))
                first, last = own.start - own.window_start, own.end - own.window_start
                with bar.step(last - first):
                    table = table_of(sequence, first, last, place=own.name)
                tables.append(as_table(own, sequence[first:last], table))
                unknown += sequence[first:last].count("N")
                if logo is not None or heat_map is not None:
                    shown.append((sequence[first:last], table))
        return pa.concat_tables(tables), shown, unknown

    def write(path: Path) -> dict[str, Any]:
        found, _, unknown = computed()
        write_table(path, found)
        return {
            "rows": len(found),
            "positions_left_out": unknown,
            "positions_not_predicted": positions - unknown - len(found) // 3,
            "device": scorer.device_name,
            "versions": package_versions(),
        }

    unit = unit_of(how, scorer)

    def draw_heights(path: Path) -> dict[str, Any]:
        shown = zip(places, computed()[1], strict=True)
        panels = [panel_of(own, importance(table, sequence)) for own, (sequence, table) in shown]
        draw_logos(path, panels, f"importance ({unit})")
        return {}

    def draw_changes(path: Path) -> dict[str, Any]:
        shown = computed()[1]
        panels = [panel_of(own, table) for own, (_, table) in zip(places, shown, strict=True)]
        draw_heat_maps(path, panels, [sequence for sequence, _ in shown], f"change ({unit})")
        return {}

    about = {
        "schema_version": SCHEMA_VERSION,
        "model": scorer.describe(),
        "recipe": how,
        "change": "score of the sequence with ALT less that of the sequence as it is",
        "inputs": inputs,
        "regions": len(places) if region is None else region,
        "window": window or "region",
    } | ({"left_out": left_out} if left_out else {})
    pictures = ((target, write), (logo, draw_heights), (heat_map, draw_changes))
    writes = {path: act for path, act in pictures if path is not None}
    if not writes:
        return computed()[0]
    summary = made_together(writes, about, overwrite=overwrite)
    return computed()[0] if target is None else summary


def changes(
    score: Score,
    sequence: str,
    start: int,
    end: int,
    model: str = "the model",
    place: str = "the sequence",
) -> np.ndarray:
    """Score of each substitution less that of the sequence, (end - start, 4) float64.

    0 at a position's own base; NaN in all four columns where that is none of A, C, G, T.

    Args:
        score: of sequences, (n,), the first of which is the sequence. model, place: what errors call the model, and
            bases [start, end) of the sequence.

    Raises:
        NotFinite: naming model, place and substitution, for a score that is NaN or infinite.
    """
    mutants, places = substitutions(sequence, start, end)
    # With the sequence itself, as what others have in common with it is read once
    calls = [score([sequence, *mutants[first : first + AT_ONCE]]) for first in range(0, max(len(mutants), 1), AT_ONCE)]
    scores = np.concatenate([calls[0][:1], *(own[1:] for own in calls)])

    def name(row: int) -> str:
        return place if row == 0 else f"{place} with {BASES[places[row - 1, 1]]} for its base {places[row - 1, 0] + 1}"

    check_finite(scores, model, name)
    table = np.zeros((end - start, len(BASES)))
    table[encode_bases(sequence[start:end]) == UNKNOWN] = np.nan
    table[places[:, 0], places[:, 1]] = scores[1:] - scores[0]
    return table


def conditional_changes(
    model: LanguageModel,
    sequence: str,
    start: int,
    end: int,
    recipe: Recipe,
    batch_size: BatchSize = 64,
    place: str = "the sequence",
) -> np.ndarray:
    """log p(base) - log p(own base) at each position, as recipes score alleles that are masked: shape as [`changes`].

    Of a masked model with the position masked, one row of a forward pass a position; of a causal model given what is
    left of it, one row in all. NaN where nothing predicts a base: the first of the window, where the tokenizer puts
    nothing before it, and of a mean of strands the last as well.

    Raises:
        NotFinite: naming model and place, for a probability that is not finite.
        ValueError: if the tokenizer has not one token for each base.
    """
    log_p, length = _log_probabilities(model, sequence, start, end, batch_size, place), len(sequence)
    if recipe.strand == "mean":
        turned = reverse_complement(sequence)
        other = _log_probabilities(model, turned, length - end, length - start, batch_size, place)
        log_p = (log_p + other[::-1, ::-1]) / 2  # of the complement, in reverse: the columns turn round as well
    codes = encode_bases(sequence[start:end])[:, None].astype(int)
    own = np.take_along_axis(log_p, codes.clip(max=UNKNOWN - 1), axis=1)
    table = np.where(codes == UNKNOWN, np.nan, log_p - own)
    return table / length if recipe.reduction == "mean" else table


@torch.inference_mode()
def _log_probabilities(
    model: LanguageModel, sequence: str, start: int, end: int, batch_size: BatchSize, place: str
) -> np.ndarray:
    """log p of the four bases at [start, end), (end - start, 4); NaN where nothing predicts them."""
    ids = torch.tensor(base_ids(model), device=model.device)
    inputs, _ = model.encode([sequence])
    tokens = inputs["input_ids"].shape[1]
    at = torch.arange(start, end, device=model.device) + model.before
    if model.kind == "causal":
        with model.passing(1, tokens):
            log_p = model.model(**inputs).logits[0].float().log_softmax(-1)[:, ids]
        predicted = log_p[:-1].double().cpu().numpy()
        tokens_read = (at[at > 0] - 1).cpu().numpy()
        check_finite(predicted[tokens_read], model.name, lambda _: place)
        return np.asarray(np.concatenate([np.full((1, len(ids)), np.nan), predicted])[at.cpu().numpy()])

    def run(rows: slice, size: int) -> np.ndarray:
        part = at[rows]
        masked = {name: values.expand(len(part), -1).clone() for name, values in inputs.items()}
        here = torch.arange(len(part), device=model.device)
        masked["input_ids"][here, part] = model.tokenizer.mask_token_id
        with model.passing(size, tokens):
            logits = model.model(**masked).logits[here, part]
        return np.asarray(logits.float().log_softmax(-1)[:, ids].double().cpu())

    log_p = np.concatenate(model.in_batches(len(at), tokens, batch_size, run))
    check_finite(log_p, model.name, lambda _: place)
    return log_p


def likelihood_changes(
    model: Any,
    sequence: str,
    start: int,
    end: int,
    recipe: Recipe,
    batch_size: BatchSize = 64,
    place: str = "the sequence",
) -> np.ndarray:
    """Changes of the (pseudo-)log-likelihood by a recipe, in nats: of masked alleles, or of whole sequences.

    NaN for a sequence of one base, if nothing predicts it.
    """
    if recipe.alleles == MASKED:
        return conditional_changes(model, sequence, start, end, recipe, batch_size, place)

    def score(sequences: Sequence[str]) -> np.ndarray:
        return score_sequences(model, sequences, recipe, [0] * len(sequences), batch_size=batch_size)

    table = changes(score, sequence, start, end, model.name, place)
    if len(sequence) == 1 and not np.nan_to_num(table).any():  # a sum over no token
        table[:] = np.nan
    return table


def importance(table: np.ndarray, sequence: str) -> np.ndarray:
    """What the observed base adds, at each position: (L, 4), zero but for the observed base where it has a score.

    The score of the observed base less the mean over all four, out of [`changes`] (L, 4): tangermeme's convention.
    """
    mean = table.mean(axis=1, keepdims=True)
    return np.where((one_hot(encode_bases(sequence)) > 0) & ~np.isnan(mean), -mean, 0.0)


def panel_of(region: Region, values: np.ndarray) -> Panel:
    """Values of a region's bases, as a picture has them."""
    return region_panel(region.chrom, region.start, region.end, values)


def unit_of(how: Mapping[str, Any], scorer: Any) -> str:
    """The unit of changes.

    Args:
        how: the fields of the recipe.
    """
    if how["name"] == HEAD:
        return "log-odds" if exclusive(scorer.model.config) else "output"
    return "nats" if how["reduction"] == "sum" else "nats a token"


def regions_of(
    genome: Genome, bed: Path | None, region: str | None, window: int | None
) -> tuple[list[Region], LeftOut]:
    """Regions to mutate: of a BED file, the one of `region`, or all contigs whole; and rows of the file left out.

    Raises:
        InputError: naming file, line and region, for one outside its contig or longer than the window.
    """
    if bed is not None and region is not None:
        raise InputError(f"regions {bed} and region {region}: give one of them")
    if bed is not None:
        found, left_out = read_regions(bed, genome)
        places = zip(found.chrom, found.start.tolist(), found.end.tolist(), strict=True)
        return [placed(genome, str(bed), chrom, start, end, window) for chrom, start, end in places], left_out
    if region is not None:
        parts = re.fullmatch(r"(.+):(\d[\d,]*)-(\d[\d,]*)", region, re.ASCII)
        first, last = (int(number.replace(",", "")) for number in parts.groups()[1:]) if parts else (0, 0)
        if parts is None or not 1 <= first <= last:
            raise InputError(f"region {region}: is not CONTIG:FIRST-LAST, counted from 1")
        return [placed(genome, f"region {region}", parts[1], first - 1, last, window)], {}
    whole = [placed(genome, str(genome.path), chrom, 0, length, window) for chrom, length in genome.contigs.items()]
    return whole, {}


def placed(genome: Genome, source: str, chrom: str, start: int, end: int, window: int | None) -> Region:
    """A region in the middle of its window, which is moved into the contig, or is the contig if that is shorter.

    Args:
        source: what to name in errors.
    """
    contig = find_contig(chrom, genome.contigs) or chrom
    try:
        length = genome.length(contig)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    if not 0 <= start < end <= length:
        raise InputError(f"{source}: {chrom}:{start + 1}-{end} is not within the contig's {length} bases")
    if window is None:
        return Region(contig, start, end, start, end)
    if end - start > window:
        raise InputError(
            f"{source}: {chrom}:{start + 1}-{end} has {end - start} bases, more than the window of {window}"
        )
    left = max(0, min((start + end - window) // 2, length - window))
    return Region(contig, start, end, left, min(left + window, length))


def method_of(
    scorer: Any, recipe: str, strand: str | None, label: str | int | None, batch_size: BatchSize
) -> tuple[Callable[..., np.ndarray], dict[str, Any]]:
    """Changes as a function of (sequence, start, end, place=), and the fields of the recipe."""
    if recipe == HEAD:
        config = scorer.model.config
        how = {"name": HEAD, "strand": strand or "forward", "output": config.id2label[label_index(config, label)]}
        return partial(
            changes, head_scorer(scorer, label, how["strand"], batch_size, alike=True), model=scorer.name
        ), how
    if label is not None:
        raise InputError(f"label {label}: {scorer.name} is scored by likelihood, without a head")
    chosen = RECIPES[recipe].of(scorer)
    chosen.check(scorer, alleles=True)
    if strand is not None:
        chosen = chosen._replace(strand=strand)
    return partial(likelihood_changes, scorer, recipe=chosen, batch_size=batch_size), chosen._asdict()


def model_rows(model: Any, regions: list[Region], how: dict[str, Any]) -> int:
    """About how many rows go through a model; refuse a window that a language model cannot read."""
    strands = 2 if how["strand"] == "mean" else 1
    mutants = strands * sum(3 * (own.end - own.start) + 1 for own in regions)
    if how["name"] == HEAD or not isinstance(model, LanguageModel):
        return mutants
    recipe = Recipe(**how)
    width = max(own.window_end - own.window_start for own in regions)
    model.encode([("ACGT" * width)[:width]])
    if model.kind != "masked":
        return strands * len(regions) if recipe.alleles == MASKED else mutants
    fewest = strands * sum(own.end - own.start for own in regions)
    if recipe.alleles == MASKED:
        log.info("masked model: about %s rows through the model", f"{fewest:,}")
        return fewest
    widths = {own.window_end - own.window_start for own in regions}
    passes = {width: model.forward_passes([("ACGT" * width)[:width]], recipe.special_tokens) for width in widths}
    rows = strands * sum(passes[own.window_end - own.window_start] * (3 * (own.end - own.start) + 1) for own in regions)
    log.info("masked model: about %s rows through the model; the recipe dart-eval takes %s", f"{rows:,}", f"{fewest:,}")
    return rows


def as_table(region: Region, sequence: str, changes: np.ndarray) -> pa.Table:
    """Rows of the output, position by position: [`SCHEMA`], start and end counted from 0, as in BED.

    Positions without changes, which are no known bases or which nothing predicts, have no rows.
    """
    places = places_of(sequence)
    row, base = places[~np.isnan(changes[places[:, 0], places[:, 1]])].T
    columns = {
        "chrom": [region.chrom] * len(row),
        "start": region.start + row,
        "end": region.start + row + 1,
        "region": [region.name] * len(row),
        "ref": np.array([*sequence])[row],
        "alt": np.array([*BASES])[base],
        "change": changes[row, base],
    }
    return pa.table(columns, schema=SCHEMA)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet or as text, whole or not at all.

    Text is tab-separated under a line of names that begins with #, which makes it a BED file.
    """
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(table, temporary)
            return
        lines = [f"#{chr(9).join(table.column_names)}\n"]
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            lines.append("\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in row) + "\n")
        text = "".join(lines).encode()
        temporary.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
