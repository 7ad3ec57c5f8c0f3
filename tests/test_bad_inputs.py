"""Inputs as people have them, and bad ones: what the commands make of each. docs/bad_inputs.md is this table.

HYENADNA_WRITE_DOCS=1 pytest tests/test_bad_inputs.py      writes the page anew
"""

import contextlib
import gzip
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest
from safetensors.torch import load_file, save

from evaluation_dart.records import write_record
from tests.evaluation_dart.report.test_report import submit
from trainer_scripts.cli import dart_eval, hyenadna

FIXTURES = Path(__file__).parent / "fixtures"
ORIGINAL = FIXTURES / "lightning_ckpt" / "config.json"
PAGE = Path(__file__).parents[1] / "docs" / "bad_inputs.md"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
CONTIGS = {
    name: "".join(np.random.default_rng(seed).choice(list("ACGT"), 400)) for seed, name in enumerate(("chr1", "chr2"))
}
FASTA = "".join(f">{name}\n{sequence}\n" for name, sequence in CONTIGS.items())
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
BED = "chr1\t100\t150\nchr2\t20\t90\n"
LABELLED = "".join(
    f"{name}\t{start}\t{start + 9}\t{'ab'[start // 40 % 2]}\n" for name in CONTIGS for start in range(40, 361, 40)
)
BLOCKS = "chr1\t0\t200\ttrain\nchr1\t200\t400\tvalidation\nchr2\t0\t400\ttest\n"
PROMPTS = f">one\n{CONTIGS['chr1'][:20]}\n"


def record(chrom: str, position: int, alternative: str = "", reference: str = "") -> str:
    reference = reference or CONTIGS["chr1" if chrom.endswith("1") else "chr2"][position - 1]
    alternative = alternative or next(base for base in "ACGT" if base != reference)
    return f"{chrom}\t{position}\t.\t{reference}\t{alternative}\t.\t.\t.\n"


VCF = HEADER + record("chr1", 100) + record("chr1", 200) + record("chr2", 50)


EFFECTS = "chrom\tpos\tref\talt\tbeta\n" + "".join(
    "\t".join([*line.split("\t")[:2], *line.split("\t")[3:5], "0.5"]) + "\n"
    for line in VCF.splitlines()
    if not line.startswith("#")
)
INFO = '##INFO=<ID={},Number={},Type={},Description="x">\n#CHROM'


# The files that commands read in the rows that say nothing else
FILES = {
    "g.fa": FASTA,
    "in.vcf": VCF,
    "in.tsv": EFFECTS,
    "in.bed": BED,
    "labelled.bed": LABELLED,
    "blocks.bed": BLOCKS,
    "prompts.fa": PROMPTS,
}


class Command(NamedTuple):
    """How a command is called in the rows that say nothing else."""

    line: str
    output: str = ""  # what must not be there after a failure
    program: Callable[[], None] = hyenadna.main


SHORT = f"--model {MODEL} --device cpu"
RECORD = "records/local__small_d32_l2_s130"
COMMANDS = {
    "score": Command(f"--variants in.vcf --genome g.fa --window 60 --output out.tsv {SHORT}", "out.tsv"),
    "embed": Command(f"--regions in.bed --genome g.fa --output out.parquet {SHORT}", "out.parquet"),
    "mutagenesis": Command(f"--region chr1:101-104 --genome g.fa --window 60 --output out.tsv {SHORT}", "out.tsv"),
    "generate": Command(f"--prompts prompts.fa --number 1 --length 5 --output out.fa {SHORT}", "out.fa"),
    "dataset": Command(
        "--regions labelled.bed --genome g.fa --window 20 --splits blocks.bed --output made", "made/dataset.json"
    ),
    "train": Command(
        f"--data made --model {MODEL} --output trained --num-train-epochs 1 --device cpu --no-logo", "trained/README.md"
    ),
    "fit-markov": Command("--genome g.fa --order 1 --validation-block 50 --output out.safetensors", "out.safetensors"),
    "dart-eval prepare": Command(
        "--task regulatory_elements --genome g.fa --elements in.bed --splits blocks.bed --cache-dir cache "
        "--to parquet --output made",
        "made/README.md",
        dart_eval.main,
    ),
    "dart-eval prepare --task variant_effects": Command(
        "--genome g.fa --variants in.tsv --cache-dir cache --to parquet --output made", "made/README.md", dart_eval.main
    ),
    "dart-eval prepare-step windows": Command("in.bed --output out.tsv", "out.tsv", dart_eval.main),
    "dart-eval run": Command(
        f"--genome g.fa --elements in.bed --splits blocks.bed --window 60 --cache-dir cache --output records {SHORT}",
        RECORD,
        dart_eval.main,
    ),
    "dart-eval profile": Command(
        f"{SHORT} --length 60 --batch-size 1 --warmup 0 --batches 1 --output out.json", "out.json", dart_eval.main
    ),
    "dart-eval check": Command("all.csv --no-seqleak --output out.parquet", "out.parquet", dart_eval.main),
    "convert": Command("weights.ckpt --config config.json --output made", "made"),
    "dart-eval validate": Command("records/a", "", dart_eval.main),
    "dart-eval report": Command("records --output report", "report", dart_eval.main),
    "dart-eval compare": Command("records/a records/b", "", dart_eval.main),
    "dart-eval suite": Command("--config suite.yaml --output records --device cpu", RECORD, dart_eval.main),
}


