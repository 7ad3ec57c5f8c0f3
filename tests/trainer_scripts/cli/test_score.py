"""`hyenadna score`: outputs, statuses, order, what a kill leaves, and errors of one line."""

import csv
import gzip
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.recipes import DART_EVAL
from evaluation_dart.scoring import alleles as variant_scoring
from evaluation_dart.tools.variants import score_variants
from modeling_hyenadna import HyenaDNATokenizer
from trainer_scripts.cli import hyenadna

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
FASTA = FIXTURES / "genome" / "genome.fa"
META = [
    "##fileformat=VCFv4.3",
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    "##contig=<ID=chr5,length=99987>",
]


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """A sorted VCF: SNVs, insertions, deletions, several alleles, symbols, a wrong REF, a contig that is not there."""
    fasta = pysam.FastaFile(str(FASTA))
    lines = []
    for chrom, positions in (("chr5", range(5000, 5600, 30)), ("chr1", (7, 9000, 80035))):
        for number, position in enumerate(positions):
            bases = fasta.fetch(chrom, position - 1, position + 3).upper()
            others = [base for base in "ACGT" if base != bases[0]]
            alleles = [
                (bases[0], others[0]),
                (bases[0], ",".join(others)),
                (bases, bases[0]),
                (bases[0], bases[0] + "GAT"),
                (bases[0], f"{others[1]},<DEL>,*"),
                (others[0], bases[0]),
            ][number % 6]
            lines.append(f"{chrom}\t{position}\trs{number}\t{alleles[0]}\t{alleles[1]}\t.\tPASS\tAF=0.5\tGT\t0/1")
    lines.append("chrUn\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1")
    lines.append(f"chr10\t50\t.\t{fasta.fetch('chr10', 49, 50).upper()}\t.\t.\t.\t.\tGT\t0/0")
    path = tmp_path_factory.mktemp("vcf") / "in.vcf"
    path.write_text("\n".join([*META, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1", *lines]) + "\n")
    return path


@pytest.fixture
def run(capsys, monkeypatch):
    def run(vcf, output, *options, fasta=FASTA, model=MODEL):
        arguments = [
            "--variants",
            vcf,
            "--genome",
            fasta,
            "--model",
            model,
            "--output",
            output,
            "--window",
            96,
            "--device",
            "cpu",
        ]
        monkeypatch.setattr("sys.argv", ["hyenadna", "score", *map(str, [*arguments, *options])])
        with pytest.raises(SystemExit) as done:
            hyenadna.main()
        return done.value.code, capsys.readouterr().err

    return run


def rows_of(path):
    data = Path(path).read_bytes()
    text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def test_int8_is_another_run_with_nearly_the_same_likelihoods(variants, tmp_path, run):
    for name, options in (("whole", ()), ("int8", ("--dtype", "int8"))):
        status, errors = run(variants, tmp_path / f"{name}.tsv", *options)
        assert status == 0, errors
    assert "on cpu, int8, about" in errors
    assert "int8: scores of variants may be far from those in float32" in errors
    models = [json.loads((tmp_path / f"{name}.tsv.json").read_text())["model"] for name in ("whole", "int8")]
    assert models[1] == models[0] | {"dtype": "int8"}
    whole, int8 = (
        np.array([float(row["ref_score"] or "nan") for row in rows_of(tmp_path / f"{name}.tsv")])
        for name in ("whole", "int8")
    )
    assert not np.array_equal(whole, int8, equal_nan=True)
    np.testing.assert_allclose(int8, whole, rtol=0.02)


def test_one_result_in_every_format(variants, tmp_path, run):
    for suffix in ("vcf.gz", "tsv", "tsv.gz", "parquet"):
        status, errors = run(variants, tmp_path / f"out.{suffix}", "--name", "HD")
        assert status == 0, errors
    assert "REF of 3 of 25 records is not what the genome has" in errors
    assert "1 contigs are not in the genome, their variants get no score: chrUn" in errors

    rows = rows_of(tmp_path / "out.tsv")
    assert rows == rows_of(tmp_path / "out.tsv.gz")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["status"] for row in table] == [row["status"] for row in rows]
    scores = [row["score"] for row in table if row["score"] is not None]
    np.testing.assert_allclose(scores, [float(row["score"]) for row in rows if row["score"]], rtol=1e-6)

    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert file.header.info["HD"].number == "A"
        assert file.header.info["HD"].type == "Float"
        recipe = "recipe whole-alleles, strand forward, window 96"
        assert file.header.info["HD"].description.endswith(recipe)
        assert {name: contig.length for name, contig in file.header.contigs.items()} == {
            "chr5": 99987, "chr1": 80040, "chrUn": None, "chr10": 62345,
        }  # fmt: skip
        records = list(file)
        assert len(list(file.fetch("chr5", 5000, 5100))) == 3
    assert [record.pos for record in records] == [
        int(line.split("\t")[1]) for line in variants.read_text().splitlines() if line[0] != "#"
    ]
    flat = [score for record in records for score in record.info.get("HD", [None] * len(record.alts or ()))]
    assert [None if score is None else round(score, 3) for score in flat] == [
        None if row["score"] is None else round(row["score"], 3) for row in table
    ]
    assert records[0].info["AF"] == (0.5,)
    assert records[0].samples["s1"]["GT"] == (0, 1)
    assert records[4].info["HD_STATUS"] == ("ok", "no_sequence", "no_sequence")
    assert records[0].info["HD_ALT"][0] - records[0].info["HD_REF"][0] == pytest.approx(
        records[0].info["HD"][0], abs=1e-3
    )
    table_index = pysam.TabixFile(str(tmp_path / "out.tsv.gz"))
    assert len(list(table_index.fetch("chr5", 4999, 5031))) == 4


def test_what_was_done_stands_beside_it(variants, tmp_path, run):
    output = tmp_path / "out.tsv"
    status, _ = run(variants, output, "--recipe", "dart-eval")
    assert status == 0
    about = json.loads((tmp_path / "out.tsv.json").read_text())
    assert about["recipe"] == {
        "name": "dart-eval", "reduction": "sum", "strand": "forward", "special_tokens": "not scored",
        "alleles": "masked", "text": "as it is", "variants": "as long as REF", "ends": "moved", "source": DART_EVAL,
        "orientation": "ALT - REF", "window": 96, "indels": "left-aligned",
    }  # fmt: skip
    assert about["model"]["id"] == "local/small_d32_l2_s130"
    assert about["status"] == {"scored": 23, "no_contig": 1, "no_sequence": 6, "ref_mismatch": 3, "unequal_length": 7}
    assert (about["records"], about["alleles"], about["ref_mismatches"]) == (25, 40, 3)
    assert about["left_out"] == about["invalid"] == {"count": 0, "first": []}
    mismatches = rows_of(tmp_path / "out.tsv.ref_mismatches.tsv")
    assert [(row["chrom"], row["position"], row["line"]) for row in mismatches] == [
        ("chr5", "5150", "11"), ("chr5", "5330", "17"), ("chr5", "5510", "23"),
    ]  # fmt: skip
    assert all(row["genome"] == row["alt"] for row in mismatches)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tsv", "out.tsv.json", "out.tsv.ref_mismatches.tsv"]

    changed = output.stat().st_mtime_ns
    status, errors = run(variants, output, "--recipe", "dart-eval")
    assert (status, "these scores are there already" in errors) == (0, True)
    assert output.stat().st_mtime_ns == changed


def test_ref_mismatches(variants, tmp_path, run):
    output = tmp_path / "out.tsv"
    status, errors = run(variants, output, "--ref-mismatch", "fail")
    assert status == 1
    assert (
        f"hyenadna: {variants}: REF of 3 of 25 records is not what the genome has ({output}.ref_mismatches.tsv)"
        in errors
    )
    assert not output.exists()
    assert run(variants, output, "--ref-mismatch", "swap")[0] == 0
    swapped = [row for row in rows_of(output) if row["status"] == "swapped"]
    assert [row["position"] for row in swapped] == ["5150", "5330", "5510"]
    # As if ALT were REF, with the sign turned
    turned = tmp_path / "turned.vcf"
    lines = variants.read_text().splitlines()
    for number in (10, 16, 22):
        words = lines[number].split("\t")
        words[3], words[4] = words[4], words[3]
        lines[number] = "\t".join(words)
    turned.write_text("\n".join(lines) + "\n")
    assert run(turned, tmp_path / "turned.tsv")[0] == 0
    right = {row["position"]: row for row in rows_of(tmp_path / "turned.tsv")}
    for row in swapped:
        assert float(row["score"]) == pytest.approx(-float(right[row["position"]]["score"]), abs=1e-3)
    assert not (tmp_path / "turned.tsv.ref_mismatches.tsv").exists()


def test_unsorted_input_gives_sorted_output(variants, tmp_path, run):
    lines = variants.read_text().splitlines()
    header, records = lines[:5], lines[5:]
    shuffled = tmp_path / "shuffled.vcf.gz"
    order = np.random.default_rng(0).permutation(len(records))
    with gzip.open(shuffled, "wt", newline="\r\n") as file:
        file.write("\n".join([*header, *(records[row] for row in order)]) + "\n")
    assert run(shuffled, tmp_path / "shuffled.tsv.gz")[0] == 0
    assert run(variants, tmp_path / "sorted.tsv")[0] == 0
    assert run(shuffled, tmp_path / "again.vcf.gz")[0] == 0
    expected = {(row["chrom"], row["position"], row["alt"]): row["score"] for row in rows_of(tmp_path / "sorted.tsv")}
    rows = rows_of(tmp_path / "shuffled.tsv.gz")
    assert [row["chrom"] for row in rows] == sorted(
        (row["chrom"] for row in rows), key=["chr5", "chr6", "chr1", "chr10", "chrM", "chrUn"].index
    )
    for row in rows:
        score = expected[row["chrom"], row["position"], row["alt"]]
        assert row["score"] == score == "" or float(row["score"]) == pytest.approx(float(score), abs=1e-3)
    assert (tmp_path / "again.vcf.gz.tbi").exists()


def test_goes_on_where_it_stopped(variants, tmp_path, run, monkeypatch):
    output, calls = tmp_path / "out.tsv", []
    original = variant_scoring.VariantScorer.__call__

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(variant_scoring.VariantScorer, "__call__", interrupted)
    status, _ = run(variants, output, "--part", 10)
    assert status == 130
    assert not output.exists()
    monkeypatch.undo()
    other_options = ("--part", 10, "--recipe", "carbon")
    for options, scored in ((("--part", 10), 5), (other_options, 25)):
        assert run(variants, output, *options)[0] == 0
        assert json.loads((tmp_path / "out.tsv.json").read_text())["records_scored_now"] == scored
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("in_order", [True, False])
def test_shares_of_many_jobs_become_one_output(variants, tmp_path, run, in_order):
    if not in_order:
        lines = variants.read_text().splitlines(keepends=True)
        head = [line for line in lines if line[0] == "#"]
        variants = tmp_path / "unsorted.vcf"
        variants.write_text("".join([*head, *reversed(lines[len(head) :])]))
    given = (variants, FASTA, MODEL)
    options = {"output": tmp_path / "out.tsv", "window": 96, "part": 1, "device": "cpu"}
    done = [score_variants(*given, **options, share=f"{number}/64") for number in range(64, 0, -1)]
    assert [own["rows_done_now"] for own in done] == [0] * 39 + [1] * 25
    assert (done[0]["parts_there"], done[-1]["parts_there"], done[-1]["parts"]) == (0, 25, 25)
    assert score_variants(*given, **options, share="3/64")["rows_done_now"] == 0  # it is there
    assert {path.name[:11] for path in tmp_path.iterdir()} <= {".out.tsv.pa", "unsorted.vc"}
    parts = sorted(Path(done[-1]["folder"]).iterdir())
    parts[4].unlink()  # a job that failed, and one whose disk did
    parts[7].write_bytes(parts[7].read_bytes()[:-9])
    status, errors = run(variants, tmp_path / "out.tsv", "--part", 1, "--share", "8/64")
    assert status == 0, errors
    assert score_variants(*given, **options)["records_scored_now"] == 1  # share 8 has mended its own
    whole = score_variants(*given, **options | {"output": tmp_path / "whole.tsv"})
    assert (tmp_path / "out.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    assert whole["records_scored_now"] == 25
    again = score_variants(*given, **options, share="3/64")
    assert again["fingerprint"] == whole["fingerprint"]  # what OUTPUT.json says: it is made already
    assert not Path(done[-1]["folder"]).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share", "0/4"], "share '0/4': give a job's number, from 1, and how many there are, such as 3/64"),
        (["--share", "5/4"], "share '5/4': give a job's number, from 1, and how many there are, such as 3/64"),
        (
            ["--share", "1/2", "--overwrite"],
            "a share of the work needs an output, draws no plot, and overwrites nothing",
        ),
    ],
)
def test_shares_that_cannot_be(variants, tmp_path, run, options, message):
    assert run(variants, tmp_path / "out.tsv", *options) == (1, f"hyenadna: {message}\n")
    assert not list(tmp_path.iterdir())


def test_heads_and_baselines(variants, tmp_path, run):
    model = tmp_path / "fine-tuned"
    AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=1).save_pretrained(model)
    HyenaDNATokenizer.from_pretrained(MODEL).save_pretrained(model)
    status, errors = run(variants, tmp_path / "head.tsv", "--strand", "mean", model=model)
    assert status == 0, errors
    assert json.loads((tmp_path / "head.tsv.json").read_text())["recipe"]["name"] == "head"
    MarkovModel.fit(["ACGTTGCA" * 50], order=1).save(tmp_path / "markov.safetensors")
    status, errors = run(variants, tmp_path / "markov.vcf.gz", model=f"markov:{tmp_path}/markov.safetensors")
    assert status == 0, errors
    status, errors = run(variants, tmp_path / "other.tsv", "--recipe", "head")
    assert (status, errors.count("\n")) == (1, 1)
    assert "trained head" in errors


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("recipe", ["whole-alleles", "dart-eval", "embedding-cosine", "embedding-l2", "head"])
def test_numbers_that_are_not_finite_are_an_error(variants, tmp_path, run, recipe, value):
    model = tmp_path / "damaged"
    kind = AutoModelForSequenceClassification if recipe == "head" else AutoModelForCausalLM
    network = kind.from_pretrained(MODEL)
    network.get_input_embeddings().weight.data[:] = float(value)
    network.save_pretrained(model)
    HyenaDNATokenizer.from_pretrained(MODEL).save_pretrained(model)
    status, errors = run(variants, tmp_path / "out.tsv", "--recipe", recipe, model=model)
    assert (status, "Traceback" in errors) == (1, False), errors
    assert re.search(
        rf"^hyenadna: {model}: computes (nan|inf|-inf) for 'chr5:5000 [ACGT]>[ACGT]'", errors.splitlines()[-1]
    )
    assert not (tmp_path / "out.tsv").exists()


