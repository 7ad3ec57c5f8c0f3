"""What a model says of the variants of a VCF: SNVs, insertions, deletions, several alleles in a record."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_dart.contigs import check_same_build
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, replacing, shown
from datasets_dart.formats.fasta import Genome, open_genome
from datasets_dart.formats.vcf import (
    SCORED,
    SHOWN,
    SWAPPED,
    Haplotypes,
    Header,
    Mismatch,
    Odd,
    Record,
    Summary,
    haplotypes,
    read_header,
    read_records,
    sort_records,
    summarise,
)
from datasets_dart.outputs import check_output, sweep
from evaluation_dart.inputs import described_inputs
from evaluation_dart.models.kinds import INT8
from evaluation_dart.models.language_model import BatchSize, Encoder
from evaluation_dart.recipes import HEAD, OF_BASES, TOKENS_L2, UNSIGNED, WHOLE, VariantRecipe, variant_recipe
from evaluation_dart.records import SCHEMA_VERSION
from evaluation_dart.scoring.alleles import Scores, VariantScorer
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.shards import Share, Stages, part_rows
from evaluation_dart.tools.loading import (
    VARIANT_COLUMNS,
    Model,
    Table,
    as_file,
    default_recipe,
    load,
    paths_of,
)
from evaluation_dart.tools.parts import begin, complete, do_share, join, one_process
from evaluation_dart.tools.variant_files import Named, output_suffix, write_scores
from evaluation_dart.training.accelerators import process_state
from evaluation_dart.workload import announce

WINDOW = 1024
PART = 2048
MISMATCHES = ("skip", "fail", "swap")
INDEXES = (".tbi", ".csi")
MISMATCH_LIST = ".ref_mismatches.tsv"
LIST_HEADER = "line\tchrom\tposition\tref\talt\tgenome\n"
# Bases in the windows that are cut out and tokenised together
BASES_AT_ONCE = 1 << 18
NOTHING = (np.nan, np.nan, np.nan)
PART_COLUMNS: dict[str, Any] = {"record": "int64", "score": "f8", "ref_score": "f8", "alt_score": "f8", "status": "U"}

RESERVED = """
AA AC AD ADF ADR AF AN BKPTID BQ CICN CIEND CILEN CIPOS CIRB CIRUC CIGAR CN DB DBRIPID DBVARID DGVID DP END EVENT
EVENTTYPE H2 H3 HOMLEN HOMSEQ IMPRECISE INSLEN MATEID MEINFO METRANS MQ MQ0 NOVEL NS PARID RB RN RUB RUC RUL RUS
SB SOMATIC SVCLAIM SVLEN SVTYPE VALIDATED
"""  # INFO keys that have a meaning in VCF 4.5 (section 1.6.1, table 1, and sections 3 and 5)
log = logging.getLogger(__name__)


def score_variants(
    variants: Table,
    genome: str | Path,
    model: Model,
    *,
    output: str | Path | None = None,
    plot: str | Path | None = None,
    recipe: str | None = None,
    strand: str | None = None,
    window: int = WINDOW,
    ref_mismatch: str = "skip",
    name: str = "DNALM",
    layer: int = -1,
    label: str | int | None = None,
    batch_size: BatchSize = "auto",
    part: int | None = None,
    revision: str | None = None,
    device: Any = None,
    dtype: str = "float32",
    trust_remote_code: bool = False,
    overwrite: bool = False,
    share: str | None = None,
) -> pa.Table | dict[str, Any]:
    """Score variants with a model.

    Args:
        variants: a VCF, plain, gzip or bgzip, in any order; or a pandas or polars frame or a pyarrow.Table with
            columns chrom, position (from 1), ref and alt (several alleles with commas).
        genome: FASTA, plain, gzip or bgzip.
        model: a Hub id or folder of a causal or masked language model, or of one with a trained head;
            markov:FILE.safetensors; or a scorer in memory.
        output: .vcf.gz, .tsv, .tsv.gz or .parquet, sorted and indexed. A run that was killed goes on where it stopped
            when it is asked for again.
        plot: a picture of the distribution of scores by class of variant: .png, .svg or .pdf.
        recipe: of likelihoods; embedding-cosine, embedding-l2 or, of SNVs, embedding-l2-tokens; of SNVs and causal
            models next-token-jsd or four-base-llr; or head, of a trained head. None for head where there is one,
            otherwise whole-alleles.
        strand: forward, reverse or mean; None for the recipe's.
        window: bases around a variant that the model reads.
        ref_mismatch: where REF is not the genome's: "skip", no score; "fail"; or "swap", REF in ALT's place.
        name: of the INFO keys of a VCF.
        layer: of embeddings: index into the hidden states.
        label: of a head with several outputs: which, by name or number.
        batch_size: windows in a forward pass; "auto" for as many as fit.
        part: records in a part, the most that a kill can cost; None for about a minute's work of a small model on a
            CPU, at most 2,048.
        revision: branch, tag or commit of a model on the Hub.
        device: "cpu", "cuda:0", ...; None for a GPU if there is one.
        dtype: of the model's weights: "float32", "bfloat16" or "float16"; or "int8" (docs/quantisation.md).
        trust_remote_code: run the code that a model's repository brings.
        overwrite: start afresh, even if these scores are there.
        share: "3/64" does the third of 64 equal shares of the parts, and leaves them beside the output: of jobs on
            several machines with storage in common. The same call without it makes the output of all parts, and does
            those that are missing.

    Returns:
        A table with a row for each alternative allele, in the order of the input; with `output`, what OUTPUT.json says;
        with `share`, how many of the parts are there.

    Raises:
        InputError: naming file, line and value that cannot be used, or what the model cannot do.
        OSError: if there is no such file or model, or no room to write.
        MissingExtra: if what draws figures is not installed.
    """
    how = variant_recipe(recipe or default_recipe(model, revision, trust_remote_code), strand, layer, label)
    if ref_mismatch not in MISMATCHES:
        raise InputError(f"ref_mismatch {ref_mismatch!r}: there are {', '.join(MISMATCHES)}")
    own_share = None if share is None else read_share(share, output, plot, overwrite)
    if output is None:
        one_process()
    else:
        output_suffix(Path(output))
        check_output(output, paths_of(variants, genome, model), (*INDEXES, MISMATCH_LIST))
    state = process_state(device)
    if plot is not None:
        from evaluation_dart.tools.plots import check_plot  # with scipy and scikit-learn: seconds

        check_plot(plot, paths_of(variants, genome, model), overwrite)
    with (
        as_file(variants, VARIANT_COLUMNS, "variants.vcf") as vcf,
        TemporaryDirectory() as scratch,
        ExitStack() as stack,
    ):
        target = Path(scratch) / "scores.parquet" if output is None else Path(output)
        header, bases = opened(vcf, Path(genome), name)
        scorer = load(
            model,
            "head" if how.name == HEAD else "embedding" if is_embedding(how) else "likelihood",
            revision=revision,
            device=device or state.device,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
        )
        how = how.of(scorer)
        if dtype == INT8 and state.is_main_process:
            log.warning("int8: scores of variants may be far from those in float32 (docs/quantisation.md)")
        about = {
            "schema_version": SCHEMA_VERSION,
            "model": scorer.describe(),
            "recipe": how.described() | {"window": window, "indels": "left-aligned"},
            "ref_mismatch": ref_mismatch,
            "inputs": described_inputs(vcf=vcf, fasta=Path(genome)),
        }
        step = max(1, BASES_AT_ONCE // window)
        part = part or part_rows(PART, window * passes_of(scorer, how, 1, 1, window), step)

        def draw(summary: dict[str, Any]) -> None:
            if plot is not None and state.is_main_process:
                from evaluation_dart.tools.plots import plot_scores

                plot_scores(plot, target, name, how, summary, overwrite)

        if own_share is None:
            work = begin(stack, target, about, part, overwrite, companions=INDEXES, name=name)
        else:
            work = join(target, about, part, name=name)
        if isinstance(work, dict):
            if state.is_main_process:
                log.info("%s: these scores are there already", output)
            draw(work)
            return work
        with state.main_process_first():
            found = checked(vcf, bases, target, name, write_list=state.is_main_process and own_share is None)
        report(vcf, mismatch_list(target), found, ref_mismatch, state.is_main_process)
        in_order = found.sorted or output is None
        place = work.folder if own_share is None else Path(scratch)
        source = input_file(vcf) if in_order else place / "sorted.vcf"
        if not in_order and state.is_main_process:
            write_sorted(vcf, source, bases, found)
        state.wait_for_everyone()

        apply = VariantScorer(scorer, how, batch_size, window)
        passes = passes_of(scorer, how, found.records, found.alleles, window)

        def prepare() -> Stages:
            report_passes(scorer, how, passes, state.is_main_process)
            what = f"{found.alleles:,} alleles of {found.records:,} records, by {how.name}"
            announce(what, scorer, passes=passes, tokens=window, batch_size=apply.batch_size, alike=apply.alike)
            return record_scorer(source, bases, apply, window, ref_mismatch == "swap")

        if own_share is not None:
            return do_share(work, found.records, prepare, step, own_share, passes, "passes")

        def write(path: Path) -> dict[str, Any]:
            own = about["model"]
            made = f"{own['id']} at {own['revision']}, recipe {how.name}, strand {how.strand}, window {window}"
            named = Named(name, made, how.name in UNSIGNED)
            counts = write_scores(path, source, work.folder, header, named, bases, found)
            done, status = counts[SCORED] + counts[SWAPPED], {name or "scored": n for name, n in sorted(counts.items())}
            for odd, what in ((found.unreadable, "left out"), (found.invalid, "without a score")):
                if odd.count:
                    log.warning("%s of the lines %s: %s", f"{odd.count:,}", what, "; ".join(odd.first))
            log.info("%s of %s alleles scored: %s", f"{done:,}", f"{found.alleles:,}", status)
            return {
                "records": found.records,
                "alleles": found.alleles,
                "ref_mismatches": found.mismatches,
                "left_out": counted(found.unreadable, vcf),
                "invalid": counted(found.invalid, vcf),
                "status": status,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            }

        summary = complete(
            work,
            found.records,
            prepare,
            write,
            scorer.device_name,
            "records_scored_now",
            step,
            passes=passes,
            unit="passes",
        )
        draw(summary)
        return summary if output is not None else pq.read_table(target)


def read_share(text: str, output: Any, plot: Any, overwrite: bool) -> Share:
    """ "3/64" as a share, of work whose other arguments allow it."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(f"share {text!r}: give a job's number, from 1, and how many there are, such as 3/64")
    if output is None or plot is not None or overwrite:
        raise InputError("a share of the work needs an output, draws no plot, and overwrites nothing")
    return Share(int(number), int(of))


