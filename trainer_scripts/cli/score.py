"""The command `hyenadna score`: what a model says of the variants of a VCF (docs/variants.md).

Scores are kept in parts as they come, so that a run that was killed goes on where it stopped. Several processes:

    accelerate launch --num_processes 4 -m trainer_scripts.cli.hyenadna score ...              on GPUs
    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.hyenadna score ...         on CPU
"""

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    from datasets_dart.formats.fasta import Genome
    from datasets_dart.formats.vcf import Header, Record, Summary
    from evaluation_dart.scoring.alleles import VariantRecipe, VariantScorer
    from evaluation_dart.tools.variant_files import Named

WINDOW = 1024
PART = 2048
CPU_BATCH = 16  # windows whose activations stay in the processor's cache
# Bases in the windows that are cut out and tokenised together
BASES_AT_ONCE = 1 << 22


class RefMismatch(StrEnum):
    skip = "skip"
    fail = "fail"
    swap = "swap"


def score(
    vcf: Annotated[Path, typer.Option(help="variants: plain, gzip or bgzip; in any order")],
    fasta: Annotated[Path, typer.Option(help="genome: plain, gzip or bgzip")],
    model: Annotated[
        str, typer.Option(help="Hub id or folder of a causal or masked language model, or of one with a trained head")
    ],
    output: Annotated[Path, typer.Option(help="file to write: .vcf.gz, .tsv, .tsv.gz or .parquet")],
    recipe: Annotated[
        str, typer.Option(help="of dart-eval ls; or embedding-cosine, embedding-l2; or head, of a fine-tuned model")
    ] = "biofoundation",
    strand: Annotated[str | None, typer.Option(help="forward, reverse or mean; default: the recipe's")] = None,
    window: Annotated[int, typer.Option(help="bases around a variant that the model reads", min=2)] = WINDOW,
    ref_mismatch: Annotated[
        RefMismatch, typer.Option(help="where REF is not the genome's: no score, no output at all, or ALT's place")
    ] = RefMismatch.skip,
    name: Annotated[str, typer.Option(help="of the INFO keys")] = "DNALM",
    layer: Annotated[int, typer.Option(help="of embeddings: index into the hidden states")] = -1,
    label: Annotated[int | None, typer.Option(help="of a head with more than two outputs: which one, from 0")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="windows in a forward pass; default: 64, on a CPU 16", min=1)
    ] = None,
    part: Annotated[int, typer.Option(help="records in a part: what a kill can cost", min=1)] = PART,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Score the variants of a VCF with a model: SNVs, insertions, deletions, several alleles in a record.

    The output is sorted and indexed; beside it lie OUTPUT.json, which says what was done, and where REF is not what the
    genome has, OUTPUT.ref_mismatches.tsv. A run that was killed goes on where it stopped when the same line is given.

    hyenadna score --vcf in.vcf.gz --fasta hg38.fa --model my-model --output out.vcf.gz
    """
    from accelerate.utils import gather_object
    from transformers.utils import logging

    from evaluation_dart.records import digest, package_versions
    from evaluation_dart.run import score_in_shards
    from evaluation_dart.scoring.alleles import DISTANCES, VariantScorer, variant_recipe
    from evaluation_dart.tools.variant_files import Named, output_suffix, read_sidecar
    from evaluation_dart.training.accelerators import process_state
    from trainer_scripts.cli.dart_eval import described_inputs

    output_suffix(output)
    how = variant_recipe(recipe, strand, layer, label)
    state = process_state(device)
    say: Callable[[str], None] = lambda text: typer.echo(text, err=True) if state.is_main_process else None  # noqa: E731
    logging.disable_progress_bar()
    header, genome = opened(vcf, fasta, name)
    options = {"revision": revision, "device": device or state.device, "dtype": dtype}
    scorer, described = load_scorer(model, how, options, trust_remote_code)
    about: dict[str, Any] = {
        "model": described,
        "recipe": how.described() | {"window": window},
        "ref_mismatch": ref_mismatch.value,
        "inputs": described_inputs(vcf=vcf, fasta=fasta),
    }
    identity = digest(about | {"name": name})
    finished = read_sidecar(output)
    if output.is_file() and finished is not None and finished.get("fingerprint") == identity:
        say(f"{output}: these scores are there already")
        return
    parts = output.absolute().with_name(f".{output.name}.parts-{identity[:16]}-{part}")
    parts.mkdir(parents=True, exist_ok=True)
    state.wait_for_everyone()
    with state.main_process_first():
        found = checked(vcf, genome, output, write_list=state.is_main_process)
    say_what_was_found(say, vcf, output, found, ref_mismatch)
    source = sorted_input(vcf, genome, found, parts, state.is_main_process)
    state.wait_for_everyone()

    def prepare() -> Callable[[range], dict[str, Any]]:
        on_gpu = hasattr(scorer, "device") and scorer.device.type != "cpu"
        apply = VariantScorer(scorer, how, batch_size or (64 if on_gpu else CPU_BATCH))
        say_passes(say, scorer, how, found, window)
        return record_scorer(source, genome, apply, window, ref_mismatch == RefMismatch.swap)

    begun = time.perf_counter()
    scored_now = score_in_shards(prepare, found.records, parts, part)
    about |= {
        **{"fingerprint": identity, "device": getattr(scorer, "device_name", "cpu"), "versions": package_versions()},
        **{"processes": state.num_processes, "records_scored_now": sum(gather_object([scored_now]))},
        "seconds": round(time.perf_counter() - begun, 3),
    }
    if state.is_main_process:
        named = Named(name, described_score(about), how.name in DISTANCES)
        say(finish(output, source, parts, header, named, genome, found, about))
    state.wait_for_everyone()


def opened(vcf: Path, fasta: Path, name: str) -> tuple["Header", "Genome"]:
    """Header and genome.

    Raises:
        FileNotFoundError, ValueError: for files that are not what they should be, of several builds, or INFO keys that
            are taken.
    """
    from datasets_dart.contigs import check_same_build
    from datasets_dart.files import input_file
    from datasets_dart.formats.fasta import open_genome
    from datasets_dart.formats.vcf import read_header

    header = read_header(input_file(vcf))
    if not name.isidentifier() or not name.isascii():
        raise InputError(f"--name {name!r}: letters, digits and _ only, as in an INFO key")
    if taken := sorted(key for key in header.info if key == name or key.startswith(f"{name}_")):
        raise InputError(f"{vcf}: INFO key {taken[0]} is there already; call the new ones otherwise (--name)")
    genome = open_genome(fasta)
    check_same_build(vcf, header.contigs, genome.contigs, genome.path)
    return header, genome


def load_scorer(
    model: str, recipe: "VariantRecipe", options: dict[str, Any], trust_remote_code: bool
) -> tuple[Any, dict[str, Any]]:
    """What scores, and what the output says of it."""
    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.records import model_id
    from evaluation_dart.scoring.alleles import HEAD, load_head
    from trainer_scripts.cli import dart_eval

    if recipe.name != HEAD:
        setting = "zero_shot_likelihood" if recipe.likelihood is not None else "zero_shot_embedding"
        return dart_eval.load_scorer(model, setting, options, trust_remote_code)
    scorer = load_head(model, trust_remote_code=trust_remote_code, **options)
    described = {"id": model_id(model), "revision": scorer.revision, "parameters": scorer.num_parameters}
    return scorer, described | {"dtype": options["dtype"]}


def checked(vcf: Path, genome: "Genome", output: Path, write_list: bool) -> "Summary":
    """All records read once; those whose REF is not the genome's listed beside the output."""
    from datasets_dart.files import input_file, replacing
    from datasets_dart.formats.vcf import Mismatch, summarise

    path, listed = input_file(vcf), mismatch_list(output)
    if not write_list:
        return summarise(path, genome)
    with replacing(listed) as temporary, temporary.open("w") as file:
        file.write("line\tchrom\tposition\tref\talt\tgenome\n")

        def write(found: Mismatch) -> None:
            record = found.record
            alternatives = ",".join(record.alternatives) or "."
            place = f"{record.line}\t{record.chrom}\t{record.position}"
            file.write(f"{place}\t{record.reference}\t{alternatives}\t{found.genome}\n")

        summary = summarise(path, genome, write)
    if not summary.mismatches:
        listed.unlink()
    return summary


