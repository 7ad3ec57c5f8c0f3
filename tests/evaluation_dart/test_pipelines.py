"""Pipelines of transformers for variants and embeddings give what the functions behind the commands give."""

import numpy as np
import pytest
from transformers import pipeline

import evaluation_dart.pipelines  # noqa: F401
from datasets_dart.errors import InputError
from evaluation_dart import load_scorer
from evaluation_dart.tools.regions import embed_regions
from evaluation_dart.tools.variants import score_variants
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer

CONTIG = "".join(np.random.default_rng(0).choice([*"ACGT"], 400))
PLACES = (100, 250)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipelines")
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, filter_order=8, initializer_range=0.5)
    HyenaDNAForCausalLM(config).save_pretrained(path / "model")
    HyenaDNATokenizer(model_max_length=66).save_pretrained(path / "model")
    (path / "genome.fa").write_text(f">chr1\n{CONTIG}\n")
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    rows = [f"chr1\t{place + 1}\t.\t{CONTIG[place]}\t{other(CONTIG[place])}\t.\t.\t.\n" for place in PLACES]
    (path / "variants.vcf").write_text(header + "".join(rows))
    return path


def other(base):
    return "ACGT"["ACGT".index(base) - 1]


def test_variants_of_a_file_and_pairs_of_strings(folder):
    pipe = pipeline("variant-effect", model=str(folder / "model"))
    found = pipe(str(folder / "variants.vcf"), genome=str(folder / "genome.fa"), window=64)
    options = {"window": 64, "recipe": "whole-alleles"}
    expected = score_variants(folder / "variants.vcf", folder / "genome.fa", str(folder / "model"), **options)
    assert found == expected.to_pylist()
    assert len(found) == 2
    windows = [CONTIG[place - 32 : place + 32] for place in PLACES]
    pairs = [(window, window[:32] + other(window[32]) + window[33:]) for window in windows]
    of_pairs = pipe(pairs)
    scorer = load_scorer(str(folder / "model"))
    log_likelihood = scorer.log_likelihood([sequence for pair in pairs for sequence in pair]).reshape(2, 2)
    np.testing.assert_allclose([row["ref_score"] for row in of_pairs], log_likelihood[:, 0], rtol=1e-5)
    np.testing.assert_allclose([row["score"] for row in of_pairs], np.diff(log_likelihood)[:, 0], atol=1e-3)
    np.testing.assert_allclose([row["score"] for row in of_pairs], expected["score"].to_numpy(), atol=1e-3)
    assert pipe(pairs[0]) == pytest.approx(of_pairs[0], abs=1e-4)
    assert pipe(pairs, recipe="embedding-cosine")[0]["score"] > 0


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("variants.vcf", {}, "needs the genome"),
        ([("ACGT", "ACGA")], {"genome": "genome.fa"}, "take no genome"),
        ([("ACGT", "ACGA")], {"window": 4}, "no window"),
        ([("ACGT", "ACGA")], {"batch_size": 0}, "batch_size"),
        ([("MKLV", "MKLF")], {}, "a protein"),
        ([("A", "C")], {}, "of two bases or more"),
        ({"ref": "ACGT", "alt": "ACGA"}, {}, "takes a VCF or pairs"),
        (None, {}, "takes a VCF or pairs"),
        (["AC", "GT", "TT"], {}, "takes pairs of sequences"),
        ([("ACGT",)], {}, "takes pairs of sequences"),
        ([("ACGT", "")], {}, "takes pairs of sequences"),
        ([("ACGT", "ACGA")], {"recipe": "no"}, "recipe no: there are"),
        ([("ACGT", "ACGA" * 20)], {}, "reads at most 66 tokens"),
    ],
)
def test_what_the_variant_pipeline_refuses(folder, inputs, options, message):
    pipe = pipeline("variant-effect", model=str(folder / "model"))
    with pytest.raises(InputError, match=message):
        pipe(inputs, **options)


def test_embeddings(folder):
    pipe = pipeline("dna-embedding", model=str(folder / "model"))
    sequences = [CONTIG[:50], CONTIG[100:117], CONTIG[200:260]]
    found = pipe(sequences)
    assert found.shape == (3, 16)
    (folder / "regions.bed").write_text("chr1\t0\t50\nchr1\t100\t117\nchr1\t200\t260\n")
    expected = embed_regions(folder / "regions.bed", folder / "genome.fa", str(folder / "model"))
    np.testing.assert_allclose(found, np.stack(expected["embedding"].to_pylist()), atol=1e-5)
    np.testing.assert_allclose(pipe(sequences[1]), found[1], atol=1e-5)
    assert not np.allclose(pipe(sequences, pooling="max"), found)
    with pytest.raises(InputError, match="at least one base"):
        pipe(["ACGT", ""])
    for inputs, message in [(None, "takes a sequence"), ({"seq": "ACGT"}, "takes a sequence"), ("MKLV", "a protein")]:
        with pytest.raises(InputError, match=message):
            pipe(inputs)