def is_embedding(recipe: VariantRecipe) -> bool:
    """Whether a model without a language-model head can be scored by a recipe."""
    return recipe.likelihood is None and recipe.name not in OF_BASES


def without_likelihood(recipe: VariantRecipe) -> tuple[str, str]:
    """Which variants a recipe that is of no likelihood takes, and what becomes of windows beyond their contig."""
    return ("SNVs" if recipe.name in (*OF_BASES, TOKENS_L2) else "any"), "moved"


def opened(vcf: Path, fasta: Path, name: str) -> tuple[Header, Genome]:
    """Header and genome.

    Raises:
        FileNotFoundError, InputError: for files that are not what they should be, of several builds, or INFO keys that
            are taken.
    """
    header = read_header(input_file(vcf))
    if not name.isidentifier() or not name.isascii():
        raise InputError(f"name {name!r}: letters, digits and _ only, as in an INFO key")
    if taken := sorted(key for key in header.info if key == name or key.startswith(f"{name}_")):
        raise InputError(f"{vcf}: the INFO key {taken[0]} already exists; choose another name for the new ones")
    if name in RESERVED.split():
        raise InputError(f"name {name}: the VCF format has given this INFO key a meaning of its own; choose another")
    genome = open_genome(fasta)
    check_same_build(vcf, header.contigs, genome.contigs, genome.path)
    return header, genome