def mismatch_list(output: Path) -> Path:
    return output.absolute().with_name(f"{output.name}.ref_mismatches.tsv")


def say_what_was_found(
    say: Callable[[str], None], vcf: Path, output: Path, found: "Summary", ref_mismatch: RefMismatch
) -> None:
    """Raises ValueError where nothing can be scored, or mismatches are to be a failure."""
    missing = [name for name, of_genome in found.contigs.items() if of_genome is None]
    if missing and len(missing) == len(found.contigs):
        raise InputError(f"{vcf}: none of its contigs is in the genome: {', '.join(missing[:5])}")
    if missing:
        say(f"{len(missing)} contigs are not in the genome, their variants get no score: {', '.join(missing[:5])}")
    if found.mismatches:
        listed = mismatch_list(output)
        text = f"{vcf}: REF of {found.mismatches:,} of {found.records:,} records is not what the genome has ({listed})"
        if ref_mismatch == RefMismatch.fail:
            raise InputError(f"{text}: a genome of another build?")
        say(text)
    else:
        say(f"{found.records:,} records, {found.alleles:,} alternative alleles; every REF is what the genome has")


def sorted_input(vcf: Path, genome: "Genome", found: "Summary", parts: Path, main_process: bool) -> Path:
    """The VCF itself or, where that is not sorted, a sorted copy among the parts: contigs in the genome's order."""
    from datasets_dart.files import input_file, replacing
    from datasets_dart.formats.vcf import sort_records

    path = input_file(vcf)
    if found.sorted:
        return path
    copy = parts / "sorted.vcf"
    if main_process and not copy.exists():
        rank = {name: number for number, name in enumerate(genome.contigs)}
        order = sorted(found.contigs, key=lambda name: rank.get(found.contigs[name] or "", len(rank)))
        with replacing(copy) as temporary:
            sort_records(path, temporary, order)
    return copy