VARIANT_TASK = "dart-eval prepare --task variant_effects"
TAB = "\t"


class Case(NamedTuple):
    """One row of the page."""

    what: str
    outcome: str  # what a line says that the command prints, or of an error how it begins; without the test's folder
    status: int
    files: dict[str, str | bytes | None]  # None is a folder
    command: str = "score"  # a key of COMMANDS
    options: tuple[str, ...] = ()  # after those of the command, of which they may change one
    output: str = ""  # another than the command's


def good(what: str, outcome: str, command: str = "score", *options: str, **files: str | bytes) -> Case:
    return Case(what, outcome, 0, named(files), command, options)


def bad(what: str, outcome: str, command: str = "score", *options: str, **files: str | bytes | None) -> Case:
    return Case(what, outcome, 1, named(files), command, options)


def named(files: dict) -> dict[str, str | bytes | None]:
    """Files by their names, in which a keyword has an underscore for the dot."""
    return {".".join(name.rsplit("_", 1)): content for name, content in files.items()}


def bgzip(text: str) -> bytes:
    folder = Path(os.environ["BAD_INPUTS_FOLDER"])
    (folder / "plain").write_text(text)
    pysam.tabix_compress(str(folder / "plain"), str(folder / "compressed"), force=True)
    return (folder / "compressed").read_bytes()


def nan_model(value: float = float("nan")) -> dict[str, bytes]:
    """The model's folder, its last weights NaN or of another value, as keywords of `bad`."""
    weights = load_file(MODEL / "model.safetensors")
    weights["hyena.backbone.ln_f.weight"][:] = value
    names = ("config", "tokenizer_config", "special_tokens_map")
    folder = {f"nan/{name}_json": (MODEL / f"{name}.json").read_bytes() for name in names}
    return folder | {"nan/model_safetensors": save(weights, {"format": "pt"})}


def zipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


ALL = "3 of 3 alleles scored"
IN_ALL = "2 regions, 32 channels"