def counted(odd: Odd, vcf: Path) -> dict[str, Any]:
    """How many lines of a VCF are odd in one way, and what is wrong with the first ones, by their lines."""
    return {"count": odd.count, "first": [f"line {what.removeprefix(f'{input_file(vcf)}:')}" for what in odd.first]}


def mismatch_list(output: Path) -> Path:
    """The file beside an output that lists the records whose REF is not the genome's."""
    return output.absolute().with_name(output.name + MISMATCH_LIST)


def check_list(listed: Path) -> None:
    """Raise InputError where a file that is no list of ours is in its place; remove what kills left beside it."""
    sweep(listed)
    if os.path.lexists(listed):
        with listed.open("rb") as file:
            if file.readline() != LIST_HEADER.encode():
                raise InputError(
                    f"{listed}: was not written by this program, and the list of mismatches goes there; move it"
                )


def checked(vcf: Path, genome: Genome, output: Path, name: str, write_list: bool) -> Summary:
    """All records read once; those whose REF is not the genome's listed beside the output."""
    path, listed = input_file(vcf), mismatch_list(output)
    if not write_list:
        return summarise(path, genome, new_key=name)
    check_list(listed)
    with replacing(listed) as temporary, temporary.open("w") as file:
        file.write(LIST_HEADER)

        def write(found: Mismatch) -> None:
            own = found.record
            words = own.line, own.chrom, own.position, own.reference, ",".join(own.alternatives) or ".", found.genome
            file.write("\t".join(map(str, words)) + "\n")

        summary = summarise(path, genome, write, name)
    if not summary.mismatches:
        listed.unlink()
    return summary


