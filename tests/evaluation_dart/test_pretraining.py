"""What a model was pretrained on: what its card or the caller says, and the rows of a test that lie in it."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from datasets_dart.alphabet import reverse_complement
from datasets_dart.contigs import BUILDS
from evaluation_dart.pretraining import described, in_words, pretraining_of, rows_inside, source_of

ROOT = Path(__file__).parents[2]
HG19_CHR21 = int(BUILDS["hg19"].split()[20])


@pytest.fixture
def genome(tmp_path):
    """A FASTA that is hg19 by the length of its chr21, of N."""
    path = tmp_path / "hg19.fa"
    path.write_text(f">chr21\n{'N' * 999_990}ACGTACGTAC{'N' * (HG19_CHR21 - 1_000_000)}\n>chr20\n{'ACGTTGCA' * 200}\n")
    return str(path)


@pytest.fixture
def rows():
    return Dataset.from_dict(
        {"chrom": ["chr20", "chr20", "chr21"], "start": [0, 90, 0], "end": [50, 140, 50], "sequence": ["A", "C", "G"]}
    )


def card(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(f"---\nlicense: mit\n{text}\n---\n# A model\n")
    return str(folder)


def test_a_card_says_builds_contigs_and_files(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "train.bed").write_text("chr20\t0\t60\n")
    model = card(tmp_path / "model", "pretrained_on: [mm10, 'hg38:chr1, chr2', hg19:train.bed]")
    mouse, human, part = pretraining_of(model)
    assert (mouse.build, mouse.contigs, mouse.file) == ("mm10", None, None)
    assert (human.build, human.contigs, human.file) == ("hg38", ("chr1", "chr2"), None)
    assert (part.build, part.contigs, part.file) == ("hg19", None, tmp_path / "model" / "train.bed")
    said = described([mouse, human, part])
    assert said[:2] == ["mm10", "hg38:chr1, chr2"]
    assert said[2].startswith("hg19:train.bed sha256:")


def test_what_is_told_comes_before_the_card_and_unknown_is_said(tmp_path):
    model = card(tmp_path / "model", "pretrained_on: hg38")
    assert [source.text for source in pretraining_of(model, ["hg19"])] == ["hg19"]
    assert pretraining_of(card(tmp_path / "other", "tags: [dna]")) is None
    assert pretraining_of(str(tmp_path)) is None  # no card
    assert pretraining_of("column:score") is None
    assert pretraining_of("random:" + model) == pretraining_of("gc") == []
    assert (described(None), described([])) == ("unknown", "nothing")
    (tmp_path / "model" / "markov.safetensors").touch()
    assert [source.text for source in pretraining_of(f"markov:{model}/markov.safetensors")] == ["hg38"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "pretrained_on '': write a build"),
        ("hg38:", "pretrained_on 'hg38:': write a build"),
        ("/no/where.bed", "/no/where.bed: no such file"),
        ("hg38:none.bed", "none.bed: no such file"),
        ("two words", "pretrained_on 'two words': write a build"),
    ],
)
def test_what_is_none_is_refused(text, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        source_of(text)


def test_a_card_of_another_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"README.md: pretrained_on is 7, not a text or a list of texts"):
        pretraining_of(card(tmp_path / "model", "pretrained_on: 7"))


def test_rows_are_counted_by_coordinates_where_the_build_is_the_same(rows, genome, tmp_path):
    bed = tmp_path / "train.bed"
    bed.write_text("20\t0\t60\nchr20\t139\t200\n")

    def count(*texts):
        return rows_inside(rows, [source_of(text) for text in texts], genome)

    assert count("hg19") == {"rows": 3, "inside": 3, "by": "coordinates"}
    assert count("hg19:21") == {"rows": 3, "inside": 1, "by": "coordinates"}
    assert count(f"hg19:{bed}") == count(str(bed)) == {"rows": 3, "inside": 2, "by": "coordinates"}
    assert count("hg38") == {"rows": 3, "inside": None, "why": "hg38: the rows are of hg19"}
    bed.write_text("chrX\t0\t60\n")
    assert count(f"hg19:{bed}") == {"rows": 3, "inside": 0, "by": "coordinates"}
    mixed = count("hg38:chr1", "hg19:chr21")
    assert mixed == {"rows": 3, "inside": 1, "by": "coordinates", "why": "hg38:chr1: the rows are of hg19"}


def test_what_cannot_be_told_is_not_counted(rows, genome):
    assert rows_inside(rows, None, genome)["inside"] is None
    assert rows_inside(rows, [], genome) == {"rows": 3, "inside": 0, "why": "the model was trained on nothing before"}
    without = rows.remove_columns(["chrom", "start", "end"])
    found = rows_inside(without, [source_of("hg19")], genome)
    assert found == {"rows": 3, "inside": None, "why": "hg19: the rows have no coordinates"}
    found = rows_inside(rows, [source_of("hg19")], None)
    assert found["why"] == "hg19: the rows are of a build that their genome does not show"


def test_variants_are_their_windows(genome, tmp_path):
    rows = Dataset.from_dict({"chrom": ["chr20"] * 2, "position": [51, 52], "sequence1": ["A" * 100] * 2})
    bed = tmp_path / "train.bed"
    bed.write_text("chr20\t0\t1\n")
    assert rows_inside(rows, [source_of(f"hg19:{bed}")], genome, "sequence1")["inside"] == 1


def test_rows_are_counted_by_31_mers_where_the_sequence_is_given(tmp_path):
    draw = np.random.default_rng(0)
    one, two = ("".join(draw.choice(list("ACGT"), 200)) for _ in range(2))
    (tmp_path / "train.fa").write_text(f">a\n{two[:50]}NNN{one}\n")
    data = [one[50:90], reverse_complement(one)[:31], two[20:50], "A" * 10 + two[:31], two[60:120]]
    found = rows_inside(Dataset.from_dict({"sequence": data}), [source_of(str(tmp_path / "train.fa"))], None)
    assert found == {"rows": 5, "inside": 3, "by": "31-mers"}  # two[20:50] has only 30 bases of it


def test_our_demo_says_what_it_has_read():
    (source,) = pretraining_of(str(ROOT / "model_cards" / "hyenadna-tiny-1k-demo"))
    assert (source.build, source.file.name) == ("hg19", "training.bed")
    (markov,) = pretraining_of(f"markov:{ROOT}/model_cards/markov-chrX/markov.safetensors")
    assert markov.file.resolve() == source.file.resolve()
    # No base of the sample of task 1, which was left out with 10,000 bases on either side
    sample = ROOT / "datasets_dart" / "samples" / "cpg_islands_chrX.bed"
    windows = [line.split()[:3] for line in sample.read_text().splitlines()]
    columns = {"chrom": [row[0] for row in windows], "start": [int(row[1]) for row in windows]}
    columns |= {"end": [int(row[2]) for row in windows], "sequence": ["N"] * len(windows)}
    told = source_of(str(source.file))
    assert rows_inside(Dataset.from_dict(columns), [told], None)["inside"] == 0


def test_a_record_in_words():
    def record(said=None, **found):
        model = {} if said is None else {"pretrained_on": said}
        return {"model": model, "dataset": {"in_pretraining": found} if found else {}}

    assert in_words(record()) == in_words(record("unknown", rows=3, inside=None)) == "pretraining unknown"
    assert in_words(record("nothing", rows=3, inside=0)) == "no pretraining"
    found = record(["hg19"], rows=1200, inside=3, by="coordinates")
    assert in_words(found) == "3 of 1,200 rows read in pretraining, by coordinates"
    assert in_words(record(["hg38"], rows=3, inside=None)) == "pretraining not compared with these rows"