def cases() -> list[Case]:
    first = CONTIGS["chr1"]
    wrong = next(base for base in "ACGT" if base != first[99])
    other = next(base for base in "ACGT" if base not in (first[99], wrong))
    iupac = first[:120] + "R" + first[121:]
    return [
        good("VCF and FASTA, gzip", ALL, in_vcf=zipped(VCF), g_fa=zipped(FASTA)),
        good("VCF and FASTA, bgzip", ALL, in_vcf=bgzip(VCF), g_fa=bgzip(FASTA)),
        good("BED, gzip", IN_ALL, "embed", in_bed=zipped(BED)),
        good("CRLF line ends in all files", ALL, in_vcf=VCF.replace("\n", "\r\n"), g_fa=FASTA.replace("\n", "\r\n")),
        good("BED with CRLF line ends", IN_ALL, "embed", in_bed=BED.replace("\n", "\r\n")),
        good("Lower-case genome (soft-masked) and alleles", ALL,
             in_vcf=VCF.replace("\tA\t", "\ta\t"), g_fa=FASTA.lower()),
        good("IUPAC code in the genome, in reach of a variant: read as N", ALL, g_fa=FASTA.replace(first, iupac)),
        good("IUPAC code as an allele", "2 of 3 alleles scored: {'scored': 2, 'ambiguous': 1}",
             in_vcf=VCF.replace(record("chr1", 200), record("chr1", 200, "R"))),
        good("Contigs 1, 2 in the VCF, chr1, chr2 in the genome", ALL, in_vcf=VCF.replace("chr", "")),
        good("Contigs 1, 2 in the BED, chr1, chr2 in the genome", IN_ALL, "embed", in_bed=BED.replace("chr", "")),
        good("A contig that the genome does not have", "3 of 4 alleles scored: {'scored': 3, 'no_contig': 1}",
             in_vcf=VCF + "chr7\t5\t.\tA\tC\t.\t.\t.\n"),
        bad("No contig that the genome has", "in.vcf: none of its contigs is in the genome: scaffold_1",
            in_vcf=HEADER + "scaffold_1\t5\t.\tA\tC\t.\t.\t.\n"),
        good("BED: a contig that the genome does not have",
             "in.bed: left out: 1 are on contigs that the genome does not have: line 3", "embed",
             in_bed=BED + "chr7\t1\t5\n"),
        good("BED: beyond the end of a contig",
             "in.bed: left out: 1 end beyond their contig (another build?): line 3", "embed",
             in_bed=BED + "chr2\t390\t401\n"),
        good("BED: a row without a base", "in.bed: left out: 1 have no base (their end is their start): line 1",
             "embed", in_bed="chr2\t9\t9\n" + BED),
        good("BED: rows on the reverse strand: read from the forward one",
             "1 rows are on strand - (column 6), which is not looked at: line 2", "embed",
             in_bed="chr1\t100\t150\ta\t0\t+\nchr2\t20\t90\tb\t0\t-\n"),
        good("BED: a row without a name among rows with names", "in.bed: its names (column 4) are left out", "embed",
             in_bed=BED + "chr2\t3\t9\tx\n"),
        bad("A bgzip file without its end mark", "in.vcf: lacks the end mark of bgzip, so it seems to be cut short",
            in_vcf=bgzip(VCF)[:-28]),
        bad("BED: no row that is left",
            "in.bed: none of its regions is within a contig of g.fa: 1 are on contigs that the genome does not have: "
            "line 1", "embed", in_bed="chr7\t1\t5\n"),
        *[bad("Weights that are NaN", f"nan: computes nan for {what}: its weights or activations are not finite",
              *words,
              **nan_model())
          for what, words in (
              ("chr1:100-150", ("embed", "--model", "nan")),
              ("chr1:101-104", ("mutagenesis", "--model", "nan")),
              ("what follows prompt 'one'", ("generate", "--model", "nan")),
              ("row 0 of the data set", ("dart-eval run", "--model", "nan")),
          )],
        good("A position beyond the end of its contig", "3 of 4 alleles scored: {'scored': 3, 'beyond_contig': 1}",
             in_vcf=VCF + "chr2\t401\t.\tA\tC\t.\t.\t.\n"),
        good("Unsorted VCF: the output is sorted", ALL,
             in_vcf=HEADER + record("chr2", 50) + record("chr1", 200) + record("chr1", 100)),
        good("Unsorted BED: the output is in its order", IN_ALL, "embed", in_bed="chr2\t20\t90\nchr1\t100\t150\n"),
        good("REF that is not the genome's (--ref-mismatch skip)",
             "3 of 4 alleles scored: {'scored': 3, 'ref_mismatch': 1}",
             in_vcf=VCF.replace(HEADER, HEADER + record("chr1", 100, other, wrong))),
        Case("The same, --ref-mismatch fail",
             "in.vcf: REF of 1 of 4 records is not what the genome has (out.tsv.ref_mismatches.tsv): a genome of "
             "another build?", 1, {"in.vcf": VCF.replace(HEADER, HEADER + record("chr1", 100, other, wrong))},
             options=("--ref-mismatch", "fail")),
        bad("A VCF of another build: no REF is the genome's",
            "in.vcf: no REF in it is what the genome has (out.tsv.ref_mismatches.tsv): a genome of another build?",
            in_vcf=HEADER + record("chr1", 100, other, wrong)),
        bad("A contig of another length in the VCF's header",
            "in.vcf: chr1 has 248956422 bp (build hg38), but 400 bp in g.fa (build unknown)",
            in_vcf=VCF.replace("\n#", "\n##contig=<ID=chr1,length=248956422>\n#", 1)),
        good("Symbolic alleles, breakends, *", "1 of 6 alleles scored: {'scored': 1, 'no_sequence': 5}",
             in_vcf=HEADER + record("chr1", 100, "<DEL>,*,G[chr2:5[,C<ctg1>,]<ctg1>:1]C") + record("chr1", 200)),
        good("A VCF of a header alone: a table of a header alone", "0 of 0 alleles scored", in_vcf=HEADER),
        bad("An empty VCF", "in.vcf: the file is empty", in_vcf=""),
        bad("An empty FASTA", "g.fa: the file is empty", g_fa=""),
        bad("An empty BED", "in.bed: the file is empty", "embed", in_bed=""),
        bad("A BED of comments alone", "in.bed: no regions in it", "embed", in_bed="# nothing\n"),
        bad("A folder in place of the VCF", "in.vcf: is a folder, not a file", in_vcf=None),
        bad("A folder in place of the FASTA", "g.fa: is a folder, not a file", g_fa=None),
        bad("A folder in place of the BED", "in.bed: is a folder, not a file", "embed", in_bed=None),
        Case("A folder in place of the output", "out.tsv: is a folder, not a file", 1, {"out.tsv": None}),
        Case("An output in a folder that is a file", "taken/out.tsv: cannot be written: taken is no folder", 1,
             {"taken": "x"}, output="taken/out.tsv"),
        Case("A VCF that is not there", "other.vcf: no such file", 1, {}, options=("--variants", "other.vcf")),
        Case("A VCF in a folder that is not there", "other/a.vcf: no such file: there is no folder other", 1, {},
             options=("--variants", "other/a.vcf")),
        Case("A model that is neither a folder nor in the cache, without the network",
             "org/name: no such folder, no such model in the cache, and HF_HUB_OFFLINE is set; give a folder, or fetch "
             "one where there is a network: hf download org/name --local-dir name", 1, {},
             options=("--model", "org/name")),
        Case("A misspelt task", "task 'regulatory_element' is unknown; did you mean regulatory_elements? There are", 1,
             {}, "dart-eval run", options=("--task", "regulatory_element")),
        bad("A folder of results that is not there", "records: no such folder", "dart-eval report"),
        Case("A model that is not there", "./nothing: no such folder", 1, {}, options=("--model", "./nothing")),
        bad("Space-separated VCF", "in.vcf:3: 1 tab-separated columns where a VCF has 8 or more",
            in_vcf=HEADER + "chr1 100 . A C . . .\n"),
        bad("A table in place of a VCF", "in.vcf:1: not a VCF, which begins with ##fileformat=VCF: 'chrom\\tpos'",
            in_vcf="chrom\tpos\n"),
        bad("A BCF in place of a VCF",
            "in.vcf: is a BCF; write it as text first: bcftools view -Oz -o out.vcf.gz in.vcf",
            in_vcf=b"BCF\x02\x02\x00\x00\x00"),
        bad("A VCF without #CHROM",
            "in.vcf:2: the header's line '#CHROM' must come here, not 'chr1\\t100\\t.\\tA\\tC...'",
            in_vcf="##fileformat=VCFv4.2\nchr1\t100\t.\tA\tC...\n"),
        bad("A position that is not a number", "in.vcf:3: '1e5' is not a position (a whole number >= 0)",
            in_vcf=HEADER + "chr1\t1e5\t.\tA\tC\t.\t.\t.\n"),
        good("The same among other records: left out, and named at the end",
             "1 of the lines left out: in.vcf:6: '1e5' is not a position (a whole number >= 0)",
             in_vcf=VCF + "chr2\t1e5\t.\tA\tC\t.\t.\t.\n"),
        good("Too few columns in one record: the same",
             "1 of the lines left out: in.vcf:6: 4 tab-separated columns where a VCF has 8 or more",
             in_vcf=VCF + "chr2\t70\t.\tA\n"),
        bad("A VCF that ends in the middle of a record",
            "in.vcf:6: 4 tab-separated columns where a VCF has 8 or more: the file ends in the middle of it",
            in_vcf=VCF + "chr2\t70\t.\tA"),
        good("A REF that is no sequence", "3 of 4 alleles scored: {'scored': 3, 'invalid': 1}",
             in_vcf=VCF + "chr2\t70\t.\t-\tC\t.\t.\t.\n"),
        good("The ALTs of other formats, - and 0: named at the end",
             "1 of the lines without a score: in.vcf:6: ALT '-' is neither bases nor a symbol of the VCF format",
             in_vcf=VCF + record("chr2", 70, "-,0")),
        good("ALT that is REF", "3 of 4 alleles scored: {'scored': 3, 'same_as_ref': 1}",
             in_vcf=VCF + record("chr2", 70, CONTIGS["chr2"][69])),
        good("A contig shorter than the window: smaller windows, of equal lengths", "3 of 3 alleles scored",
             "score", "--window", "120", g_fa=FASTA.replace(CONTIGS["chr2"], CONTIGS["chr2"][:60])),
        good("An insertion at the end of a contig, which no two windows of one start can hold",
             "3 of 4 alleles scored: {'scored': 3, 'beyond_window': 1}",
             in_vcf=VCF + record("chr2", 399, CONTIGS["chr2"][398] + "GATTACA")),
        good("A position beyond 2^29, which a .tbi cannot hold: a .csi",
             "3 of 4 alleles scored: {'scored': 3, 'beyond_contig': 1}", "score", "--output", "out.vcf.gz",
             in_vcf=VCF + "chr2\t630255200\t.\tG\tC\t.\t.\t.\n"),
        good("A table of effects: of ALT", "3 are kept", VARIANT_TASK),
        bad("An effect column that is not there",
            "in.tsv:1: has no column 'BETA' after the first four; it has beta", VARIANT_TASK, "--effect", "BETA"),
        bad("Alleles of which nothing says which one the effect is of",
            "in.tsv:1: which allele is beta the effect of, that of column 'a1' or of 'a2'? Say so", VARIANT_TASK,
            in_tsv=EFFECTS.replace("ref\talt", "a1\ta2")),
        good("The same, with --effect-allele", "3 are kept", VARIANT_TASK, "--effect-allele", "2",
             in_tsv=EFFECTS.replace("ref\talt", "a1\ta2")),
        bad("A second column of ALT that says another allele",
            "in.tsv:2: chr1:100 ", VARIANT_TASK,
            in_tsv="".join(f"{line}\t{'vcf_alt' if line.startswith('chrom') else line.split(TAB)[2]}\n"
                           for line in EFFECTS.splitlines())),
        bad("Some columns of a published table, and an effect",
            "in.tsv:1: is neither the published caqtl table, whose effects are of allele 2, as it lacks chr_hg38",
            VARIANT_TASK, in_tsv=EFFECTS.replace("beta", "IsUsed").replace("\t0.5", "\tTrue").replace(
                "IsUsed", "IsUsed\tbeta").replace("\tTrue", "\tTrue\t0.5")),
        bad("An INFO key that the header does not have",
            "in.vcf: has no INFO key 'beta' in its header; it has BETA", VARIANT_TASK, "--variants", "in.vcf",
            "--effect", "beta", in_vcf=VCF.replace("#CHROM", INFO.format("BETA", "A", "Float"))),
        good("A record with more values of an INFO key than it has ALTs",
             "1 with other values than the header says, left out (line 4)", VARIANT_TASK, "--variants", "in.vcf",
             "--effect", "BETA",
             in_vcf=VCF.replace("#CHROM", INFO.format("BETA", "A", "Float")).replace("\t.\n", "\tBETA=1,2\n", 1)),
        bad("A gzip file that is cut short", "in.vcf: damaged gzip data in line 3", in_vcf=zipped(VCF)[:-30]),
        bad("FASTA: sequence before the first header",
            "g.fa:1: not FASTA: sequence before the first '>' header: b'ACGT",
            g_fa="ACGT\n>chr1\nACGT\n"),
        bad("FASTA: a contig twice", "g.fa:3: contig 'chr1' appears a second time, first in line 1",
            g_fa=">chr1\nACGT\n>chr1\nACGT\n"),
        bad("FASTA: lines of unequal length", "g.fa:4: 4 bases in a line, unlike the lines before it in its contig",
            g_fa=">chr1\nACGT\nAC\nACGT\n"),
        bad("BED: two columns", "in.bed:1: 2 columns where 3 are needed: 'chr1\\t5'", "embed", in_bed="chr1\t5\n"),
        bad("BED: an end before its start", "in.bed:1: the end 5 is before the start 9", "embed",
            in_bed="chr1\t9\t5\n"),
        bad("BED: a start that is not a number", "in.bed:1: 'x' is not a coordinate (a whole number >= 0)", "embed",
            in_bed="chr1\tx\t5\n"),
        good("Byte-order marks in all files", ALL, in_vcf="\ufeff" + VCF, g_fa="\ufeff" + FASTA),
        good("BED with a byte-order mark, gzip", IN_ALL, "embed", in_bed=zipped("\ufeff" + BED)),
        bad("A BED in UTF-16", "in.bed: is text in UTF-16: save it as UTF-8", "embed", in_bed=BED.encode("utf-16")),
        good("RNA: U is T", IN_ALL, "embed", g_fa=FASTA.replace("T", "U")),
        bad("A protein in place of the FASTA",
            f"g.fa: 100% of the letters are none of A, C, G, T, U and N (such as K, L, M): {PROTEIN}", "embed",
            g_fa=">chr1\n" + "MKL" * 130 + "\n"),
        Case("A FASTA under the index of another release: the index is made anew",
             "g.fa.fai does not fit g.fa: it is made anew", 0,
             {"g.fa.fai": "chr1\t390\t6\t60\t61\nchr2\t400\t413\t60\t61\n"}),
        *outputs(),
        bad("Vectors that float16 cannot hold", "chr1:100-150: float16 cannot hold", "embed", "--model", "nan",
            "--stored-dtype", "float16", **nan_model(1e6)),
        *other_commands(),
        *models_and_documents(),
    ]  # fmt: skip


