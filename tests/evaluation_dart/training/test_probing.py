"""Probing heads and networks trained from scratch against DART-Eval's own classes (tests/fixtures/task4)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.networks import DilatedCNN, ProbingHeadLike, build, one_hot
from evaluation_dart.training.embedding_cache import EmbeddingCache, stack, write_cache
from evaluation_dart.training.probing import Embedder, Probed, ProbingHead, per_base, tokens_read

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODELS = FIXTURES / "task4" / "models"
CASES = json.loads((MODELS / "models.json").read_text())
HYENADNA, BPE = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_bpe"
HEADS = [name for name in CASES if name.startswith(("gather", "sliced"))]


def golden(name):
    return load_file(MODELS / f"{name}.weights.safetensors"), load_file(MODELS / f"{name}.io.safetensors")


def sequences(n, length, seed=0):
    return ["".join(row) for row in np.random.default_rng(seed).choice(list("ACGT"), size=(n, length))]


@pytest.fixture(scope="module")
def hyenadna():
    return load_language_model(HYENADNA, device="cpu")


@pytest.mark.parametrize("name", HEADS)
def test_head_is_the_originals(name):
    weights, tensors = golden(name)
    arguments, tokens = CASES[name]["args"], tensors["inds"]
    outputs = len(weights["fc1.bias"])
    head = ProbingHead(arguments["input_channels"], outputs, arguments["hidden_channels"], arguments["kernel_size"])
    head.load_state_dict(weights)
    if name.startswith("sliced"):  # rows [first, last) of each item, as numbers of tokens
        tokens = torch.stack([torch.arange(first, last) for first, last in tokens.tolist()])
    found = head(per_base(tensors["embs"], tokens)).squeeze(1)
    torch.testing.assert_close(found, tensors["expected"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["probing_head_like.out1", "probing_head_like.out5"])
def test_probing_head_like_is_the_originals(name):
    weights, tensors = golden(name)
    own = CASES[name]["args"]
    model = ProbingHeadLike(
        own["seq_len"],
        own["out_channels"],
        own["emb_channels"],
        own["hidden_channels"],
        own["kernel_size"],
        own["init_kernel_size"],
    )
    model.load_state_dict(weights)
    torch.testing.assert_close(model(tensors["x"]).squeeze(1), tensors["expected"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["large_cnn.n4_L120", "large_cnn.n2_L60"])
def test_dilated_cnn_is_the_originals_chrombpnet_like_classifier(name):
    weights, tensors = golden(name)
    own = CASES[name]["args"]
    model = DilatedCNN(own["seq_len"] + 20, own["output_channels"], own["n_filters"], own["n_residual_convs"])
    model.load_state_dict(weights)
    torch.testing.assert_close(model(tensors["x"]), tensors["expected"], atol=1e-5, rtol=1e-5)


def test_parameters_as_published():
    published = json.loads((FIXTURES / "task4" / "param_counts.json").read_text())

    def count(model):
        return sum(parameter.numel() for parameter in model.parameters())

    for channels, kernel in ((256, 8), (512, 3), (512, 8), (768, 8), (1024, 8)):
        for outputs in (1, 5):
            name = f"CNNEmbeddingsPredictor(C={channels},hidden=32,kernel={kernel},out={outputs})"
            assert count(ProbingHead(channels, outputs, kernel=kernel)) == published[name]
        name = f"task1.CNNEmbeddingsClassifier(C={channels},hidden=32,kernel={kernel},out=2)"
        assert count(ProbingHead(channels, 2, kernel=kernel)) == published[name]
    assert count(build("probing-head-like", 350, 2)) == 67_840
    assert count(build("probing-head-like", 500, 5)) == 68_089
    assert count(build("chrombpnet-like", 500, 5)) == 5_556_197


def test_chrombpnet_counts_leaves_1074_of_2114_positions():
    model = DilatedCNN(2114, 1, filters=2, layers=8, first_dilation=2, positions=False)
    seen = []
    model.rconvs[-1].register_forward_hook(lambda *call: seen.append(call[2].shape[2]))
    assert model(torch.zeros(1, 2114, 4)).shape == (1, 1)
    assert seen == [1074]


def test_too_short_for_the_dilated_layers():
    with pytest.raises(ValueError, match="275 bases or more, not 200"):
        DilatedCNN(200, 1)


def test_one_hot_leaves_unknown_bases_zero_and_refuses_several_lengths():
    assert one_hot(["aNGT"]).tolist() == [[[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]
    with pytest.raises(ValueError, match="of one length"):
        one_hot(["ACG", "AC"])


def test_a_base_without_token_has_a_zero_embedding():
    embeddings = torch.arange(6.0).reshape(1, 2, 3)
    found = per_base(embeddings, torch.tensor([[1, -1, 0]]))
    assert found.tolist() == [[[3, 4, 5], [0, 0, 0], [0, 1, 2]]]


def test_tokens_read_by_protocol(hyenadna):
    batch = sequences(2, 12)
    assert tokens_read(hyenadna, batch, "chromatin_activity", "fixed", 13).tolist() == [list(range(12))] * 2
    # [SEP] as well, in task 5 of the original
    assert tokens_read(hyenadna, batch, "variant_effects", "paper", 13).tolist() == [list(range(13))] * 2
    bpe = load_language_model(BPE, device="cpu")
    tokens = len(bpe.tokenizer(batch[0])["input_ids"])
    whole = tokens_read(bpe, batch[:1], "variant_effects", "fixed", tokens)
    assert whole.shape == (1, 12)
    assert whole.min() == 1
    # The original's head sees as many bases as there are tokens: the variant in the middle is not among them.
    assert tokens_read(bpe, batch[:1], "variant_effects", "paper", tokens).tolist() == whole[:, :tokens].tolist()


def test_caduceus_is_read_at_two_tokens_in_protocol_paper(hyenadna, monkeypatch):
    monkeypatch.setattr(hyenadna.model.config, "model_type", "caduceus", raising=False)
    batch = sequences(2, 12)
    assert tokens_read(hyenadna, batch, "regulatory_elements", "paper", 13).tolist() == [[0, 12]] * 2
    assert tokens_read(hyenadna, batch, "regulatory_elements", "fixed", 13).shape == (2, 12)


def cached(folder, hyenadna, rows=10, **options):
    batch = sequences(rows, 20)
    embedder = Embedder(hyenadna, "cell_type_elements")
    return write_cache(folder, embedder, rows, lambda r: [batch[i] for i in r], {"model": "m"}, shard_rows=4, **options)


def test_cache_gives_what_the_model_does_in_half_precision(tmp_path, hyenadna, caplog):
    with caplog.at_level("INFO"):
        cache = cached(tmp_path, hyenadna)
    assert len(cache) == 10
    assert "MB to write" in caplog.text
    probed = Probed(Embedder(hyenadna, "cell_type_elements"), 5)
    batch = sequences(10, 20)
    whole = stack([member for row in (9, 0, 5) for member in cache[row]])
    assert whole["embeddings"].dtype == torch.float16
    assert whole["embeddings"].shape == (3, 21, 32)
    expected = probed([batch[9], batch[0], batch[5]])
    torch.testing.assert_close(probed(whole), expected, atol=2e-3, rtol=2e-3)


def test_cache_goes_on_and_notices_damage(tmp_path, hyenadna):
    cached(tmp_path, hyenadna)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) == 3
    shards[1].unlink()
    with pytest.raises(ValueError, match="not finished, rows from 4 are missing"):
        EmbeddingCache(tmp_path)
    untouched = shards[0].stat().st_mtime_ns
    cached(tmp_path, hyenadna)
    assert shards[0].stat().st_mtime_ns == untouched
    assert sorted(tmp_path.glob("*.safetensors")) == shards
    content = bytearray(shards[2].read_bytes())
    content[-1] ^= 1
    shards[2].write_bytes(content)
    with pytest.raises(ValueError, match=rf"{shards[2].name}: damaged"):
        EmbeddingCache(tmp_path)


def test_cache_of_another_hidden_size_or_model_is_refused(tmp_path, hyenadna):
    cached(tmp_path, hyenadna)
    with pytest.raises(ValueError, match="embeddings of 32 channels, but the model has 48"):
        EmbeddingCache(tmp_path, channels=48)
    with pytest.raises(ValueError, match="cache of something else: rows is 10 there, 3 here"):
        cached(tmp_path, hyenadna, rows=3)


def test_a_full_disk_leaves_no_broken_cache(tmp_path, hyenadna, monkeypatch):
    from evaluation_dart.training import embedding_cache

    write, calls = embedding_cache.save_file, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a shard")
            raise OSError(28, "No space left on device")
        write(tensors, path)

    monkeypatch.setattr(embedding_cache, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        cached(tmp_path, hyenadna)
    assert len([*tmp_path.iterdir()]) == 2  # one whole shard, and what the cache is of
    monkeypatch.setattr(embedding_cache, "save_file", write)
    assert len(cached(tmp_path, hyenadna)) == 10


def test_too_little_room_is_said_before_writing(tmp_path, hyenadna, monkeypatch):
    from evaluation_dart.training import embedding_cache

    usage = embedding_cache.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(embedding_cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="do not fit, 100 bytes are free"):
        cached(tmp_path / "cache", hyenadna)
    assert not (tmp_path / "cache").exists()
