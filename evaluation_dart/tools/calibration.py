"""Calibrated log-likelihood ratios: a variant's score less the mean score of neutral variants in the same context.

A context is the five bases around an SNV and its other allele. A model finds a change of CpG likely because such
changes are common, whatever they do; what neutral variants score says how likely. Source: Open-Athena/marin-dna at
16ce8f1 (src/marin_dna/pipelines/evals/calibration.py) and its issue 271: cLLR = LLR - llr_neutral_mean(pentanuc_mut),
and of magnitudes |LLR| - |llr_neutral_mean|; first in GPN-Star.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datasets_dart.alphabet import BASES
from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.outputs import check_output, described, made
from evaluation_dart.tools.loading import VCF_HEADER, Table
from evaluation_dart.tools.score_tables import VARIANT, as_floats, keys_of, scores_of, written

SOURCE = "Open-Athena/marin-dna@16ce8f1a7f712f6ef8aab72c66085608593d650a"
FEWEST = 10  # neutral variants of a context
REACH = 2  # bases on either side


def context_of(genome: Genome, chrom: str, position: int, ref: str, alt: str) -> str | None:
    """The five bases around an SNV, "_" and its other allele; None of what is no SNV of A, C, G, T within a contig.

    Args:
        position: from 1.

    Raises:
        InputError: where REF is not the genome's base.
    """
    name = find_contig(chrom, genome.contigs)
    start = position - 1 - REACH
    snv = len(ref) == len(alt) == 1 and ref in BASES and alt in BASES and ref != alt
    if name is None or not snv or start < 0 or position + REACH > genome.contigs[name]:
        return None
    around = genome.fetch(name, start, position + REACH)
    if not set(around) <= set(BASES):
        return None
    if around[REACH] != ref:
        raise InputError(f"{chrom}:{position} {ref}>{alt}: the genome has {around[REACH]}; another build?")
    return f"{around}_{alt}"


def contexts_of(genome: Genome, table: pa.Table) -> list[str | None]:
    """[`context_of`] each row of a table of scores."""
    return [context_of(genome, *own) for own in keys_of(table)]


def calibrate(
    scores: Table,
    neutral: Table,
    genome: str | Path,
    *,
    output: str | Path | None = None,
    fewest: int = FEWEST,
) -> pa.Table | dict[str, Any]:
    """Scores of variants less what neutral ones of their context score.

    Args:
        scores, neutral: tables of [`score_variants`] by one recipe: paths, or tables in memory. genome: FASTA.
        output: .parquet or .tsv. fewest: neutral variants of a context, without which it has no mean.

    Returns:
        The scores' table with columns context, neutral_n, neutral_mean, calibrated (score - mean) and
            calibrated_magnitude (|score| - |mean|), null where there is no mean; with `output`, what OUTPUT.json says.

    Raises:
        InputError: naming what cannot be read, or where no context has enough neutral variants.
    """
    if fewest < 1:
        raise InputError(f"fewest is {fewest}, not at least 1")

    def table() -> pa.Table:
        return calibrated(scores_of(scores), scores_of(neutral), open_genome(genome), fewest)

    about = {"score": "calibrated LLR", "source": SOURCE, "fewest": fewest}
    return written(output, table, about, [scores, neutral, genome])


def calibrated(scores: pa.Table, neutral: pa.Table, genome: Genome, fewest: int) -> pa.Table:
    """[`calibrate`] of tables in memory."""
    values: dict[str, list[float]] = {}
    for context, score in zip(contexts_of(genome, neutral), as_floats(neutral, "score").tolist(), strict=True):
        if context is not None and not np.isnan(score):
            values.setdefault(context, []).append(score)
    means = {context: float(np.mean(own)) for context, own in values.items() if len(own) >= fewest}
    if not means:
        raise InputError(f"no context has {fewest} neutral variants with a score: {len(values)} contexts have any")
    contexts = contexts_of(genome, scores)
    score = as_floats(scores, "score")
    mean = np.array([np.nan if own is None else means.get(own, np.nan) for own in contexts])
    counts = [0 if own is None else len(values.get(own, ())) for own in contexts]
    columns = {
        "context": pa.array(contexts, pa.string()),
        "neutral_n": pa.array(counts, pa.int64()),
        "neutral_mean": mean,
        "calibrated": score - mean,
        "calibrated_magnitude": np.abs(score) - np.abs(mean),
    }
    for name, own in columns.items():
        scores = scores.append_column(name, own if isinstance(own, pa.Array) else pa.array(own, from_pandas=True))
    return scores


def neutral_variants(
    sites: str | Path, genome: str | Path, *, output: str | Path | None = None, each: int | None = None, seed: int = 0
) -> pa.Table | dict[str, Any]:
    """Every SNV at the bases of intervals taken for neutral, for [`score_variants`].

    Args:
        sites: BED. genome: FASTA. output: .vcf. each: at most so many bases of each five-base context,
            drawn by `seed`.

    Returns:
        A table with columns chrom, position (from 1), ref and alt, several alleles with commas; with `output`, what
        OUTPUT.json says.
    """

    def table() -> pa.Table:
        opened = open_genome(genome)
        places: dict[str, list[tuple[str, int]]] = {}
        for _, chunk in read_intervals(input_file(sites)):
            for chrom, start, end in zip(chunk.chrom, chunk.start.tolist(), chunk.end.tolist(), strict=True):
                name = opened.contig(str(chrom))
                low, high = max(start - REACH, 0), min(end + REACH, opened.contigs[name])
                text = opened.fetch(name, low, high)
                for place in range(len(text) - 2 * REACH):
                    context = text[place : place + 2 * REACH + 1]
                    if start <= (at := low + place + REACH) < end and set(context) <= set(BASES):
                        places.setdefault(context, []).append((name, at))
        rng = np.random.default_rng(seed)
        rows = []
        for context, own in sorted(places.items()):
            kept = range(len(own)) if each is None else rng.permutation(len(own))[:each].tolist()
            others = ",".join(base for base in BASES if base != context[REACH])
            rows += [(*own[number], context[REACH], others) for number in kept]
        if not rows:
            raise InputError(f"{sites}: has no base with two known bases on either side")
        order = {name: number for number, name in enumerate(opened.contigs)}
        rows.sort(key=lambda row: (order[row[0]], row[1]))
        columns = [[name, at + 1, ref, alt] for name, at, ref, alt in rows]
        return pa.table(dict(zip(VARIANT, map(list, zip(*columns, strict=True)), strict=True)))

    if output is None:
        return table()
    target, files = Path(output), [Path(sites), Path(genome)]
    if target.suffix != ".vcf":
        raise InputError(f"{target}: variants are written as .vcf")
    check_output(target, files)

    def write(path: Path) -> dict[str, Any]:
        found = table()
        rows = zip(*(found[name].to_pylist() for name in VARIANT), strict=True)
        lines = [f"{chrom}\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, position, ref, alt in rows]
        path.write_text(VCF_HEADER + "".join(lines), encoding="utf-8")
        return {"rows": found.num_rows}

    about = {"made": "every SNV of neutral sites", "each": each, "seed": seed}
    return made(target, about | {"inputs": [described(path) for path in files]}, write, files)
