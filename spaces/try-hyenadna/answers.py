"""What the demo answers: scores, vectors and pictures of what is pasted, as HTML and as a table to copy.

Nothing of Gradio is here. Files are made in a temporary folder, in memory where the system has one, and removed with
the answer.
"""

import base64
import functools
import html
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import hyenadna_dart as hd

LONGEST = 1_000  # bases of a sequence
IN_A_LOGO = 100  # bases, of which each takes three passes
LONGEST_GENOME = 200_000
MOST_ROWS = 100  # variants or pairs
MOST_BYTES = 60_000_000  # of a model's weights
DEMO = "the demo model"
SEQUENCE = "sequence"
MODEL_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
IN_MEMORY = "/dev/shm"
STATUS = {
    "no_contig": "the FASTA has no such contig",
    "beyond_contig": "beyond the contig's end",
    "ref_mismatch": "REF is not what the FASTA has there",
    "no_sequence": "no sequence: a symbolic allele or a breakend",
    "invalid": "no allele of a VCF",
    "ambiguous": "a letter other than A, C, G, T",
    "same_as_ref": "ALT is REF",
    "too_long": "longer than half the window",
    "beyond_window": "too near an end",
}


class Answer(NamedTuple):
    """What the page shows: HTML, and the same values as tab-separated text to copy."""

    page: str
    table: str