def say_passes(say: Callable[[str], None], scorer: Any, recipe: "VariantRecipe", found: "Summary", window: int) -> None:
    """Before it begins: whether the window fits, and that a masked model's whole alleles cost a pass a token."""
    if not hasattr(scorer, "forward_passes"):
        return
    passes = scorer.forward_passes(["ACGT" * (window // 4) + "ACGT"[: window % 4]])
    likelihood = recipe.likelihood
    if scorer.kind == "masked" and likelihood is not None and likelihood.alleles == "whole":
        rows = passes * (found.records + found.alleles) * (2 if recipe.strand == "mean" else 1)
        say(f"masked model: about {rows:,} rows through the model, one for each token; --recipe dart-eval takes one")


def record_scorer(
    source: Path, genome: "Genome", apply: "VariantScorer", window: int, swap: bool
) -> Callable[[range], dict[str, Any]]:
    """A function that scores the records of a range, later ranges after earlier ones."""
    import numpy as np

    from datasets_dart.formats.vcf import SCORED, SWAPPED, haplotypes, read_records

    stream: Iterator[Record] = read_records(source)
    position = 0
    at_once = max(1, BASES_AT_ONCE // window)
    likelihood = apply.recipe.likelihood
    substitutions = likelihood is not None and likelihood.alleles == "masked"

    def rows_of(rows: range, records: list["Record"]) -> dict[str, Any]:
        cut = haplotypes(records, genome, window, swap, substitutions)
        scores = apply(cut.sequences, cut.record)
        status = [state for states in cut.status for state in states]
        owner = [rows[row] for row, states in enumerate(cut.status) for _ in states]
        has = np.array([state in (SCORED, SWAPPED) for state in status], dtype=bool)
        columns = np.full((3, len(status)), np.nan)
        columns[:, has] = np.stack([scores.score, scores.reference, scores.alternative])
        for row in np.flatnonzero(has & np.isnan(columns[0])):
            status[row] = UNEQUAL_TOKENS
        return {"record": owner, "status": status} | dict(
            zip(("score", "ref_score", "alt_score"), columns, strict=True)
        )

    def score_range(rows: range) -> dict[str, Any]:
        nonlocal position
        for _ in range(rows.start - position):
            next(stream)
        position = rows.stop
        pieces = [
            rows_of(piece, [next(stream) for _ in piece])
            for piece in (rows[start : start + at_once] for start in range(0, len(rows), at_once))
        ]
        joined: dict[str, Any] = {}
        for column, kind in PART_COLUMNS.items():
            joined[column] = np.concatenate([np.array(piece[column], dtype=kind) for piece in pieces])
        return joined

    return score_range


UNEQUAL_TOKENS = "unequal_tokens"  # of a recipe that masks one allele for the other
PART_COLUMNS: dict[str, Any] = {"record": "int64", "score": "f8", "ref_score": "f8", "alt_score": "f8", "status": "U"}


def described_score(about: dict[str, Any]) -> str:
    """For the header of a VCF."""
    model, recipe = about["model"], about["recipe"]
    return (
        f"{model['id']} at {model['revision']}, recipe {recipe['name']}, strand {recipe['strand']}, "
        f"window {recipe['window']}"
    )


def finish(
    output: Path,
    source: Path,
    parts: Path,
    header: "Header",
    named: "Named",
    genome: "Genome",
    found: "Summary",
    about: dict[str, Any],
) -> str:
    """One file of all parts, and beside it what it is; the parts are removed. Returns what to say."""
    import shutil
    from datetime import UTC, datetime

    from evaluation_dart.tools.variant_files import scored, sidecar, write_scores, write_sidecar

    sidecar(output).unlink(missing_ok=True)  # from here on it would be of another file
    counts = write_scores(output, source, parts, header, named, genome, found.contigs)
    status = {state or "scored": count for state, count in sorted(counts.items())}
    whole = about | {
        **{"records": found.records, "alleles": found.alleles, "ref_mismatches": found.mismatches, "status": status},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_sidecar(output, whole)
    shutil.rmtree(parts)
    return f"{scored(counts):,} of {found.alleles:,} alleles scored: {status}; written to {output}"