def outputs() -> list[Case]:
    """Rows of what is where an output goes."""
    there, over = "already exists, and is not what a finished run left; delete it", "would be written over the input"
    return [
        Case("An output that is the input", f"out.tsv: {over} out.tsv; name another output", 1, {"out.tsv": VCF},
             options=("--variants", "out.tsv")),
        Case("The same of a reference", f"out.fa: {over} out.fa; name another output", 1, {"out.fa": FASTA},
             "generate", ("--reference", "out.fa")),
        Case("An output whose description would replace the input",
             f"out.tsv.json: {over} out.tsv.json; name another output", 1, {"out.tsv.json": VCF},
             options=("--variants", "out.tsv.json")),
        Case("A file of yours where the output goes", f"out.tsv: {there} or name another output, or overwrite it", 1,
             {"out.tsv": "mine"}),
        Case("The same, --overwrite: it is replaced", ALL, 0, {"out.tsv": "mine"}, options=("--overwrite",)),
        Case("A file of yours where the output's description goes",
             "out.tsv.json: was not written by this program, and the output's description goes there; move it", 1,
             {"out.tsv.json": '{"mine": 1}'}),
        Case("A file of yours where an index goes", f"out.vcf.gz.tbi: {there}", 1, {"out.vcf.gz.tbi": "mine"},
             output="out.vcf.gz"),
        Case("A zarr store of yours where the output goes: it stays, whatever is said",
             f"out.zarr: {there} or name another output", 1, {"out.zarr/zarr.json": "{}"}, "embed", ("--overwrite",),
             "out.zarr"),
        Case("A picture of yours where the logo goes", f"out.png: {there}", 1, {"out.png": "mine"}, "mutagenesis",
             ("--logo", "out.png")),
        Case("A folder that holds something", "made: already exists; name a new or empty folder", 1,
             {"made/mine.txt": "mine"}, "dataset"),
        Case("A dataset repository of another kind",
             "made/README.md: is the card of another dataset; name another folder", 1,
             {"made/README.md": "---\ntags: [cats]\n---\n"}, "dart-eval prepare"),
        Case("A file of yours where the report goes",
             "out.json: already exists, and is not such a report; delete it or name another output", 1,
             {"out.json": '{"mine": 1}'}, "dart-eval profile"),
    ]  # fmt: skip