def test_odd_lines_are_counted_and_named(variants, tmp_path, run):
    lines = variants.read_text().splitlines()
    odd = tmp_path / "odd.vcf"
    odd.write_text("\n".join([*lines[:5], "chr5\tx\t.\tA\tC\t.\t.\t.", "chr5\t7\t.\t-\tC\t.\t.\t.", *lines[5:]]) + "\n")
    for name in ("out.tsv", "out.vcf.gz"):
        status, errors = run(odd, tmp_path / name)
        assert status == 0, errors
        assert f"1 of the lines left out: {odd}:6: 'x' is not a position (a whole number >= 0)" in errors
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert about["left_out"] == {"count": 1, "first": ["line 6: 'x' is not a position (a whole number >= 0)"]}
        assert about["invalid"] == {"count": 1, "first": ["line 7: REF '-' is not bases"]}
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert len(list(file)) == 26


def test_a_nul_byte_costs_its_line(variants, tmp_path, run):
    """Programs of C end the line at it, and would read nothing of the output."""
    odd = tmp_path / "odd.vcf"
    lines = variants.read_bytes().splitlines(keepends=True)
    odd.write_bytes(b"".join([*lines[:5], b"ch\0r5\t7\t.\tA\tC\t.\t.\t.\n", *lines[5:]]))
    status, errors = run(odd, tmp_path / "out.vcf.gz")
    assert status == 0, errors
    assert f"1 of the lines left out: {odd}:6: a NUL byte in the record" in errors
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert len(list(file)) == 25


