"""Task 5 against the original's own output, and what it makes of bad input."""

import codecs
import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, IterableDataset, disable_progress_bars
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_dart import load_dart
from datasets_dart.formats.variants import CHROMBPNET, PUBLISHED, read_layout, read_variants
from datasets_dart.variant_effects import VariantEffects, duplicates, list_mismatches

FIXTURES = Path(__file__).parents[1] / "fixtures"
GENOME = FIXTURES / "genome" / "genome.fa"
CAQTL = FIXTURES / "task5" / "Afr.CaQTLS.tsv"
DSQTL = FIXTURES / "task5" / "yoruban.dsqtls.benchmarking.tsv"
TABLES = {"caqtl": CAQTL, "dsqtl": DSQTL}
REFERENCE = {"allele1_ref": 1, "allele2_ref": 2, "neither": 0}

disable_progress_bars()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`load_dart` of task 5 with a cache of its own, and shards of 16 rows."""
    monkeypatch.setattr("datasets_dart.base.CHUNK_ROWS", 16)

    def load(variants=CAQTL, split="test", **options):
        options = {"genome": GENOME, "cache_dir": tmp_path / "cache", **options}
        return load_dart("variant_effects", variants=variants, split=split, **options)

    return load


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def number(text):
    return float(text) if text else None


def without_ambiguity(sequence):
    return sequence.replace("N", "A")


@pytest.mark.parametrize("kind", TABLES)
def test_paper_protocol_equals_the_original(load, kind):
    path = TABLES[kind]
    windows, kinds = (table(path.with_name(f"{path.stem}_{what}.tsv")) for what in ("windows", "kinds"))
    rows = list(load(path, protocol="paper"))
    assert len(rows) == len(windows) == {"caqtl": 56, "dsqtl": 52}[kind]
    for place, (row, source, window, case) in enumerate(zip(rows, table(path), windows, kinds, strict=True)):
        chrom, position, allele1, allele2 = list(source.values())[:4]
        assert row["id"] == place
        assert (row["chrom"], row["position"], row["allele1"], row["allele2"]) == (
            chrom,
            int(position),
            allele1,
            allele2,
        )
        assert (row["sequence1"], row["sequence2"]) == (window["allele1_seq"], window["allele2_seq"])
        assert row["reference_allele"] == REFERENCE[case["allele_case"]]
        if kind == "caqtl":
            assert row["label"] == (source["label"] == "True")
            assert row["used"] == (source["IsUsed"] == source["in_peaks"] == "True")
            assert row["effect"] == row["beta"] == float(source["beta"])
            assert row["chrombpnet_logfc"] == float(source["chrombpnet.encsr000emt.variantscore.logfc"])
            assert (row["rsid"], row["pval"], row["effect_allele"]) == (source["rsid"], float(source["pval"]), 2)
        else:
            assert row["label"] == (source["var.label"] == "1")
            assert row["used"] == (source["var.isused"] == "True")
            assert row["effect"] == number(source["obs.estimate"])
            assert row["chrombpnet_logfc"] == float(source["pred.chrombpnet.encsr000emt.varscore.logfc"])
            assert row["pred.chrombpnet.encsr000emt.varscore.jsd"] == float(
                source["pred.chrombpnet.encsr000emt.varscore.jsd"]
            )
            assert (row["var.rsid"], row["effect_allele"]) == (source["var.rsid"], 1)


@pytest.mark.parametrize("kind", TABLES)
def test_fixed_protocol_keeps_n_leaves_mismatches_out_and_turns_dsqtls(load, kind):
    path = TABLES[kind]
    paper = {row["id"]: row for row in load(path, protocol="paper")}
    fixed = load(path)
    sign = {"caqtl": 1, "dsqtl": -1}[kind]
    mismatches = [place for place, row in paper.items() if row["reference_allele"] == 0 and row["allele1"].isupper()]
    again = {"caqtl": [44], "dsqtl": []}[kind]  # its alleles are those of row 50, in the other order
    assert list(fixed["id"]) == sorted(paper.keys() - set(mismatches) - set(again))
    for row in fixed:
        original = paper[row["id"]]
        for name in ("sequence1", "sequence2"):
            assert without_ambiguity(row[name]) == original[name]
        for name in ("effect", "chrombpnet_logfc"):
            assert row[name] == (None if original[name] is None else sign * original[name])
        assert row["effect_allele"] == 2
        assert row["reference_allele"] in (1, 2)
        assert (row["sequence1"][1057], row["sequence2"][1057]) == (row["allele1"], row["allele2"])
    assert any("N" in row["sequence1"] for row in fixed)
    report = fixed.info.description
    assert f"{len(mismatches)} with neither allele in the genome, left out (line " in report
    assert f"{len(fixed)} are kept" in report


def test_an_allele_in_lower_case_is_the_same_allele(load):
    row = next(row for row in load(protocol="paper") if row["allele1"].islower())
    assert row["reference_allele"] == 0
    same = next(fixed for fixed in load() if fixed["id"] == row["id"])
    assert (same["allele1"], same["allele2"]) == (row["allele1"].upper(), row["allele2"].upper())
    assert same["reference_allele"] == 1


def test_streaming_and_processes_give_the_same_rows(load, tmp_path):
    one = list(load())
    assert list(load(num_proc=2, cache_dir=tmp_path / "two")) == one
    stream = load(streaming=True)
    assert isinstance(stream, IterableDataset)
    assert stream.num_shards == 4
    assert list(stream) == one
    assert stream.features == load().features


def test_other_windows_show_the_same_variant(load):
    for small, wide in zip(load(window=101), load(), strict=True):
        assert small["sequence1"] == wide["sequence1"][1007:1108]
        assert small["sequence1"][50] == small["allele1"]
    with pytest.raises(ValueError, match="window=101"):
        load(window=101, protocol="paper")


def test_windows_past_the_ends_are_padded_in_fixed(load, tmp_path):
    with open(GENOME) as file:
        bases = "".join(line.strip() for line in list(file)[1:40]).upper()
    path = tmp_path / "v.tsv"
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    path.write_text(f"chrom\tpos\tref\talt\nchr5\t10\t{bases[9]}\t{other[bases[9]]}\n")
    (row,) = load(path)
    assert row["sequence1"].startswith("N" * 1048 + bases[:9])
    with pytest.raises(ValueError, match=r"v\.tsv:2: chr5:10 .* has a window that starts before its contig"):
        load(path, protocol="paper")


def test_splits_of_blocks_hold_whole_windows(load, tmp_path):
    blocks = tmp_path / "blocks.bed"
    blocks.write_text("chr5\t0\t50000\ttrain\nchr5\t50000\t1000000\ttest\nchr10\t0\t1000000\tvalidation\n")
    everything = {row["id"]: row for row in load()}
    data = load(splits=blocks, split=None)
    assert list(data) == ["train", "validation", "test"]
    for split, chrom in (("train", "chr5"), ("validation", "chr10"), ("test", "chr5")):
        assert {row["chrom"] for row in data[split]} == {chrom}
    train, test = set(data["train"]["id"]), set(data["test"]["id"])
    for place, row in everything.items():
        start, end = row["position"] - 1058, row["position"] + 1056
        if row["chrom"] == "chr5":
            assert (place in train) == (end <= 50000)
            assert (place in test) == (start >= 50000)
    assert "in no split, left out" in data["test"].info.description


INFO = '##INFO=<ID={},Number={},Type={},Description="x">\n'


def first_bases(load, count=4):
    """Some variants of the golden table with their genome base."""
    return [row for row in load() if row["reference_allele"] == 1][:count]


def test_vcf_is_the_same_as_a_table(load, tmp_path):
    rows = first_bases(load)
    path = tmp_path / "v.vcf.gz"
    info = INFO.format("BETA", "A", "Float") + INFO.format("HIT", "1", "Integer")
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    header = f"##fileformat=VCFv4.2\n##contig=<ID=chr5,length=LENGTH>\n{info}{columns}"
    index = dict(line.split("\t")[:2] for line in (GENOME.parent / "genome.fa.fai").read_text().splitlines())
    body = ""
    for row in rows:
        other = next(base for base in "ACGT" if base not in (row["allele1"], row["allele2"]))
        where = f"{row['chrom'].removeprefix('chr')}\t{row['position']}\t{row['rsid']}\t{row['allele1']}"
        body += f"{where}\t{row['allele2']},{other}\t.\tPASS\tDB;BETA={row['effect']},.;HIT={int(row['label'])}\n"
        body += f"{where}A\t{row['allele1']}\t.\tPASS\tBETA=1\n"
    path.write_bytes(gzip.compress((header.replace("LENGTH", index["chr5"]) + body).encode()))
    got = list(load(path, effect="BETA", label="HIT"))
    assert [row["id"] for row in got] == [0, 1, 3, 4, 6, 7, 9, 10]
    for row, first, second in zip(rows, got[::2], got[1::2], strict=True):
        for name in ("chrom", "position", "allele1", "allele2", "sequence1", "sequence2", "label", "effect", "rsid"):
            assert first[name] == row[name]
        assert (second["sequence1"], second["effect"], second["label"]) == (row["sequence1"], None, row["label"])
    assert "4 not a change of one base, left out" in load(path).info.description
    with pytest.raises(ValueError, match=r"v\.vcf\.gz:7: .* is not a change of one base"):
        load(path, protocol="paper")
    path.write_text(header.replace("LENGTH", "7") + body)
    with pytest.raises(ValueError, match=r"v\.vcf\.gz: chr5 has 7 bp \(build unknown\), but \d+ bp in .*genome\.fa"):
        load(path)


def test_duplicates_are_left_out_and_counted(load, tmp_path):
    one, two, three, _ = first_bases(load)
    path = tmp_path / "v.tsv"

    def line(row, used, swap=False):
        alleles = (row["allele2"], row["allele1"]) if swap else (row["allele1"], row["allele2"])
        return "\t".join(map(str, (row["chrom"], row["position"], *alleles, used, "True", "True"))) + "\n"

    header = "chr_hg38\tpos_hg38\tallele1\tallele2\tIsUsed\tin_peaks\tlabel\n"
    lines = [line(one, False), line(two, True), line(one, True, swap=True), line(three, False), line(two, True)]
    path.write_text(header + "".join(lines))
    data = load(path)
    assert data["id"] == [1, 2, 3]
    assert "2 are duplicates, left out; 3 are kept; 2 of these in the benchmark; 2 positive" in data.info.description
    assert load(path, protocol="paper")["id"] == [0, 1, 2, 3, 4]


def test_duplicates_that_say_something_else_are_counted(load, tmp_path):
    one, two = first_bases(load, 2)
    path = tmp_path / "v.tsv"
    lines = [
        f"{row['chrom']}\t{row['position']}\t{row['allele1']}\t{row['allele2']}\t{effect}\n"
        for row, effect in ((one, 1), (two, ""), (one, 1), (one, -1), (two, "NA"), (two, 2))
    ]
    path.write_text("chrom\tpos\tref\talt\tbeta\n" + "".join(lines))
    said = "4 are duplicates, left out; 2 duplicates with another effect or label than the one that is kept"
    assert said in load(path).info.description


KEYS = st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 10**9]), st.permutations(range(4)), st.booleans())


@given(st.lists(KEYS, min_size=1, max_size=30))
def test_of_each_variant_one_is_kept_and_from_the_benchmark_if_any_is(rows):
    chrom, position, alleles, used = (np.array(column) for column in zip(*rows, strict=True))
    again = duplicates(chrom, position, alleles[:, :2], used)
    seen = {}
    for place, (where, at, pair, in_benchmark) in enumerate(rows):
        seen.setdefault((where, at, frozenset(pair[:2])), []).append((not in_benchmark, place))
    assert [place for place, repeated in enumerate(again.tolist()) if not repeated] == sorted(
        min(places)[1] for places in seen.values()
    )


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 60))
def test_chunks_can_be_read_again_from_where_they_start(rows):
    layout = read_layout(DSQTL)
    chunks = list(read_variants(DSQTL, layout, rows))
    assert [number for _, chunk in chunks for number in chunk.id.tolist()] == list(range(52))
    for position, chunk in chunks:
        again = next(read_variants(DSQTL, layout, rows, position))[1]
        assert all((one == other).all() for one, other in zip(again[:6], chunk[:6], strict=True))


def test_missing_effects_and_labels(load, tmp_path):
    rows = first_bases(load)
    path = tmp_path / "v.tsv"
    path.write_text(
        "chrom\tpos\tref\talt\teffect\tlabel\n"
        + "".join(
            f"{row['chrom']}\t{row['position']}\t{row['allele1']}\t{row['allele2']}\t{effect}\t{label}\n"
            for row, effect, label in zip(rows, ("", "NaN", "-0.5", "NA"), ("1", "", "-1", "true"), strict=True)
        )
    )
    data = load(path)
    assert list(data["effect"]) == [None, None, -0.5, None]
    assert "3 without a value of effect, kept" in data.info.description
    assert list(data["label"]) == [True, None, False, True]
    assert data.info.description.endswith(
        "2 positive in the benchmark; 1 controls in the benchmark; 2 positive without an effect.\n"
        "Duplicates: test: 4 rows, repeated within: none."
    )


def test_the_originals_own_hdf5_is_accepted(load, tmp_path):
    h5py = pytest.importorskip("h5py")
    windows = table(CAQTL.with_name("Afr.CaQTLS_windows.tsv"))
    path = tmp_path / "data.h5"

    def one_hot(name):
        rows = np.array([["ACGT".index(base) for base in row[name]] for row in windows])
        return np.eye(4, dtype=np.uint8)[rows]

    with h5py.File(path, "w") as file:
        file["Afr.CaQTLS.tsv/allele_1_seqs"] = one_hot("allele1_seq")
        file["Afr.CaQTLS.tsv/allele_2_seqs"] = one_hot("allele2_seq")
    got, paper = load(genome=None, processed=path, protocol="paper"), load(protocol="paper")
    for name in ("id", "sequence1", "sequence2", "effect", "label", "used"):
        assert list(got[name]) == list(paper[name])
    assert set(got["reference_allele"]) == {None}
    with pytest.raises(
        ValueError, match=r"data\.h5: has no /yoruban\.dsqtls\.benchmarking\.tsv/allele_1_seqs of shape"
    ):
        load(DSQTL, genome=None, processed=path)
    with h5py.File(path, "a") as file:
        file["Afr.CaQTLS.tsv/allele_2_seqs"][3] = file["Afr.CaQTLS.tsv/allele_1_seqs"][3]
    with pytest.raises(ValueError, match=r"allele_2_seqs\[3\] has not the allele of .*Afr\.CaQTLS\.tsv:5: "):
        load(genome=None, processed=path, effect_orientation="as-given")


# --- which allele an effect is of


def rows_of_published(kind, load, turned=(), noise=0.0, scores=True):
    """Lines of a published table whose effects follow its ChromBPNet scores, those of rows in `turned` inversely."""
    names = {
        "caqtl": [
            "chr_hg38",
            "pos_hg38",
            "allele1",
            "allele2",
            "rsid",
            "label",
            "IsUsed",
            "in_peaks",
            "pval",
            "beta",
            "se",
        ],
        "dsqtl": [
            "var.chrom",
            "var.pos",
            "var.allele1",
            "var.allele2",
            "var.rsid",
            "var.label",
            "var.isused",
            "obs.estimate",
        ],
    }[kind]
    score = {"caqtl": CHROMBPNET[0], "dsqtl": CHROMBPNET[1]}[kind]
    rng = np.random.default_rng(0)
    bases = first_bases(load, 30)
    lines = ["\t".join([*names, *[score][: int(scores)]])]
    for place, row in enumerate(bases):
        alleles = (row["allele1"], row["allele2"]) if place % 3 else (row["allele2"], row["allele1"])
        value = float(rng.normal())
        effect = round((-value if place in turned else value) + noise * float(rng.normal()), 4)
        cells = [row["chrom"], row["position"], *alleles, f"rs{place}"]
        cells += ["True", "True", "True", 0.1, effect, 1] if kind == "caqtl" else [1, "True", effect]
        lines.append("\t".join(map(str, cells + [round(value, 4)][: int(scores)])))
    return lines


def write_lines(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


ALLELE_2_IS_THE_GENOMES = range(0, 30, 3)


@pytest.mark.parametrize("kind", TABLES)
def test_effects_of_the_genomes_other_allele_are_turned(load, tmp_path, kind):
    """A table whose effects are of the allele that the genome does not have, in place of one allele in all rows."""
    effect = {"caqtl": "beta", "dsqtl": "obs.estimate"}[kind]
    of_reference = [place for place in range(30) if (place % 3 == 0) == (kind == "caqtl")]
    plain = load(write_lines(tmp_path / "plain.tsv", rows_of_published(kind, load)))
    other = load(write_lines(tmp_path / "other.tsv", rows_of_published(kind, load, of_reference)))
    assert len(plain) == 30
    sign = {"caqtl": 1, "dsqtl": -1}[kind]
    assert list(plain["effect"]) == list(other["effect"]) == [sign * value for value in plain[effect]]
    assert set(other["effect_allele"]) == {2}
    in_the_table = [plain[effect][n] * (-1 if n in of_reference else 1) for n in range(30)]
    assert list(other[effect]) == in_the_table
    assert list(load(tmp_path / "other.tsv", effect_orientation="as-given")["effect"]) == [
        sign * value for value in in_the_table
    ]
    by_reference = load(tmp_path / "other.tsv", effect_orientation="by-reference")
    assert list(by_reference["effect"]) == list(plain["effect"])
    allele = {"caqtl": 2, "dsqtl": 1}[kind]
    report = " ".join(other.info.description.split())
    n = len(of_reference)
    first, second = f"1.00 (n {30 - n})", f"-1.00 (n {n})"
    assert (
        f"{n} of the effects turned, to be of allele {allele} in all rows: Pearson r with the table's ChromBPNet "
        f"scores is {first} where allele {3 - allele} is the genome's base and {second} where allele {allele} is"
        in report
    )
    assert "0 of the effects turned" in " ".join(plain.info.description.split())
    paper = load(tmp_path / "other.tsv", protocol="paper")
    assert list(paper["effect"]) == in_the_table
    with pytest.raises(ValueError, match=r'effect_orientation=.*: protocol="paper" takes effects'):
        load(tmp_path / "other.tsv", protocol="paper", effect_orientation="by-reference")


def test_effects_whose_allele_nothing_shows(load, tmp_path):
    path = write_lines(tmp_path / "caqtl.tsv", rows_of_published("caqtl", load, scores=False))
    with pytest.raises(ValueError, match=r"has no ChromBPNet scores.*DART-Eval/issues/14.*as-given or by-reference"):
        load(path)
    as_given, by_reference = (load(path, effect_orientation=name)["effect"] for name in ("as-given", "by-reference"))
    turned = [-1 if place in ALLELE_2_IS_THE_GENOMES else 1 for place in range(30)]
    assert list(by_reference) == [sign * value for sign, value in zip(turned, as_given, strict=True)]
    inverse = write_lines(tmp_path / "inverse.tsv", rows_of_published("caqtl", load, range(30)))
    with pytest.raises(ValueError, match=r"is -1\.00 \(n 20\) where .* effects and scores are not of one allele"):
        load(inverse)
    unclear = load(write_lines(tmp_path / "unclear.tsv", rows_of_published("caqtl", load, noise=50.0)))
    assert list(unclear["effect"]) == list(unclear["beta"])
    with pytest.raises(ValueError, match="effect_orientation='other': one of as-given, by-reference"):
        load(path, effect_orientation="other")
    with pytest.raises(ValueError, match="give one of them"):
        load(path, effect_orientation="as-given", effect_allele="1")


def test_the_originals_effect_sizes_say_which_rows_it_turned(load, tmp_path):
    h5py = pytest.importorskip("h5py")
    lines = rows_of_published("caqtl", load, ALLELE_2_IS_THE_GENOMES)
    path = write_lines(tmp_path / "Afr.CaQTLS.tsv", lines)
    whole, beta = load(path), np.array([float(line.split("\t")[9]) for line in lines[1:]])
    data = tmp_path / "data.h5"
    letters = {"sequence1": "allele_1_seqs", "sequence2": "allele_2_seqs"}
    with h5py.File(data, "w") as file:
        for name, array in letters.items():
            rows = np.array([["ACGT".find(base) for base in row] for row in whole[name]])
            file[f"Afr.CaQTLS.tsv/{array}"] = np.where(rows[..., None] == np.arange(4), 1, 0).astype(np.uint8)
        file["Afr.CaQTLS.tsv/effect_size"] = beta.astype(np.float32)
    with pytest.raises(ValueError, match="is read without a genome, so that nothing shows"):
        load(path, genome=None, processed=data)
    assert list(load(path, genome=None, processed=data, effect_orientation="as-given")["effect"]) == beta.tolist()
    with pytest.raises(ValueError, match="takes a genome"):
        load(path, genome=None, processed=data, effect_orientation="by-reference")
    with h5py.File(data, "a") as file:
        file["Afr.CaQTLS.tsv/effect_size"][::3] *= -1
    other_cache = tmp_path / "another"
    assert list(load(path, genome=None, processed=data, cache_dir=other_cache)["effect"]) == list(whole["effect"])


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("change", ["bom", "quoted", "crlf", "upper", "hash"])
def test_ways_to_write_a_header(load, tmp_path, kind, change):
    lines = rows_of_published(kind, load)
    names = lines[0].split("\t")
    header, end, start = lines[0], "\n", b""
    if change == "bom":
        start = codecs.BOM_UTF8
    elif change == "quoted":
        header = "\t".join(f'"{name}"' for name in names)
    elif change == "crlf":
        end = "\r\n"
    elif change == "upper":
        header = "\t".join([*names[:5], *(name.upper() for name in names[5:8]), *names[8:]])
    else:
        header = f"#{header}"
    (tmp_path / "plain.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "other.tsv").write_bytes(start + end.join([header, *lines[1:], ""]).encode())
    plain, other = (load(tmp_path / f"{name}.tsv") for name in ("plain", "other"))
    for name in ("effect", "chrombpnet_logfc", "label", "used", "effect_allele"):
        assert list(plain[name]) == list(other[name])


@pytest.mark.parametrize("kind", TABLES)
def test_tables_between_two_layouts_are_refused(load, tmp_path, kind):
    """Any column of a published table that is missing, or under another name, where its effects are there."""
    lines = rows_of_published(kind, load)
    names = lines[0].split("\t")
    effect = {"caqtl": "beta", "dsqtl": "obs.estimate"}[kind]
    needed, marks, _ = PUBLISHED[kind]
    for name in needed:
        left = [other for other in names if other.lower() in marks and other.lower() != name]
        if name == effect or not left:
            continue
        header = "\t".join("other" if column.lower() == name else column for column in names)
        path = write_lines(tmp_path / "between.tsv", [header, *lines[1:]])
        with pytest.raises(ValueError, match=rf"between\.tsv:1: is neither the published {kind} table.*effect_allele"):
            read_layout(path)
        assert read_layout(path, effect_allele="1").effect_allele == 1


OWN = "chrom\tpos\t{}\t{}\t{}\n"


@pytest.mark.parametrize(
    ("names", "options", "turned"),
    [
        (("ref", "alt", "beta"), {}, False),
        (("Ref_hg19", "ALT", "beta"), {}, False),
        (("alt", "ref", "beta"), {}, True),
        (("a1", "a2", "beta"), {}, None),
        (("allele1", "allele2", "effect"), {}, None),
        (("a1", "a2", "beta"), {"effect_allele": "1"}, True),
        (("a1", "a2", "beta"), {"effect_allele": "2"}, False),
        (("a1", "a2", "beta"), {"effect_allele": "a1"}, True),
        (("a1", "a2", "beta"), {"effect_allele": "a2"}, False),
        (("a1", "a2", "beta"), {"effect_allele": "ref"}, True),
        (("a1", "a2", "beta"), {"effect_allele": "alt"}, False),
        (("a1", "a2", "beta\teffect_allele"), {}, True),
        (("ref", "alt", "beta\tEA"), {}, True),
        (("ref", "alt", "beta\tvcf_alt"), {}, "vcf_alt is"),
        (("ref", "alt", "beta\tvcf_alt"), {"effect_allele": "vcf_alt"}, True),
        (("ref", "alt", "beta\tx"), {"effect_allele": "x"}, True),
        (("ref", "alt", "beta\tx"), {"effect_allele": "y"}, "no column of alleles; it has ref, alt, beta, x"),
    ],
)
def test_the_allele_of_an_effect(load, tmp_path, names, options, turned):
    """Rows have the genome's base first, and the first allele in the fifth column, if there is one."""
    rows = first_bases(load)
    more = "\t" in names[2]
    lines = [
        "\t".join(
            map(str, [row["chrom"], row["position"], row["allele1"], row["allele2"], 0.5, row["allele1"]][: 5 + more])
        )
        for row in rows
    ]
    path = tmp_path / "own.tsv"
    path.write_text(OWN.format(*names) + "\n".join(lines) + "\n")
    if isinstance(turned, bool):
        assert list(load(path, **options)["effect"]) == [-0.5 if turned else 0.5] * len(rows)
        return
    with pytest.raises(ValueError, match=turned or rf"which allele is {names[2]} the effect of, that of column"):
        load(path, **options)