PROTEIN = "not DNA or RNA; a protein?"


def other_commands() -> list[Case]:
    """Rows of the commands beside score and embed."""
    return [
        good("A region", "out.tsv: 12 substitutions in 1 regions", "mutagenesis"),
        good("A region of one base that is read without its surroundings, and which nothing predicts",
             "out.tsv: 0 substitutions in 1 regions; nothing predicts 1 positions", "mutagenesis", "--region", "a:1-1",
             g_fa=">a\nA\n"),
        good("The first base of a contig, which nothing predicts",
             "out.tsv: 9 substitutions in 1 regions; nothing predicts 1 positions", "mutagenesis", "--region",
             "chr1:1-4", "--recipe", "dart-eval"),
        bad("A region of a contig that the genome does not have",
            "region chr7:1-5: g.fa: has no contig 'chr7' (it has chr1, chr2)", "mutagenesis", "--region", "chr7:1-5"),
        good("Prompts", "out.fa: 1 sequences of 5 bases", "generate"),
        bad("An infinite temperature", "temperature inf, top_p 1", "generate", "--temperature", "inf"),
        bad("An empty FASTA of prompts", "prompts.fa: the file is empty", "generate", prompts_fa=""),
        good("Prompts of RNA: U is T", "out.fa: 1 sequences of 5 bases", "generate", prompts_fa=">one\nACGU\n"),
        bad("Prompts that are proteins",
            f"prompts.fa: 100% of the letters are none of A, C, G, T, U and N (such as K, L, M): {PROTEIN}", "generate",
            prompts_fa=">one\nMKLMKL\n"),
        good("Regions with labels", "made: 4 train (2 a, 2 b), 4 validation (2 a, 2 b), 9 test (4 a, 5 b)", "dataset"),
        bad("A misspelt contig to test on", "test: there is no contig 'chr_2'; there are chr1, chr2", "dataset",
            "--splits", "paper", "--validation", "1", "--test", "chr_2"),
        bad("Blocks, and contigs to test on", "splits blocks.bed, and contigs to validate and to test on: give one",
            "dataset", "--validation", "1", "--test", "2"),
        good("Rows outside the blocks", "left out: 2 are in no split", "dataset",
             labelled_bed=LABELLED + "chr1\t195\t205\ta\n"),
        bad("A blacklist with other names", "avoid.bed: has none of the contigs chr1, chr2: it has scaffold_9",
            "dataset", "--avoid", "avoid.bed", avoid_bed="scaffold_9\t1\t5\n"),
        good("Contigs 1 and 2 in the BED, the blacklist and the blocks", "made: 4 train", "dataset", "--avoid",
             "avoid.bed", avoid_bed="1\t0\t5\n", labelled_bed=LABELLED.replace("chr", ""),
             blocks_bed=BLOCKS.replace("chr", "")),
        bad("A BED without labels", "labelled.bed:1: 3 columns where 4 are needed: 'chr1\\t100\\t150'", "dataset",
            labelled_bed=BED),
        bad("A folder without a dataset", "made/dataset.json: no such file: there is no folder made", "train"),
        good("A genome", "out.safetensors: orders 0 to 1", "fit-markov"),
        bad("A contig that the genome does not have",
            "g.fa: chromosomes: there is no contig 'chr7'; there are chr1, chr2", "fit-markov", "--chromosomes",
            "chr7"),
        bad("The same, held out", "g.fa: validation_chromosomes: there is no contig 'chr7'; there are chr1, chr2",
            "fit-markov", "--validation-chromosomes", "chr7"),
        bad("Everything held out", "a fraction of 2.0 in blocks of 50 bases cannot be held out", "fit-markov",
            "--validation-fraction", "2"),
        bad("An order whose counts no memory holds", "a Markov model's order must be at most 14, got 30", "fit-markov",
            "--order", "30"),
        bad("Soft-masked bases that are read and not predicted", "soft_masked ignore: a Markov model predicts what it",
            "fit-markov", "--soft-masked", "ignore"),
        good("Elements", "train: 1 rows", "dart-eval prepare"),
        good("BED: a contig of no split", "Rows: 1 in no split, left out; 1 in train; 1 in test.", "dart-eval prepare",
             in_bed=BED + "chr7\t1\t5\n"),
        bad("Windows that start before their contig", "in.bed:1: chr1:100-150 has no window of 350 bp on its contig",
            "dart-eval prepare-step windows"),
        good("Elements", "record: records/local__small", "dart-eval run"),
        good("BED: a contig of no split", "regulatory_elements: 1 in no split, left out; 1 in train; 1 in test.",
             "dart-eval run", in_bed=BED + "chr7\t1\t5\n"),
        bad("Elements that are in no split", "in.bed: none of its 1 rows lies in a split (blocks.bed)", "dart-eval run",
            in_bed="chr1\t190\t210\n"),
        good("A model", '"parameters"', "dart-eval profile"),
        bad("A folder that is no record", "records/a/results.json: no such file: there is no folder records",
            "dart-eval compare"),
        good("Two records", "40 rows in common; only in a: 0, only in b: 0", "dart-eval compare", **two_records()),
        bad("Two records with no row in common", "records/a and records/b have no row in common", "dart-eval compare",
            **two_records(first_id=100)),
        bad("Two records of other rows under the same names", "the records differ in start of id 0: 0 and 7",
            "dart-eval compare", **two_records(moved=7)),
        bad("Blocks that there are not", "blocks cell: there are 1Mb, chromosomes, and the columns",
            "dart-eval compare", "--blocks", "cell", **two_records()),
        good("Records by a column of a table", "strata: 2", "dart-eval report", "--by", "class", "--table", "rows.tsv",
             **two_records(), rows_tsv="id\tclass\n" + "".join(f"{i}\t{i % 2}\n" for i in range(40))),
        bad("A column that there is not", "records/a: no column 'tss' in rows.tsv or the predictions",
            "dart-eval report", "--by", "tss", "--table", "rows.tsv", **two_records(), rows_tsv="id\tclass\n1\tx\n"),
        bad("A table of other rows", "rows.tsv: has none of the rows of the predictions, such as id 0",
            "dart-eval report", "--by", "class", "--table", "rows.tsv", **two_records(), rows_tsv="id\tclass\n99\tx\n"),
        bad("A table that names a row twice", "rows.tsv: id 1 occurs more than once", "dart-eval report", "--by",
            "class", "--table", "rows.tsv", **two_records(), rows_tsv="id\tclass\n1\tx\n1\ty\n"),
        bad("A genome of other contigs", "g.fa: has none of the rows of records/a, such as chr5:0", "dart-eval report",
            "--by", "gc", "--genome", "g.fa", **two_records()),
        bad("Motifs of records without motifs", "records/a: is of regulatory_elements, not of motif_footprinting",
            "dart-eval report", "--per-motif", **two_records()),
        bad("A YAML that is no mapping", "suite.yaml: a suite must be a mapping", "dart-eval suite",
            suite_yaml="- 1\n"),
    ]  # fmt: skip