@pytest.mark.parametrize("key", ["DNALM", "DNALM_REF"])
def test_a_key_that_the_header_does_not_declare(variants, tmp_path, run, key):
    """A record has it: it would be there twice."""
    vcf = tmp_path / "in.vcf"
    vcf.write_text(variants.read_text().replace("AF=0.5", f"AF=0.5;{key}=1", 1))
    status, errors = run(vcf, tmp_path / "out.vcf.gz")
    assert status == 1
    assert f"{vcf}:6: the INFO key {key} already exists; choose another name" in errors
    assert run(vcf, tmp_path / "out.vcf.gz", "--name", "NEW")[0] == 0


def test_positions_that_no_index_holds(variants, tmp_path, run):
    """Beyond 2^29 a .csi; beyond what that holds an output without an index, and a word."""
    header = "".join(f"{line}\n" for line in variants.read_text().splitlines()[:6] if line[0] == "#")
    vcf = tmp_path / "far.vcf"
    for positions, suffixes in (((600_000_000,), [".csi"]), ((0, 5), [".tbi"]), ((90_000_000_000,), [])):
        vcf.write_text(header + "".join(f"chr5\t{p}\t.\tA\tC\t.\t.\t.\tGT\t0/1\n" for p in positions))
        for name in ("out.vcf.gz", "out.tsv.gz")[: 1 + bool(suffixes)]:
            status, errors = run(vcf, tmp_path / name)
            assert status == 0, errors
            left = sorted(path.suffix for path in tmp_path.glob(f"{name}.*i"))
            assert (name, positions, left) == (name, positions, suffixes)
            assert ("has no index" in errors) is (not suffixes)
            with pysam.BGZFile(str(tmp_path / name)) as file:
                assert sum(line[:1] == b"c" and line[:6] != b"chrom\t" for line in file) == len(positions)


