"""What the demo Space answers, without Gradio; its metadata, and the folder that is pushed."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

import hyenadna_dart as hd

SPACES = Path(__file__).parents[2] / "spaces"
SPACE = SPACES / "try-hyenadna"
BASES = "CGGCGCGCCTGCGGAGGCTGCGGAGCCGCGGGGAGGGGCGGGG"
GENOME = f">c\n{BASES}\n"


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


answers = module(SPACE / "answers.py")


def test_a_sequence_has_scores_a_vector_and_a_logo():
    pytest.importorskip("tangermeme", reason="the extra attribution is not installed")
    page, table = answers.of_sequence(f">name\n{BASES[:20].lower()}\n{BASES[20:]}\n")
    scorer = hd.load_scorer(hd.DEMO_MODEL, device="cpu")
    total = scorer.log_likelihood([BASES])[0]
    assert f"<td>{total:.3f}</td>" in page
    assert "local/hyenadna-tiny-1k-demo" in page
    assert 'src="data:image/svg+xml;base64,' in page
    vector = [float(line.split("\t")[1]) for line in table.splitlines()[1:]]
    np.testing.assert_allclose(vector, scorer.embed([BASES])[0], rtol=1e-4, atol=1e-5)


def test_variants_have_the_scores_of_the_command(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    vcf = f"##a header\nc 5 rs1 {BASES[4]} A,T\nc\t7\t.\t{BASES[6]}\t{BASES[6]}\t.\t.\t.\n"
    page, table = answers.of_variants(vcf, GENOME, 32)
    (tmp_path / "g.fa").write_text(GENOME)
    (tmp_path / "v.vcf").write_text(answers.HEADER + f"c\t5\trs1\t{BASES[4]}\tA,T\t.\t.\t.\n")
    expected = hd.score_variants(tmp_path / "v.vcf", tmp_path / "g.fa", hd.DEMO_MODEL, window=32, device="cpu")
    rows = [line.split("\t") for line in table.splitlines()]
    assert rows[0] == ["chrom", "position", "id", "ref", "alt", "score (nats)", "note"]
    assert [float(row[5]) for row in rows[1:3]] == pytest.approx(expected["score"].to_pylist(), abs=1e-3)
    assert rows[3] == ["c", "7", ".", BASES[6], BASES[6], "", "ALT is REF"]
    assert "histograms of the scores" in page
    without = answers.of_variants(f"c 7 . {BASES[6]} {BASES[6]}", GENOME, 32)
    assert "histograms" not in without.page


def test_pairs_are_differences():
    _, table = answers.of_pairs("ACGTACGT, ACGTACGA\n\nAC AG\n")
    scorer = hd.load_scorer(hd.DEMO_MODEL, device="cpu")
    one, two = scorer.log_likelihood(["ACGTACGT", "ACGTACGA"])
    assert [float(cell) for cell in table.splitlines()[1].split("\t")[1:]] == pytest.approx(
        [one, two, two - one], abs=2e-4
    )
    assert len(table.splitlines()) == 3


@pytest.mark.parametrize(
    ("what", "given", "says"),
    [
        ("of_sequence", ["ACGX"], "The sequence has 'X' at base 4; there are A, C, G, T and N."),
        ("of_sequence", ["A"], "The sequence has a length of 1; this page takes 2 to 1,000 bases."),
        ("of_sequence", ["A" * 1001], "The sequence has a length of 1,001; this page takes 2 to 1,000 bases."),
        ("of_sequence", [">a\nAC\n>b\nAC"], "There are several FASTA records; this box takes one."),
        ("of_sequence", ["ACGT", "/etc/passwd"], "'/etc/passwd' is no model of the Hub: a name is OWNER/MODEL."),
        (
            "of_variants",
            ["x y", GENOME],
            "Line 1 is no variant: a VCF's line is CHROM, POS, ID, REF and ALT, and more.",
        ),
        ("of_variants", ["", GENOME], "There are 0 variants; this page takes 1 to 100."),
        ("of_variants", ["c 1 . A C\n" * 101, GENOME], "There are 101 variants; this page takes 1 to 100."),
        ("of_variants", ["chr9 3 . A C", GENOME], "variants.vcf: none of its contigs is in the genome: chr9."),
        (
            "of_variants",
            ["c 3 . A C", ">c\nACGT\n"],
            "variants.vcf: no REF in it is what the genome has: a genome of another build?",
        ),
        ("of_variants", ["c 3 . A C", ">c\nAC!T\n"], "genome.fa:2: not a sequence: b'AC!T\\n'."),
        ("of_variants", ["c 3 . A C", "A" * 200_001], "The FASTA has 200,001 characters; this page takes 200,000."),
        ("of_pairs", ["ACG"], "Line 1 has 1 sequences; a pair has two, a space between them."),
        ("of_pairs", ["AC GU"], "Line 1 has 'U' at base 2; there are A, C, G, T and N."),
    ],
)
def test_bad_input_is_a_sentence(what, given, says):
    with pytest.raises((ValueError, OSError)) as caught:
        getattr(answers, what)(*given)
    assert answers.sentence(caught.value) == says


def test_models_of_the_hub_are_asked_for_their_size(monkeypatch):
    monkeypatch.setattr(answers, "weights_of", lambda name: 61_000_000)
    with pytest.raises(ValueError, match="a/b has 61 MB of weights; this page takes 60 MB"):
        answers.scorer_of("a/b")
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="a/b cannot be had from the Hub"):
        answers.scorer_of("a/b")


def test_nothing_stays_on_the_disk(tmp_path, monkeypatch):
    pytest.importorskip("tangermeme", reason="the extra attribution is not installed")
    monkeypatch.setattr(answers, "IN_MEMORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    answers.of_sequence("ACGTACGT")
    answers.of_variants(f"c 5 . {BASES[4]} A", GENOME, 32)
    assert list(tmp_path.iterdir()) == []


def test_what_is_pasted_is_text_in_the_page():
    assert "<script>" not in answers.grid(["<script>"], [["<script>"]])
    assert "&lt;script&gt;" in answers.grid(["a"], [["<script>"]])


def test_metadata_and_pins_are_one():
    card = SpaceCard.load(SPACE / "README.md")
    assert (card.data.sdk, card.data.app_file, card.data.license) == ("gradio", "app.py", "apache-2.0")
    lines = (SPACE / "requirements.txt").read_text().splitlines()
    pinned = {own.name: own for own in map(Requirement, (line for line in lines if not line.startswith("--")))}
    assert str(pinned["gradio"].specifier) == f"=={card.data.sdk_version}"
    assert f"gradio=={card.data.sdk_version}\n" in (SPACES.parent / "constraints.txt").read_text()
    assert str(pinned["hyenadna-dart"]) == "hyenadna-dart[attribution]==0.1.0"
    assert len(card.data.short_description) <= 60


def test_only_public_names_are_called():
    source = (SPACE / "answers.py").read_text()
    assert set(re.findall(r"\bhd\.(\w+)", source)) <= set(hd.__all__)
    assert not re.search(r"(evaluation_dart|modeling_hyenadna|datasets_dart|trainer_scripts)", source)


def test_the_folder_that_is_pushed(tmp_path):
    wheel = tmp_path / "hyenadna_dart-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    build = module(SPACES / "build.py").build
    build("me/try-hyenadna", wheel, tmp_path / "space")
    assert {path.name for path in (tmp_path / "space").iterdir()} == {
        "README.md", "answers.py", "app.py", "requirements.txt", wheel.name,
    }  # fmt: skip
    assert (tmp_path / "space/requirements.txt").read_text().splitlines()[-1] == (
        "hyenadna-dart[attribution] @ https://huggingface.co/spaces/me/try-hyenadna/resolve/main/" + wheel.name
    )
    with pytest.raises(FileExistsError):
        build("me/try-hyenadna", wheel, tmp_path / "space")
    with pytest.raises(ValueError, match="a Space is named OWNER/NAME"):
        build("try", wheel, tmp_path / "other")