@cache
def two_records(first_id: int = 0, moved: int = 0) -> dict[str, bytes]:
    """The files of the records a and b of task 1, as keywords of `bad`; rows of b from another id, or moved."""
    files = {}
    for name, first, away in (("a", 0, 0), ("b", first_id, moved)):
        with tempfile.TemporaryDirectory() as folder:
            made = submit(Path(folder), f"org/{name}", seed=ord(name))
            table = pq.read_table(made / "predictions.parquet")
            table = table.set_column(0, "id", pa.array(np.arange(len(table)) + first))
            table = table.set_column(2, "start", pa.array(table["start"].to_numpy() + away))
            record = json.loads((made / "results.json").read_text())
            write_record(made, record, table)
            files |= {f"records/{name}/{path.stem}_{path.suffix[1:]}": path.read_bytes() for path in made.iterdir()}
    return files


def model_files(**changes: object) -> dict[str, str | bytes | None]:
    """The files of a model in the folder m, its configuration changed."""
    files: dict[str, str | bytes | None] = {f"m/{path.name}": path.read_bytes() for path in MODEL.iterdir()}
    files["m/config.json"] = json.dumps(json.loads((MODEL / "config.json").read_text()) | changes)
    return files


def pickled() -> bytes:
    """A file of weights that would run code."""
    return pickle.dumps(print)