RECIPES = ("whole-alleles", "carbon", "carbon-both-strands", "embedding-cosine", "embedding-l2", "markov")


@pytest.mark.parametrize("recipe", RECIPES)
def test_records_of_one_change_have_one_score(tmp_path, recipe):
    """An insertion and a deletion in a repeat, and an SNV, each written in several ways, in records of their own."""
    rng = np.random.default_rng(0)
    left, right = ("".join(rng.choice([*"ACGT"], 90)) for _ in range(2))
    contig = f"{left}G{'CA' * 6}T{right}"
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">c\n{contig}\n")
    first, last = len(left) + 2, len(left) + 13  # of the repeat, from 1
    rows = [
        (first - 1, "G", "GCA"),  # an insertion of CA
        (last, "A", "ACA"),
        (last, "AT", "ACAT"),
        (first + 3, "A", "AAC" + "G", "ACA"),
        (first - 1, "GCA", "G"),  # a deletion of CA
        (last - 2, "ACA", "A"),
        (first - 1, contig[first - 2 : last + 1], contig[first - 2 : last - 2] + contig[last]),
        (first + 1, "ACA", "A", "ACAG"),
        (50, contig[49], "ACGT".replace(contig[49], "")[0]),  # an SNV
        (46, contig[45:55], contig[45:49] + "ACGT".replace(contig[49], "")[0] + contig[50:55]),
    ]
    table = pa.table(
        {
            "chrom": ["c"] * len(rows),
            "position": [row[0] for row in rows],
            "ref": [row[1] for row in rows],
            "alt": [",".join(row[2:]) for row in rows],
        }
    )
    MarkovModel.fit([contig], order=2).save(tmp_path / "markov.safetensors")
    model = f"markov:{tmp_path}/markov.safetensors" if recipe == "markov" else MODEL
    name = "whole-alleles" if recipe == "markov" else recipe
    scores = score_variants(table, fasta, model, recipe=name, window=60, device="cpu").to_pylist()
    assert {row["status"] for row in scores} == {""}
    insertion, deletion, snv = (
        [
            row["score"]
            for row in scores
            if (row["ref"], row["alt"]) in {(own[1], alt) for own in ours for alt in alts(own)}
        ]
        for ours, alts in (
            (rows[:4], lambda own: own[-1:]),
            (rows[4:8], lambda own: own[2:3]),
            (rows[8:], lambda own: own[2:]),
        )
    )
    assert [len(insertion), len(deletion), len(snv)] == [4, 4, 2]
    for own in (insertion, deletion, snv):
        assert max(own) - min(own) <= (0 if recipe == "markov" else 1e-4)
        assert abs(own[0]) > 1e-6


