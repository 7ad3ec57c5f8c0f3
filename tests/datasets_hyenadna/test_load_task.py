"""Builders of HyenaDNA's downstream tasks, on small files of the published forms."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.alphabet import known_bases, reverse_complement
from datasets_hyenadna import load_task
from datasets_hyenadna.chromatin_profile import label_groups
from datasets_hyenadna.species import Species
from datasets_hyenadna.validation import held_out

RNG = np.random.default_rng(0)
CHR1 = "".join(RNG.choice(list("ACGT"), 4000))
CHR2 = "".join(RNG.choice(list("acgt"), 1000))


def drawn(length: int) -> str:
    return "".join(RNG.choice(list("ACGT"), length))


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(f">chr1\n{CHR1}\n>chr2\n{CHR2}\n")
    return path


@pytest.fixture
def load(tmp_path):
    def load(task, **inputs):
        return load_task(task, cache_dir=tmp_path / "cache", **inputs)

    return load


def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(map(str, row)) + "\n" for row in [[header], *rows])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@given(st.lists(st.text("ACGTN", min_size=1, max_size=30), max_size=30))
def test_held_out_rows_follow_from_their_sequence_alone(sequences):
    out = held_out(sequences, 0.5)
    assert (out == held_out([reverse_complement(sequence) for sequence in sequences], 0.5)).all()
    assert [held_out([sequence], 0.5)[0] for sequence in sequences] == out.tolist()


def test_a_tenth_is_held_out():
    assert 160 < held_out([drawn(40) for _ in range(2000)]).sum() < 240


def test_bases_are_upper_case_and_everything_else_is_n():
    assert known_bases("acGTNrU.é") == "ACGTNNTNN"


@pytest.fixture
def intervals(tmp_path):
    folder = tmp_path / "gb" / "human_nontata_promoters"
    for split, shift in (("train", 0), ("test", 2000)):
        for name in ("positive", "negative"):
            rows = [(i, "chr1" if i % 2 else "1", shift + 3 * i, shift + 3 * i + 25, "+-"[i % 2]) for i in range(60)]
            rows += [(60, "chr2", 990, 1000, "")] if name == "positive" else []
            write_csv(folder / split / f"{name}.csv.gz", "id,region,start,end,strand", rows)
    return tmp_path / "gb"


def test_genomic_benchmarks_intervals(load, intervals, genome):
    task = load("genomic_benchmarks/human_nontata_promoters", data=intervals, genome=genome, protocol="paper")
    test = task["test"]
    assert test.features["label"].names == ["negative", "positive"]
    assert len(test) == 121
    assert test["label"][:] == [0] * 60 + [1] * 61
    assert test[4]["sequence"] == CHR1[2012:2037]
    assert test[4]["chrom"] == "chr1"
    assert test[5]["sequence"] == reverse_complement(CHR1[2015:2040])
    assert test[5]["strand"] == "-"
    assert test[120]["sequence"] == CHR2[990:].upper()
    assert task["validation"]["sequence"][:] == test["sequence"][:], "the original chooses on the test split"


def test_fixed_protocol_holds_out_its_own_validation_rows(load, intervals, genome):
    paper = load("genomic_benchmarks/human_nontata_promoters", data=intervals, genome=genome, protocol="paper")
    fixed = load("genomic_benchmarks/human_nontata_promoters", data=intervals, genome=genome)
    assert fixed["test"]["id"][:] == paper["test"]["id"][:]
    own = fixed["train"]["id"][:] + fixed["validation"]["id"][:]
    assert sorted(own) == paper["train"]["id"][:]
    assert not set(fixed["train"]["sequence"][:]) & set(fixed["validation"]["sequence"][:])
    assert held_out(fixed["validation"]["sequence"][:]).all()


def test_genomic_benchmarks_texts_and_parquet_are_the_same_task(load, tmp_path):
    texts, parquet = tmp_path / "texts" / "human_enhancers_cohn", tmp_path / "hub" / "human_enhancers_cohn"
    for split in ("train", "test"):
        rows = []
        for label, name in enumerate(("negative", "positive")):
            (texts / split / name).mkdir(parents=True)
            for i in range(12):
                rows.append({"seq": drawn(20 + i).lower(), "label": label})
                (texts / split / name / f"{i}.txt").write_text(rows[-1]["seq"])
        parquet.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(parquet / f"{split}-00000-of-00001.parquet")
    one = load("genomic_benchmarks/human_enhancers_cohn", data=tmp_path / "texts", split="test")
    two = load("genomic_benchmarks/human_enhancers_cohn", data=tmp_path / "hub", split="test")
    assert one["sequence"][:] == two["sequence"][:]
    assert one["label"][:] == two["label"][:] == [0] * 12 + [1] * 12


def test_human_or_worm_takes_a_genome_for_each_class(load, tmp_path, genome):
    worm = tmp_path / "worm.fa"
    worm.write_text(f">II\n{CHR2}\n")
    for split in ("train", "test"):
        folder = tmp_path / "gb" / "demo_human_or_worm" / split
        write_csv(folder / "human.csv", "id,region,start,end,strand", [(i, "chr1", i, i + 9, "+") for i in range(30)])
        write_csv(folder / "worm.csv", "id,region,start,end,strand", [(i, "II", i, i + 9, "+") for i in range(30)])
    task = load("genomic_benchmarks/demo_human_or_worm", data=tmp_path / "gb", genome={"human": genome, "worm": worm})
    assert task["test"][31]["sequence"] == CHR2[1:10].upper()
    with pytest.raises(ValueError, match="class worm needs its genome"):
        load("genomic_benchmarks/demo_human_or_worm", data=tmp_path / "gb", genome={"human": genome})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, "chr9", 0, 9, "+"), r"negative.csv.gz:62: .* has no contig 'chr9'"),
        ((0, "chr1", 3990, 4010, "+"), r"negative.csv.gz:62: .*chr1:3990-4010 is not within 0-4000"),
    ],
)
def test_bad_intervals_are_named(load, intervals, genome, row, message):
    path = intervals / "human_nontata_promoters" / "train" / "negative.csv.gz"
    rows = [(i, "chr1", i, i + 25, "+") for i in range(60)]
    write_csv(path, "id,region,start,end,strand", [*rows, row])
    with pytest.raises(ValueError, match=message):
        load("genomic_benchmarks/human_nontata_promoters", data=intervals, genome=genome)


def test_nucleotide_transformer_fasta_and_parquet(load, tmp_path):
    folder, hub = tmp_path / "nt" / "splice_sites_all", tmp_path / "hub"
    folder.mkdir(parents=True)
    hub.mkdir()
    for split in ("train", "test"):
        rows = [{"name": f"chr1:{i}|{i % 3}", "sequence": drawn(600), "label": i % 3} for i in range(20)]
        with gzip.open(folder / f"{split}.fna.gz", "wt") as file:
            file.write("".join(f">{row['name']}\n{row['sequence'][:300]}\n{row['sequence'][300:]}\n" for row in rows))
        table = pd.DataFrame(rows).assign(task="splice_sites_all")
        other = table.assign(task="H3", label=0)
        pd.concat([other, table]).to_parquet(hub / f"{split}-00000-of-00001.parquet")
    one = load("nucleotide_transformer/splice_sites_all", data=tmp_path / "nt", split="test")
    two = load("nucleotide_transformer/splice_sites_all", data=hub, split="test")
    assert one.features["label"].num_classes == 3
    assert len(one) == 20
    assert one[:] == two[:]


def test_nucleotide_transformer_names_of_the_original(load, tmp_path):
    folder = tmp_path / "promoter_non_tata"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.fasta").write_text("".join(f">{i} x{i % 2}\n{drawn(30)}\n" for i in range(30)))
    assert len(load("nucleotide_transformer/promoter_no_tata", data=tmp_path, split="test")) == 30
    assert len(load("nucleotide_transformer/promoter_non_tata", data=tmp_path, split="test")) == 30
    (folder / "test.fasta").write_text(">a 1\nACGT\n>b 2\nACGT\n")
    with pytest.raises(ValueError, match=r"test.fasta:3: header 'b 2' does not end with a class, 0 to 1"):
        load("nucleotide_transformer/promoter_no_tata", data=tmp_path)


def test_too_few_rows_to_hold_some_out(load, tmp_path):
    folder = tmp_path / "promoter_no_tata"
    folder.mkdir()
    (folder / "train.fasta").write_text("".join(f">{i} x{i % 2}\n{'ACGT' * (i + 8)}\n" for i in range(2)))
    (folder / "test.fasta").write_text(">0 x0\nACGT\n>1 x1\nACGT\n")
    with pytest.raises(ValueError, match="no row is in split validation: there are too few rows"):
        load("nucleotide_transformer/promoter_no_tata", data=tmp_path)


def test_gue_has_a_validation_split_of_its_own(load, tmp_path):
    for split, rows in (("train", 30), ("dev", 7), ("test", 9)):
        write_csv(tmp_path / "tf_0" / f"{split}.csv", "sequence,label", [(drawn(101), i % 2) for i in range(rows)])
    for protocol in ("fixed", "paper"):
        task = load("gue/tf_0", data=tmp_path, protocol=protocol)
        assert {split: len(rows) for split, rows in task.items()} == {"train": 30, "validation": 7, "test": 9}
    write_csv(tmp_path / "tf_0" / "dev.csv", "sequence,label", [("ACGT", 0), ("ACGT", 5)])
    with pytest.raises(ValueError, match=r"dev.csv: row 1: label 5 is none"):
        load("gue/tf_0", data=tmp_path)


def test_chromatin_profile(load, tmp_path, genome):
    names = ["y_GM12878|DNase", "y_K562|CTCF", "y_K562|H3K27ac"]
    rows = [(0, 100 * i, 100 * i + 100, i % 2, 1 - i % 2, int(i == 3)) for i in range(8)] + [(1, 900, 1000, 0, 0, 1)]
    for split in ("train", "val", "test"):
        write_csv(tmp_path / f"{split}_hg38_coords_targets.csv", "Chr_No,Start,End," + ",".join(names), rows)
    task = load("chromatin_profile", data=tmp_path, genome=genome, window=300)["test"]
    assert task[0]["sequence"] == "N" * 100 + CHR1[:200]
    assert (task[0]["start"], task[0]["end"]) == (-100, 200)
    assert task[3]["sequence"] == CHR1[200:500]
    assert task[3]["labels"] == [1, 0, 1]
    assert task[8]["sequence"] == CHR2[800:].upper() + "N" * 100
    assert label_groups(names) == {"DHS": [0], "TF": [1], "HM": [2]}
    sizes = {group: len(rows) for group, rows in label_groups([f"y_{i}" for i in range(919)]).items()}
    assert sizes == {"DHS": 125, "TF": 690, "HM": 104}
    write_csv(tmp_path / "val_hg38_coords_targets.csv", "Chr_No,Start,End," + ",".join(names), [(0, 5, 9, 0, 2, 1)])
    with pytest.raises(ValueError, match=r"val_hg38_coords_targets.csv:2: y_K562\|CTCF is 2, not 0 or 1"):
        load("chromatin_profile", data=tmp_path, genome=genome)


@pytest.fixture
def species(tmp_path):
    sequences = {}
    for name in ("hippo", "human"):
        for number in (1, 2, 5):
            path = tmp_path / "species" / name / f"chr{number}.fna"
            path.parent.mkdir(parents=True, exist_ok=True)
            sequences[name, number] = drawn(300 if number == 5 else 5000)
            path.write_text(f">NC_{name}{number}\n{sequences[name, number]}\n")
    return tmp_path / "species", sequences


def test_species_windows_come_from_their_splits_chromosomes(load, species):
    folder, sequences = species
    task = load("species", data=folder, length=400, windows=40, species=["human", "hippo"])
    assert task["train"].features["label"].names == ["human", "hippo"]
    for split, number in (("train", 2), ("validation", 1), ("test", 5)):
        for row in task[split]:
            chromosome = sequences[("human", "hippo")[row["label"]], number]
            assert row["sequence"] == chromosome[row["start"] : row["start"] + 400].rjust(400, "N")
        assert 8 < sum(task[split]["label"][:]) < 32
    paper = load("species", data=folder, length=400, windows=40, species=["human", "hippo"], protocol="paper")
    assert paper["test"]["sequence"][:] == paper["validation"]["sequence"][:] == task["validation"]["sequence"][:]


def test_a_species_window_is_a_function_of_its_number(species):
    folder, _ = species
    source = Species("", str(folder), str(folder), length=50, windows=5)
    windows = source.windows("train")
    assert windows[[7, 3]]["sequence"] == [windows.row(7)["sequence"], windows.row(3)["sequence"]]
    assert len({windows.row(number)["start"] for number in range(20)}) > 15


def test_species_of_one_fasta_each_and_splits_of_ones_own(load, tmp_path):
    for name in ("yeast", "worm"):
        (tmp_path / f"{name}.fa").write_text("".join(f">chr{n}\n{drawn(200)}\n" for n in ("I", "II", "III")))
    task = load("species", data=tmp_path, length=30, windows=9, splits={"validation": ["II"], "test": ["III"]})
    assert set(task["test"]["chrom"][:]) == {"chrIII"}
    assert set(task["train"]["chrom"][:]) == {"chrI"}
    with pytest.raises(ValueError, match="no chromosome of worm is in split validation; it has I, II, III"):
        load("species", data=tmp_path)


def test_biotypes(load, tmp_path, genome):
    lines = ["#!genome-build GRCh38"]
    for i in range(40):
        kind = ("protein_coding", "lncRNA", "miRNA")[min(i % 4, 2) if i < 30 else 0]
        strand = "+-"[i % 2]
        for feature in ("gene", "exon"):
            place = f"chr1\tx\t{feature}\t{i + 1}\t{i + 60}\t.\t{strand}\t."
            lines.append(f'{place}\tgene_id "G{i}"; gene_version "1"; gene_biotype "{kind}";')
    (tmp_path / "genes.gtf").write_text("\n".join(lines) + "\n")
    task = load("biotypes", annotation=tmp_path / "genes.gtf", genome=genome, classes=2)
    rows = {row["id"]: row for split in task.values() for row in split}
    assert task["test"].features["label"].names == ["miRNA", "protein_coding"]
    assert rows["G0"]["sequence"] == CHR1[:60]
    assert rows["G2"]["label"] == 0
    assert rows["G35"]["sequence"] == reverse_complement(CHR1[35:95])
    assert "G1" not in rows
    assert 2 < len(task["test"]) < 16


def test_streaming_gives_the_same_rows(load, intervals, genome):
    given = {"data": intervals, "genome": genome}
    one = load("genomic_benchmarks/human_nontata_promoters", split="train", **given)
    two = load("genomic_benchmarks/human_nontata_promoters", split="train", streaming=True, **given)
    assert list(one) == list(two)


@pytest.mark.parametrize(
    ("task", "inputs", "message"),
    [
        ("enhancers", {}, "a task is FAMILY/NAME"),
        ("gue/tf_0", {}, "gue needs the input data"),
        ("gue/tf_0", {"genome": "g.fa", "data": "x"}, "gue has no input genome="),
        ("genomic_benchmarks/cohn", {"data": "x"}, "has no task 'cohn'"),
        ("species", {"data": ".", "length": 0}, "length=0"),
        ("gue/tf_0", {"data": "x", "protocol": "new"}, "protocol='new'"),
    ],
)
def test_bad_arguments(load, task, inputs, message):
    with pytest.raises(ValueError, match=message):
        load(task, **inputs)


def test_missing_folder(load, tmp_path):
    with pytest.raises(FileNotFoundError, match="tf_0: no such folder"):
        load("gue/tf_0", data=tmp_path)