def models_and_documents() -> list[Case]:
    """Rows of damaged models, and of YAML and JSON that others wrote."""
    whole, bomb = model_files(), "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    weights = whole["m/model.safetensors"]
    assert isinstance(weights, bytes)
    without = {name: content for name, content in whole.items() if name != "m/model.safetensors"}
    own = ("--model", "./m")

    def damaged(what: str, outcome: str, files: dict[str, str | bytes | None]) -> Case:
        return Case(what, f"./m: {outcome}", 1, files, "score", own)

    return [
        damaged("A model of 10,000,000 layers", "Class validation error for validator 'validate_architecture': "
                "ValueError: n_layer must be from 1 to 10,000, got 10000000", model_files(n_layer=10**7)),
        damaged("A model of more parameters than its file has bytes for",
                "config.json describes 6,400,047,936 parameters, but the weights have", model_files(vocab_size=10**8)),
        damaged("A config.json that is no JSON", "It looks like the config file at './m/config.json'",
                whole | {"m/config.json": "{"}),
        damaged("Weights cut short", "Error while deserializing header: incomplete metadata",
                whole | {"m/model.safetensors": weights[:-10]}),
        damaged("Weights that are a pickle", "the weights are a pickle that is damaged or could run code",
                without | {"m/pytorch_model.bin": pickled()}),
        Case("A revision of a model in a folder", "./m: a folder has no revision 'main'", 1, whole, "score",
             (*own, "--revision", "main")),
        bad("A configuration with aliases, which can stand for more than memory holds",
            "run.yaml:2: not YAML that can be read: alias *a: write it out", "dart-eval run", "--config", "run.yaml",
            run_yaml=bomb),
        bad("A configuration that says a thing twice", "run.yaml:1: not YAML that can be read: a key that occurs twice",
            "dart-eval run", "--config", "run.yaml", run_yaml="window: 60\nwindow: 40\n"),
        bad("Hyper-parameters that are no mapping", "own.yaml: training is [1], not a mapping", "dart-eval run",
            "--hyperparameters", "own.yaml", own_yaml="training: [1]\n"),
        bad("A suite nested 10,000 deep", "suite.yaml: not YAML that can be read: nested too deeply",
            "dart-eval suite", suite_yaml="[" * 10_000),
        bad("A table to check without splits", "all.csv: has no column split: sequence, label", "dart-eval check",
            all_csv="sequence,label\nACGT,1\n"),
        bad("A table to check with a split of its own",
            "all.csv: split 'holdout' is none of train, training, validation", "dart-eval check",
            all_csv="sequence,split\nACGT,holdout\n"),
        bad("A table to check whose sequences are numbers",
            "all.csv: column sequence is not of sequences in every row", "dart-eval check",
            all_csv="sequence,split\n7,train\n"),
        bad("A file of yours where the table of a check goes", "out.parquet: already exists", "dart-eval check",
            all_csv="sequence,split\nACGT,train\n", out_parquet="mine"),
        bad("What a model was pretrained on, in words", "pretrained_on 'the human genome': write a build (hg38)",
            "dart-eval run", "--pretrained-on", "the human genome"),
        bad("A record that is no JSON", "records/a/results.json: not JSON: Expecting value: line 1 column 2 (char 1)",
            "dart-eval validate", **{"records/a/results_json": "[" }),
        bad("Only a record with an endless number",
            "no valid record: skipped: records/a/results.json: not JSON: a number of 400 digits", "dart-eval report",
            **{"records/a/results_json": '{"seconds": ' + "9" * 400 + "}"}),
        Case("A checkpoint that names code", "weights.ckpt: not a checkpoint that can be read safely: it is damaged or "
             "could run code", 1,
             {"weights.ckpt": pickled(), "config.json": ORIGINAL.read_text()}, "convert"),
    ]  # fmt: skip


class Run(NamedTuple):
    status: int
    lines: list[str]  # on standard output, then on standard error, without the folder of the test
    errors: str