def test_a_header_alone(tmp_path, run):
    vcf = tmp_path / "empty.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for suffix in ("vcf.gz", "tsv", "tsv.gz", "parquet"):
        status, errors = run(vcf, tmp_path / f"out.{suffix}")
        assert status == 0, errors
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert (tmp_path / "out.tsv").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", 4096), "reads at most 130 tokens"),
        (("--recipe", "dart"), "recipe dart: there are dart-eval, "),
        (("--name", "AF"), "in.vcf: the INFO key AF already exists; choose another name for the new ones"),
        (("--label", "1"), "label 1: recipe whole-alleles has no labels; recipe head has"),
        (
            ("--layer", "2"),
            "layer 2: recipe whole-alleles takes no layer; embedding-cosine, embedding-l2, embedding-l2-tokens do",
        ),
        (("--name", "END"), "name END: the VCF format has given this INFO key a meaning of its own"),
        (("--name", "a;b"), "name 'a;b': letters, digits and _ only"),
        (("--output", "out.bam"), "out.bam: name an output that ends with .vcf.gz, .tsv, .tsv.gz, .parquet"),
        (("--device", "cuda:7"), "device 'cuda:7' cannot be used"),
    ],
)
def test_errors_are_one_line(variants, tmp_path, run, options, message):
    status, errors = run(variants, tmp_path / "out.tsv", *options)
    assert status == 1
    assert errors.splitlines()[-1].startswith("hyenadna: ")
    assert message in errors
    assert "Traceback" not in errors