def test_a_column_of_other_alleles_is_refused(load, tmp_path):
    (row,) = first_bases(load, 1)
    other = next(base for base in "ACGT" if base not in (row["allele1"], row["allele2"]))
    cells = [row["chrom"], row["position"], row["allele1"], row["allele2"], 0.5, other]
    path = tmp_path / "own.tsv"
    path.write_text(OWN.format("a1", "a2", "beta\teffect_allele") + "\t".join(map(str, cells)) + "\n")
    with pytest.raises(ValueError, match=rf"own\.tsv:2: effect_allele is '{other}', neither allele of chr"):
        load(path)


# --- INFO


def vcf_of(path, info, *records):
    text = "##fileformat=VCFv4.2\n" + info + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(text + "".join("\t".join(map(str, record)) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("number", "values", "expected"),
    [
        ("A", "1,2", [1, 2]),
        ("A", ".,2", [None, 2]),
        ("A", ".", [None, None]),
        ("A", "1", "left out"),
        ("A", "1,2,3", "left out"),
        ("A", "1,x", "left out"),
        ("A", "1,2;BETA=3,4", "left out"),
        ("R", "0,1,2", [1, 2]),
        ("R", "1,2", "left out"),
        (".", "1,2", [1, 2]),
        (".", "1", "left out"),
        ("1", "1", "left out"),  # of which allele?
        ("G", "1,2,3,4,5,6", "Number=G, which gives an allele no effect of its own"),
        ("2", "1,2", "Number=2, which gives an allele no effect of its own"),
    ],
)
def test_the_number_of_an_info_key_is_obeyed(load, tmp_path, number, values, expected):
    one, two = first_bases(load, 2)
    third = next(base for base in "ACGT" if base not in (one["allele1"], one["allele2"]))
    records = [
        (one["chrom"], one["position"], ".", one["allele1"], f"{one['allele2']},{third}", ".", ".", f"BETA={values}"),
        (two["chrom"], two["position"], ".", two["allele1"], two["allele2"], ".", ".", "."),
    ]
    path = vcf_of(tmp_path / "v.vcf", INFO.format("BETA", number, "Float"), *records)
    if expected == "left out":
        data = load(path, effect="BETA")
        assert list(data["effect"]) == [None]
        assert "2 with other values than the header says, left out (line 4)" in data.info.description
    elif isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            load(path, effect="BETA")
    else:
        assert list(load(path, effect="BETA")["effect"]) == [*expected, None]


def test_flags_types_and_keys_of_info(load, tmp_path):
    one, two = first_bases(load, 2)
    records = [(r["chrom"], r["position"], ".", r["allele1"], r["allele2"], ".", ".") for r in (one, two)]
    info = INFO.format("HIT", "0", "Flag") + INFO.format("NAME", "1", "String") + INFO.format("BETA", "1", "Float")
    path = vcf_of(tmp_path / "v.vcf", info, (*records[0], "HIT;BETA=2"), (*records[1], "BETA=3"))
    data = load(path, effect="BETA", label="HIT")
    assert (list(data["label"]), list(data["effect"])) == ([True, False], [2, 3])
    for options, message in (
        ({"effect": "beta"}, r"v\.vcf: has no INFO key 'beta' in its header; it has HIT, NAME, BETA"),
        ({"label": "hit"}, r"v\.vcf: has no INFO key 'hit' in its header; it has HIT, NAME, BETA"),
        ({"effect": "NAME"}, "INFO key NAME is of type String, and an effect is a number"),
        ({"effect": "HIT"}, "INFO key HIT is of type Flag, and an effect is a number"),
        ({"effect": "BETA", "effect_allele": "x"}, "in a VCF one of 1, 2, ref and alt"),
    ):
        with pytest.raises(ValueError, match=message):
            load(path, **options)
    assert list(load(path, effect="BETA", effect_allele="ref")["effect"]) == [-2, -3]


def test_mismatches_are_listed_refused_or_kept(load, tmp_path):
    total, found = list_mismatches(str(CAQTL), str(GENOME), tmp_path / "mismatches.tsv")
    listed = table(tmp_path / "mismatches.tsv")
    kinds = [row["allele_case"] for row in table(CAQTL.with_name("Afr.CaQTLS_kinds.tsv"))]
    assert (total, found) == (56, len(listed)) == (56, kinds.count("neither") - 1)
    assert listed[0]["variant"].endswith(("genome N", "genome A", "genome C", "genome G", "genome T"))
    with pytest.raises(ValueError, match=rf"Afr\.CaQTLS\.tsv:{listed[0]['line']}: neither allele is the genome's base"):
        load(mismatch="refuse")
    kept = load(mismatch="keep")
    assert list(kept["id"]) == [number for number in range(56) if number != 44]
    assert list(kept["reference_allele"]).count(0) == found
    with pytest.raises(ValueError, match="mismatch='drop'"):
        load(mismatch="drop")


HEADER = "chrom\tpos\tref\talt\tlabel\teffect\n"
BAD_TABLES = {
    "no header": ("chr5\t3000\tA\tC\n", r"bad\.tsv:1: .* is neither the header of a tab-separated table"),
    "spaces": ("chrom pos ref alt\n", r"bad\.tsv:1: .* is neither the header"),
    "columns": (HEADER + "chr5\t3000\tA\tC\t1\n", r"bad\.tsv:2: 5 columns, but 6 in the header"),
    "counted from 0": ("chrom\tstart\tref\talt\n", r"bad\.tsv:1: are the positions in column 'start' counted from 0"),
    "underscore": (HEADER + "chr5\t3000\tA\tC\t1\t1_0\n", r"bad\.tsv:2: effect is '1_0', not a number"),
    "two names": ("chrom\tpos\tref\talt\ta\ta\n", r"bad\.tsv:1: two columns are called 'a'"),
    "position": (HEADER + "chr5\t0\tA\tC\t1\t1\n", r"bad\.tsv:2: '0' is not a position"),
    "text position": (HEADER + "\nchr5\t3e3\tA\tC\t1\t1\n", r"bad\.tsv:3: '3e3' is not a position"),
    "label": (HEADER + "chr5\t3000\tA\tC\tyes\t1\n", r"bad\.tsv:2: label is 'yes', not True or False"),
    "effect": (HEADER + "chr5\t3000\tA\tC\t1\tx\n", r"bad\.tsv:2: effect is 'x', not a number"),
    "infinite": (HEADER + "chr5\t3000\tA\tC\t1\t-inf\n", r"bad\.tsv:2: effect is '-inf', not a number"),
    "contig": (HEADER + "chr7\t3000\tA\tC\t1\t1\n", r"bad\.tsv:2: chr7:3000 A>C is on a contig that .*genome\.fa does"),
    "past the end": (HEADER + "chr5\t99999999\tA\tC\t1\t1\n", r"bad\.tsv:2: chr5:99999999 A>C ends beyond its contig"),
    "no rows": (HEADER, r"bad\.tsv: no variant is left|bad\.tsv: has no variants"),
    "empty": ("", r"bad\.tsv: the file is empty"),
    "only indels": (HEADER + "chr5\t3000\tA\t-\t1\t1\n", r"bad\.tsv: no variant is left in a split"),
    "no VCF header": ("##fileformat=VCFv4.2\nchr5\t3000\n", r"bad\.tsv:2: the header's line '#CHROM' must come here"),
    "VCF columns": (
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr5\t30\t.\tA\tC\n",
        r"bad\.tsv:3: 5 tab-separated columns where a VCF has 8",
    ),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(load, tmp_path, case, streaming):
    text, message = BAD_TABLES[case]
    bad = tmp_path / "bad.tsv"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(bad, streaming=streaming)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_another_build_is_refused(load, tmp_path):
    shifted = tmp_path / "shifted.tsv"
    header, *lines = CAQTL.read_text().splitlines(keepends=True)
    moved = []
    for line in lines:
        chrom, position, rest = line.split("\t", 2)
        moved.append(f"{chrom}\t{max(int(position) - 777, 1)}\t{rest}")
    shifted.write_text(header + "".join(moved))
    with pytest.raises(
        ValueError, match=r"shifted\.tsv: \d+ of 56 variants have neither allele in .*which may be of anoth"
    ):
        load(shifted)
    hg19 = tmp_path / "hg19.fa"
    hg19.write_text(">chr22\n" + "A" * 51304566 + "\n")
    with pytest.raises(ValueError, match=r"Afr\.CaQTLS\.tsv: its positions are on hg38, but .*hg19\.fa is hg19"):
        load(genome=hg19)


def test_bad_options(load):
    with pytest.raises(ValueError, match="has no column 'slope' after the first four"):
        load(effect="slope")
    with pytest.raises(ValueError, match="lacks inputs: genome, or processed"):
        load(genome=None)
    with pytest.raises(ValueError, match="takes exactly one of the inputs genome and processed"):
        load(processed=CAQTL)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(Path("nowhere.tsv"))
    assert math.isclose(load(effect="se")[0]["effect"], float(table(CAQTL)[0]["se"]))


def test_the_builder_alone_writes_parquet(tmp_path):
    builder = VariantEffects(cache_dir=str(tmp_path / "cache"), genome=str(GENOME), variants=str(DSQTL))
    builder.download_and_prepare(str(tmp_path / "parquet"), file_format="parquet", num_proc=2)
    (path,) = (tmp_path / "parquet").glob("*.parquet")
    rows = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert rows.features == builder.info.features
    assert list(rows) == list(builder.as_streaming_dataset(split="test"))


def test_folds_set_chromosomes_6_and_21_aside(load):
    whole, folds = load(), load(splits="folds", split=None)
    assert set(folds) == {"validation", "test"}
    assert set(folds["validation"]["chrom"]) == {"chr6"}
    rows = {split: [row["id"] for row in folds[split]] for split in folds}
    assert sorted(rows["validation"] + rows["test"]) == whole["id"][:]
    assert rows["validation"] == [row["id"] for row in whole if row["chrom"] == "chr6"]
    assert list(folds["validation"]) == [row for row in whole if row["chrom"] == "chr6"]
    with pytest.raises(ValueError, match='splits="folds": in protocol="paper" all rows are for testing'):
        load(splits="folds", protocol="paper")