@contextlib.contextmanager
def files_of_at_most(size: int | None) -> Iterator[None]:
    """As on a full disk: writing beyond `size` bytes of a file fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size is None else size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[[Case], Run]:
    monkeypatch.setenv("BAD_INPUTS_FOLDER", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(case: Case, largest_file: int | None = None) -> Run:
        for name, content in (FILES | case.files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        own = COMMANDS[case.command]
        options = [*case.options, *(["--output", case.output] if case.output else [])]
        words = [*case.command.removeprefix("dart-eval ").split(), *own.line.split(), *options]
        monkeypatch.setattr("sys.argv", [case.command.split()[0], *words])
        with files_of_at_most(largest_file), pytest.raises(SystemExit) as done:
            own.program()
        said, errors = (text.replace(f"{tmp_path}/", "") for text in capsys.readouterr())
        return Run(int(done.value.code or 0), [*said.splitlines(), *errors.splitlines()], errors)

    return run


def names() -> list[str]:
    os.environ.setdefault("BAD_INPUTS_FOLDER", os.environ.get("TMPDIR", "/tmp"))
    return [f"{case.command}: {case.what}" for case in cases()]


@pytest.mark.parametrize("name", names())
def test_outcome(run, name):
    case = cases()[names().index(name)]
    status, lines, errors = run(case)
    assert (status, "Traceback" in errors) == (case.status, False), errors
    prefix = f"{'dart-eval' if case.command.startswith('dart-eval') else 'hyenadna'}: "
    said = lines[-1:] if status else lines
    assert any(case.outcome in line for line in said), lines
    if status:
        assert lines[-1].startswith(prefix + case.outcome)
        output = case.output or COMMANDS[case.command].output
        given = {name: content for name, content in case.files.items() if content is not None}
        assert not output or {output, f"{output}/zarr.json"} & case.files.keys() or not Path(output).exists()
        for name, content in given.items():  # what is yours stays
            assert Path(name).read_bytes() == (content.encode() if isinstance(content, str) else content)
    left = [path.name for path in Path().iterdir() if path.name.startswith(".")]
    assert not left or status, left


@pytest.mark.parametrize("output", ["out.vcf.gz", "out.tsv", "out.tsv.gz", "out.parquet"])
def test_a_full_disk(run, tmp_path, output):
    """Too little room for the parts, then for the output alone: one line, nothing half written, and then it goes on."""
    lines = [record("chr1", position) for position in range(40, 360)]
    case = Case("", "", 1, {"in.vcf": HEADER + "".join(lines)}, options=("--part", "20"), output=output)
    pysam.faidx(str(write(tmp_path / "g.fa", FASTA)))
    for size, parts in ((1000, 0), (4500, 16)):
        status, lines, errors = run(case, size)
        assert (status, "Traceback" in errors) == (1, False), errors
        assert lines[-1].startswith("hyenadna: ")
        assert not Path(output).exists()
        assert not Path(f"{output}.json").exists()
        assert len([*Path().glob(".out.*.parts-*/0*.parquet")]) == parts
    assert run(case).status == 0
    assert not [path.name for path in Path().iterdir() if path.name.startswith(".")]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# The command, with Control-C pressed once its first part is in place
INTERRUPTED = """
import os, signal
from trainer_scripts.cli.hyenadna import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where tests run in the background
replace = os.replace

def replace_and_interrupt(source, target):
    replace(source, target)
    if str(target).endswith(".parquet"):
        os.kill(os.getpid(), signal.SIGINT)

os.replace = replace_and_interrupt
main()
"""


def test_control_c(tmp_path, monkeypatch):
    """Status 130, no traceback, no output; the same line then goes on."""
    lines = [record("chr1", position) for position in range(100, 250)]
    write(tmp_path / "in.vcf", HEADER + "".join(lines))
    write(tmp_path / "g.fa", FASTA)
    options = "--window 60 --device cpu --part 1 --recipe traitgym --batch-size 1"  # slow enough to be interrupted
    arguments = f"score --variants in.vcf --genome g.fa --model {MODEL} --output out.tsv {options}".split()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", INTERRUPTED, *arguments]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment, text=True)
    errors = process.stderr
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out.tsv").exists()
    done = len(list(tmp_path.glob(".out.tsv.parts-*/0*.parquet")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["hyenadna", *arguments])
    with pytest.raises(SystemExit) as ended:
        hyenadna.main()
    assert ended.value.code == 0
    assert json.loads((tmp_path / "out.tsv.json").read_text())["records_scored_now"] == len(lines) - done


def page() -> str:
    """The table of docs/bad_inputs.md."""
    rows = ["| input | command | exit status | what it says |", "| --- | --- | ---: | --- |"]
    for case in cases():
        said = case.outcome.replace("|", "\\|")
        command = " ".join((case.command, *case.options))
        rows.append(f"| {case.what} | `{command}` | {case.status} | `{said}` |")
    return "\n".join(rows)


def test_the_page_is_this_table(tmp_path, monkeypatch):
    monkeypatch.setenv("BAD_INPUTS_FOLDER", str(tmp_path))
    begin, end = "<!-- table -->\n", "\n<!-- end of table -->"
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    if os.environ.get("HYENADNA_WRITE_DOCS"):
        PAGE.write_text(before + begin + page() + end + after, encoding="utf-8")
        return
    assert table == page()