def test_a_run_without_a_part_leaves_no_folder(variants, tmp_path, run):
    variants = tmp_path / "odd.vcf"
    variants.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nx\n")
    status, errors = run(variants, tmp_path / "out.tsv")
    assert (status, [path.name for path in tmp_path.iterdir()]) == (1, ["odd.vcf"]), errors


def test_a_name_of_a_model_adds_no_line_to_the_header(variants, tmp_path, run):
    """A folder whose name holds a line end and quotes."""
    folder = tmp_path / 'm\n##FILTER=<ID=planted,Description="x">'
    shutil.copytree(MODEL, folder)
    status, errors = run(variants, tmp_path / "out.vcf.gz", model=folder)
    assert status == 0, errors
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert "planted" not in file.header.filters
        assert sum("planted" in line for line in str(file.header).splitlines()) == 3  # in what the scores say
        list(file)


def test_a_picture_of_the_scores_by_class(variants, tmp_path, run, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    found = []
    for suffix, picture in (("vcf.gz", "png"), ("tsv", "svg"), ("parquet", "png")):
        plot = tmp_path / f"{suffix}.{picture}"
        status, errors = run(variants, tmp_path / f"out.{suffix}", "--plot", plot)
        assert status == 0, errors
        assert plot.read_bytes().startswith(b"\x89PNG" if picture == "png" else b"<?xml")
        about = json.loads(plot.with_name(f"{plot.name}.json").read_text())
        found.append((about["classes"], about["without_score"]))
    rows = rows_of(tmp_path / "out.tsv")
    lengths = [(len(row["ref"]), len(row["alt"])) for row in rows if row["score"]]
    expected = {
        "SNV": lengths.count((1, 1)),
        "insertion": lengths.count((1, 4)),
        "deletion": lengths.count((4, 1)),
    }
    assert sum(expected.values()) == len(lengths)
    assert found == [(expected, len(rows) - len(lengths))] * 3

    before = plot.stat().st_mtime_ns
    assert run(variants, tmp_path / "out.parquet", "--plot", plot)[0] == 0
    assert plot.stat().st_mtime_ns == before  # it already exists
    late = tmp_path / "late.svg"
    assert run(variants, tmp_path / "out.parquet", "--plot", late)[0] == 0  # of scores that are there already
    assert late.is_file()

    (tmp_path / "mine.png").write_text("mine")
    for plot, said in (("out.jpg", "a figure is written as .png, .svg, .pdf"), ("mine.png", "already exists")):
        status, errors = run(variants, tmp_path / "other.tsv", "--plot", tmp_path / plot)
        assert (status, said in errors) == (1, True), errors
        assert not (tmp_path / "other.tsv").exists()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, errors = run(variants, tmp_path / "other.tsv", "--plot", tmp_path / "other.png")
    assert (status, "pip install 'hyenadna-dart[plot]'" in errors) == (1, True), errors
    assert not (tmp_path / "other.tsv").exists()