def report(vcf: Path, listed: Path, found: Summary, ref_mismatch: str, main_process: bool) -> None:
    """Log what the records are.

    Raises:
        InputError: where nothing can be scored, or mismatches are to be a failure.
    """
    missing = [name for name, of_genome in found.contigs.items() if of_genome is None]
    if missing and len(missing) == len(found.contigs):
        raise InputError(f"{vcf}: none of its contigs is in the genome: {', '.join(missing[:5])}")
    if ref_mismatch == "skip" and 0 < found.mismatches == found.records:
        raise InputError(f"{vcf}: no REF in it is what the genome has ({listed}): a genome of another build?")
    text = f"{vcf}: REF of {found.mismatches:,} of {found.records:,} records is not what the genome has ({listed})"
    if found.mismatches and ref_mismatch == "fail":
        raise InputError(f"{text}: a genome of another build?")
    if not main_process:
        return
    if missing:
        log.warning(
            f"{len(missing)} contigs are not in the genome, their variants get no score: {', '.join(missing[:5])}"
        )
    if found.mismatches:
        log.warning(text)
    else:
        log.info(f"{found.records:,} records, {found.alleles:,} alternative alleles; every REF is what the genome has")


def write_sorted(vcf: Path, copy: Path, genome: Genome, found: Summary) -> None:
    """Write a sorted copy of a VCF: contigs in the genome's order."""
    rank = {name: number for number, name in enumerate(genome.contigs)}
    order = sorted(found.contigs, key=lambda name: rank.get(found.contigs[name] or "", len(rank)))
    with replacing(copy) as temporary:
        sort_records(input_file(vcf), temporary, order)


def passes_of(scorer: Any, recipe: VariantRecipe, records: int, alleles: int, window: int) -> int:
    """About how many rows go through a model; refuse a window that does not fit."""
    likelihood, strands = recipe.likelihood, 2 if recipe.strand == "mean" else 1
    windows = strands * (records + alleles)
    if not isinstance(scorer, Encoder):
        return windows
    _, own = scorer.encode([("ACGT" * window)[:window]])
    if likelihood is not None and likelihood.alleles != WHOLE:
        return strands * alleles
    if likelihood is not None and scorer.kind == "masked":
        return windows * int(own.sum())
    return windows


def report_passes(scorer: Any, recipe: VariantRecipe, passes: int, main_process: bool) -> None:
    """Log what a masked model's whole alleles cost."""
    likelihood = recipe.likelihood
    masked = isinstance(scorer, Encoder) and scorer.kind == "masked"
    if main_process and masked and likelihood is not None and likelihood.alleles == WHOLE:
        log.info("masked model: about %s rows through the model, one for each token", f"{passes:,}")
        log.info("the recipe dart-eval takes one row for each allele")


def record_scorer(source: Path, genome: Genome, apply: VariantScorer, window: int, swap: bool) -> Stages:
    """Records of a range and their windows are read, and scored; later ranges after earlier ones.

    It raises InputError naming model and record where the model gives what is not a finite number.
    """
    stream, position = read_records(source), 0
    likelihood = apply.recipe.likelihood
    variants, ends = (likelihood.variants, likelihood.ends) if likelihood else without_likelihood(apply.recipe)

    def read(rows: range) -> tuple[list[Record], Haplotypes]:
        nonlocal position
        records = list(islice(stream, rows.start - position, rows.stop - position))
        position = rows.stop
        return records, haplotypes(records, genome, window, swap, variants, ends)

    def work(rows: range, given: tuple[list[Record], Haplotypes]) -> dict[str, Any]:
        records, cut = given
        scores = apply(cut.sequences, cut.group)
        of_alleles = np.flatnonzero(cut.allele)
        owners = [*zip(cut.record[of_alleles].tolist(), cut.allele[of_alleles].tolist(), strict=True)]
        check_scores(apply, scores, [(records[row], number) for row, number in owners])
        found = dict(zip(owners, zip(scores.score, scores.reference, scores.alternative, strict=True), strict=True))
        why = dict(zip(owners, scores.status, strict=True))
        columns: dict[str, list[Any]] = {name: [] for name in PART_COLUMNS}
        for row, (number, states) in zip(rows, enumerate(cut.status), strict=True):
            for key, status in zip(((number, allele) for allele in count(1)), states, strict=False):
                own = (row, *found.get(key, NOTHING), why.get(key) or status)
                for values, value in zip(columns.values(), own, strict=True):
                    values.append(value)
        return {name: np.array(values, dtype=PART_COLUMNS[name]) for name, values in columns.items()}

    return Stages(read, work)


def check_scores(apply: VariantScorer, scores: Scores, alleles: Sequence[tuple[Record, int]]) -> None:
    """Raise NotFinite naming model and record where a score is no number though nothing says why it is missing."""
    rows = [row for row, status in enumerate(scores.status) if not status]
    values = scores.score[:, None] if apply.recipe.name in UNSIGNED else np.stack(scores[:3], axis=1)

    def name(row: int) -> str:
        record, number = alleles[rows[row]]
        what = f"{record.chrom}:{record.position} {record.reference}>{record.alternatives[number - 1]}"
        return shown(what, SHOWN)

    check_finite(values[rows], apply.scorer.name, name)