def of_sequence(text: str, model: str = "") -> Answer:
    """Log-likelihood, vector and logo of one sequence.

    Args:
        text: bases, or one FASTA record. model: a Hub id; empty for the demo model.

    Raises:
        ValueError: for what cannot be used, in a sentence. OSError: for a model that cannot be had.
    """
    bases = bases_of(text, LONGEST)
    scorer = scorer_of(model)
    start = max(0, (len(bases) - IN_A_LOGO) // 2)
    end = min(len(bases), start + IN_A_LOGO)
    with written({"sequence.fa": f">{SEQUENCE}\n{bases}\n"}) as folder:
        genome, logo = folder / "sequence.fa", folder / "logo.svg"
        region = pa.table({"chrom": [SEQUENCE], "start": [0], "end": [len(bases)]})
        vector = np.asarray(hd.embed_regions(region, genome, scorer)["embedding"][0].as_py())
        hd.mutagenesis(genome, scorer, region=f"{SEQUENCE}:{start + 1}-{end}", window=max(2, len(bases)), logo=logo)
        picture = logo.read_bytes()
    rows = [["bases", f"{len(bases):,}"]]
    if hasattr(scorer, "log_likelihood"):
        total = float(scorer.log_likelihood([bases])[0])
        rows.append(["log-likelihood (nats)", f"{total:.3f}"])
        rows.append(["log-likelihood a base (nats; one of four at random: -1.386)", f"{total / len(bases):.4f}"])
    rows.append(["channels of the vector", f"{len(vector):,}"])
    rows.append(["length of the vector (Euclidean)", f"{np.linalg.norm(vector):.4g}"])
    page = heading(f"{len(bases):,} bases, by {scorer.describe()['id']}") + grid(["what", "value"], rows)
    page += heading("Importance of each base")
    page += paragraph(
        f"Bases {start + 1:,} to {end:,}: the score of the base that is there less the mean over all four, read within "
        "the whole sequence."
    )
    page += image(picture, f"logo of bases {start + 1} to {end}", wide=True)
    page += heading("Vector") + paragraph("Mean over the sequence of the last layer, a bar for each channel; no unit.")
    page += bars(vector)
    return Answer(page, "channel\tvalue\n" + "".join(f"{n}\t{value:.6g}\n" for n, value in enumerate(vector, 1)))


def of_variants(vcf: str, fasta: str, window: int = 512, model: str = "") -> Answer:
    """The score of each alternative allele of a VCF, and their distribution.

    Args:
        vcf: lines of a VCF, with or without its header. fasta: the contigs they lie on. window: bases that are read.

    Raises:
        ValueError, OSError: as [`of_sequence`].
    """
    lines = vcf_lines(vcf)
    if len(fasta) > LONGEST_GENOME:
        raise ValueError(f"The FASTA has {len(fasta):,} characters; this page takes {LONGEST_GENOME:,}.")
    if not fasta.lstrip().startswith(">"):
        raise ValueError("The second box takes FASTA: a line >NAME, named as the VCF's first column, then its bases.")
    scorer = scorer_of(model)
    files = {"variants.vcf": HEADER + "".join(lines), "genome.fa": fasta.strip() + "\n"}
    with written(files) as folder:
        given = {"variants": folder / "variants.vcf", "genome": folder / "genome.fa", "model": scorer, "window": window}
        hd.score_variants(**given, output=folder / "scores.parquet")
        found = pq.read_table(folder / "scores.parquet").to_pylist()
        plot = folder / "scores.svg"
        if any(row["score"] is not None for row in found):  # done already, so that it is only drawn
            hd.score_variants(**given, output=folder / "scores.parquet", plot=plot)
        picture = plot.read_bytes() if plot.exists() else b""
    columns = ["chrom", "position", "id", "ref", "alt", "score (nats)", "note"]
    rows = [
        [str(row[name]) for name in ("chrom", "position", "id", "ref", "alt")]
        + ["" if row["score"] is None else f"{row['score']:.4f}", STATUS.get(row["status"], row["status"])]
        for row in found
    ]
    page = heading(f"{len(rows):,} alleles, by {scorer.describe()['id']}")
    page += paragraph(
        "Score: log-likelihood of the window with ALT less that with REF, in nats. Below 0 the model prefers REF. It "
        "is no measure of harm."
    )
    page += grid(columns, rows)
    if picture:
        page += heading("By class of variant") + image(picture, "histograms of the scores by class of variant")
    return Answer(page, tsv(columns, rows))


def of_pairs(text: str, model: str = "") -> Answer:
    """The log-likelihoods of pairs of sequences, and their differences.

    Args:
        text: two sequences a line, with a space, tab or comma between them.

    Raises:
        ValueError, OSError: as [`of_sequence`].
    """
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if parts := re.split(r"[\s,;]+", line.strip()) if line.strip() else []:
            if len(parts) != 2:
                raise ValueError(f"Line {number} has {len(parts)} sequences; a pair has two, a space between them.")
            pairs.append([bases_of(own, LONGEST, f"Line {number}") for own in parts])
    check_rows(len(pairs), "pairs")
    scorer = scorer_of(model)
    if not hasattr(scorer, "log_likelihood"):
        raise ValueError(f"{scorer.name} has a trained head and no likelihoods; name a language model.")
    scores = scorer.log_likelihood([own for pair in pairs for own in pair]).reshape(-1, 2)
    columns = ["pair", "first (nats)", "second (nats)", "second - first (nats)"]
    rows = [
        [str(number), f"{first:.4f}", f"{second:.4f}", f"{second - first:.4f}"]
        for number, (first, second) in enumerate(scores.tolist(), 1)
    ]
    page = heading(f"{len(rows):,} pairs, by {scorer.describe()['id']}")
    page += paragraph("Log-likelihoods of whole sequences: of different lengths, the longer one has more to lose.")
    return Answer(page + grid(columns, rows), tsv(columns, rows))


def sentence(error: Exception) -> str:
    """What went wrong as the page says it: a sentence, without the folder of this answer and what is left there."""
    text = re.sub(r"/\S*/(?=(sequence|genome)\.fa|variants\.vcf)", "", " ".join(str(error).split()))
    text = re.sub(r" \(\S*\.ref_mismatches\.tsv\)", "", text)
    return text if text.endswith((".", "?")) else f"{text}."


@functools.lru_cache(maxsize=2)
def loaded(model: str) -> Any:
    """A model on the CPU."""
    return hd.load_scorer(model or hd.DEMO_MODEL, device="cpu")


def scorer_of(model: str) -> Any:
    """The demo model, or one of the Hub that is small enough; no code of its repository is run.

    Raises:
        ValueError: for a name that is no Hub id, or a model that is too large. OSError: for one that is not there.
    """
    name = model.strip()
    if name in ("", DEMO):
        return loaded("")
    if not MODEL_ID.fullmatch(name) or os.path.exists(name):
        raise ValueError(f"{name!r} is no model of the Hub: a name is OWNER/MODEL.")
    size = weights_of(name)
    if size > MOST_BYTES:
        raise ValueError(f"{name} has {size / 1e6:,.0f} MB of weights; this page takes {MOST_BYTES / 1e6:.0f} MB.")
    return loaded(name)


def weights_of(name: str) -> int:
    """Bytes of a Hub model's safetensors.

    Raises:
        ValueError: where there are none. OSError: where the Hub or the model cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        files = HfApi().model_info(name, files_metadata=True).siblings or []
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise OSError(f"{name} cannot be had from the Hub: {str(error).splitlines()[0]}") from error
    sizes = [own.size or 0 for own in files if own.rfilename.endswith(".safetensors")]
    if not sizes:
        raise ValueError(f"{name} has no safetensors; this page loads no other weights.")
    return sum(sizes)


def bases_of(text: str, most: int, what: str = "The sequence") -> str:
    """The bases of a text, in upper case.

    Raises:
        ValueError: for several records, other letters, or fewer than two or more than `most` bases.
    """
    lines = text.strip().splitlines()
    if sum(line.startswith(">") for line in lines) > 1:
        raise ValueError("There are several FASTA records; this box takes one.")
    bases = "".join(line for line in lines if not line.startswith(">"))
    bases = re.sub(r"\s", "", bases).upper()
    if found := re.search("[^ACGTN]", bases):
        raise ValueError(f"{what} has {found[0]!r} at base {found.start() + 1:,}; there are A, C, G, T and N.")
    if not 2 <= len(bases) <= most:
        raise ValueError(f"{what} has a length of {len(bases):,}; this page takes 2 to {most:,} bases.")
    return bases


def vcf_lines(text: str) -> list[str]:
    """The variants of a pasted VCF as lines with tabs, all columns that a VCF has before its samples.

    Raises:
        ValueError: for a line of fewer than five columns, or no or too many lines.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) < 5 or not fields[1].isdigit():
            raise ValueError(f"Line {number} is no variant: a VCF's line is CHROM, POS, ID, REF and ALT, and more.")
        lines.append("\t".join([*fields[:5], ".", ".", "."]) + "\n")
    check_rows(len(lines), "variants")
    return lines


