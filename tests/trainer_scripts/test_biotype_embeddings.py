"""Embeddings of genes by biotype."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.statistics.classification import confusion, f1_weighted
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAModel, HyenaDNATokenizer
from trainer_scripts import biotype_embeddings
from trainer_scripts.biotype_embeddings import gene_embedding, pieces

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    config = HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=66, emb_dim=5, filter_order=16, initializer_range=0.1)
    HyenaDNAModel(config).save_pretrained(folder)
    HyenaDNATokenizer(model_max_length=66).save_pretrained(folder)
    return str(folder)


@given(st.text("ACGT", min_size=1, max_size=200), st.integers(1, 50))
def test_pieces_are_a_sequence_cut(sequence, longest):
    parts = pieces(sequence, longest)
    assert "".join(parts) == sequence
    assert len(parts) == -(-len(sequence) // longest)
    assert max(map(len, parts)) <= longest
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_long_gene_is_the_mean_over_its_bases(model):
    loaded = load_language_model(model, head=False)
    gene = "".join(RNG.choice(list("ACGT"), 101))
    parts = pieces(gene, 30)
    assert [len(part) for part in parts] == [25, 25, 26, 25]
    with torch.no_grad():
        states = [loaded.model(**loaded.encode([part])[0]).last_hidden_state[0, :-1] for part in parts]
    np.testing.assert_allclose(gene_embedding(loaded, gene, 30), torch.cat(states).mean(dim=0).numpy(), atol=1e-6)


def test_weighted_f1_is_scikit_learns():
    label, called = RNG.integers(4, size=(2, 200))
    assert f1_weighted(confusion(called, label, 4)) == pytest.approx(f1_score(label, called, average="weighted"))


def test_genes_are_embedded_judged_and_drawn(model, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(biotype_embeddings.TREES, "max_iter", 30)
    sequence, lines = "", []
    for gene in range(120):
        weights = np.array([[5, 1, 1, 5], [1, 5, 5, 1]][gene % 2]) / 12
        kind = ("protein_coding", "lncRNA")[gene % 2]
        start = len(sequence) + 1
        sequence += "".join(RNG.choice(list("ACGT"), int(RNG.integers(40, 150)), p=weights))
        place = f"chr1\tx\tgene\t{start}\t{len(sequence)}\t.\t+\t."
        lines.append(f'{place}\tgene_id "G{gene}"; gene_type "{kind}";')
    (tmp_path / "g.fa").write_text(f">chr1\n{sequence}\n")
    (tmp_path / "g.gtf").write_text("\n".join(lines) + "\n")
    given = {"annotation": str(tmp_path / "g.gtf"), "genome": str(tmp_path / "g.fa"), "model": model, "classes": 2}
    biotype_embeddings.biotype_embeddings(**given, output=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["metrics"]["f1_weighted"]["value"] > 0.9
    assert record["biotypes"] == {"lncRNA": 60, "protein_coding": 60}
    table = pq.read_table(tmp_path / "out" / "embeddings.parquet")
    assert len(table) == 120
    assert len(table["embedding"][0]) == 16
    monkeypatch.setattr(biotype_embeddings, "gene_embedding", None)  # what is there is not computed again
    biotype_embeddings.biotype_embeddings(**given, output=tmp_path / "out")
    with pytest.raises(ValueError, match=r"--longest 100: .* reads 1 to 65 bases"):
        biotype_embeddings.biotype_embeddings(**given, output=tmp_path / "out", longest=100)