def check_rows(number: int, what: str) -> None:
    """Raise ValueError for none, or too many."""
    if not 0 < number <= MOST_ROWS:
        raise ValueError(f"There are {number:,} {what}; this page takes 1 to {MOST_ROWS}.")


@contextmanager
def written(files: dict[str, str]) -> Iterator[Path]:
    """A folder with these files, which goes at the end."""
    where = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=where) as scratch:
        for name, text in files.items():
            Path(scratch, name).write_text(text, encoding="utf-8")
        yield Path(scratch)


def heading(text: str) -> str:
    """A heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{html.escape(text)}</p>"


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def tsv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as text."""
    return "".join("\t".join(row) + "\n" for row in (columns, *rows))


def image(svg: bytes, alt: str, wide: bool = False) -> str:
    """A picture within the page; a wide one scrolls by itself."""
    data = base64.b64encode(svg).decode()
    kind = "picture wide" if wide else "picture"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="picture">'
        f'<img class="{kind}" alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}"></div>'
    )


def bars(values: np.ndarray) -> str:
    """Values as bars from a line at 0, with the least and the largest in words."""
    heights = values / (float(np.abs(values).max()) or 1.0) * 20
    drawn = "".join(
        f'<rect x="{n}" width="0.8" y="{20 - max(height, 0):.2f}" height="{abs(height):.2f}"></rect>'
        for n, height in enumerate(heights.tolist())
    )
    said = f"from {values.min():.3g} to {values.max():.3g}"
    return (
        f'<svg class="bars" role="img" aria-label="{len(values)} values {said}" viewBox="0 0 {len(values)} 40" '
        f'preserveAspectRatio="none">{drawn}</svg>' + paragraph(f"{len(values):,} channels, {said}.")
    )
