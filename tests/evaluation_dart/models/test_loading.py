"""From the name of a model to a scorer, and what each kind can do."""

import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyBigWig
import pytest
from huggingface_hub import constants

from evaluation_dart import load_scorer
from evaluation_dart.models.checkpoints import check_reachable
from evaluation_dart.models.kinds import KINDS, split_spec
from evaluation_dart.models.kmers import gc_content, kmer_frequencies
from evaluation_dart.models.protocols import AlleleScorer, EmbeddingScorer, LikelihoodScorer, abilities
from evaluation_dart.tools.loading import default_recipe
from evaluation_dart.training.finetuning import load_classifier

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"
MARKOV = Path(__file__).parents[3] / "model_cards" / "markov-chrX" / "markov.safetensors"


def test_names():
    assert split_spec("org/model") == ("", "org/model")
    assert split_spec("markov:a/b.safetensors") == ("markov", "a/b.safetensors")
    assert split_spec("random:org/model") == ("random", "org/model")
    assert split_spec("gc") == ("gc", "")
    assert split_spec("markov") == ("", "markov")  # a folder of that name
    with pytest.raises(ValueError, match="model markov:: write markov:FILE"):
        split_spec("markov:")


def test_a_hub_that_cannot_be_reached_is_asked_once(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"^org/model: no such folder, no such model in the cache, and HF_HUB_OFFLINE is"):
        check_reachable("org/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as taken:  # bound and not listening: refused
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/{revision}/{filename}")
        monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("asked again"))
        wanted = r"org/model: no such folder, .* and the Hub cannot be reached \(.*refused\); .*: hf download org/m"
        with pytest.raises(OSError, match=wanted):
            load_scorer("org/model")
        with pytest.raises(OSError, match=wanted):
            default_recipe("org/model", None, False)
        check_reachable(str(MODEL))
        check_reachable("no name of a model")  # for the loading to say
        cached = tmp_path / "models--org--model" / "snapshots" / ("0" * 40)
        cached.mkdir(parents=True)
        (cached / "config.json").write_text("{}")
        check_reachable("org/model", "0" * 40)


def test_what_each_kind_can_do(tmp_path):
    track, table = tmp_path / "conservation.bw", tmp_path / "predictions.tsv"
    with pyBigWig.open(str(track), "w") as file:
        file.addHeader([("chr1", 1000)])
        file.addEntries(["chr1"], [10], ends=[20], values=[2.5])
    pyarrow.csv.write_csv(pa.table({"id": [0], "prediction": [1.0]}), table, pyarrow.csv.WriteOptions(delimiter="\t"))
    found = {
        name: load_scorer(name)
        for name in (f"markov:{MARKOV}", "kmers:3", "gc", f"track:{track}", f"table:{table}", "column:logfc")
    }
    assert {name.partition(":")[0]: abilities(scorer) for name, scorer in found.items()} == {
        "markov": ["likelihoods"],
        "kmers": ["embeddings"],
        "gc": ["embeddings"],
        "track": ["predictions"],
        "table": ["predictions"],
        "column": ["predictions"],
    }
    assert found["gc"].describe() == {"id": "ab-initio/gc-content", "revision": "from-scratch"}
    np.testing.assert_array_equal(found["kmers:3"].embed(["ACGTA"]), kmer_frequencies(["ACGTA"], 3))
    np.testing.assert_array_equal(found["gc"].embed(["ACGTA"]), gc_content(["ACGTA"]))
    variants = {"chrom": ["chr1", "chr1"], "position": [11, 20], "effect_allele": [2, 1]}
    scores = found[f"track:{track}"].columns(variants, ("id",), ("score1", "score2"))
    assert scores["score1"].tolist() == [0.0, 2.5]
    assert scores["score2"].tolist() == [2.5, 0.0]
    windows = {"chrom": ["chr1"], "start": [10], "end": [20]}
    assert found[f"track:{track}"].columns(windows, ("id",), ("prediction",))["prediction"].tolist() == [2.5]
    for missing, message in [
        ({**variants, "position": [11, 500]}, r"no value at chr1:499-500 \(0-based\)"),
        ({**variants, "chrom": ["chr1", "chr9"]}, "no contig chr9"),
    ]:
        with pytest.raises(ValueError, match=message):
            found[f"track:{track}"].columns(missing, ("id",), ("score1", "score2"))


def test_language_models():
    scorer = load_scorer(MODEL)
    assert isinstance(scorer, AlleleScorer)
    assert isinstance(scorer, EmbeddingScorer)
    assert abilities(scorer) == ["likelihoods", "tokens", "embeddings"]
    assert scorer.describe()["dtype"] == "float32"
    twins = [load_scorer(f"random:{MODEL}", seed=seed) for seed in (0, 0, 1)]
    scores = [twin.log_likelihood(["ACGTACGTA"])[0] for twin in twins]
    assert scores[0] == scores[1] != scores[2]
    assert twins[0].describe()["id"] == "local/small_d32_l2_s130-random-weights"
    assert isinstance(load_scorer(f"markov:{MARKOV}"), LikelihoodScorer)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "takes either the name of a model, or model= with tokenizer="),
        ({"spec": "kmers:9"}, "model kmers:9: there are kmers:1 to kmers:8"),
        ({"spec": "network:chrombpnet-like"}, "has to be trained, by the setting ab_initio"),
        ({"spec": f"markov:{MARKOV}", "revision": "v1"}, "a revision is for models on the Hub"),
        ({"model": object()}, "also needs the tokenizer"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        load_scorer(**given)


def test_every_kind_is_loaded_or_trained():
    for name, kind in KINDS.items():
        assert kind.help
        assert kind.scorer or kind.trained, name


def test_int8_is_nearly_float32_and_says_so():
    sequences = ["ACGTTGCATTAGGACC" * 4, "GATACCGTGAACTGGC" * 4]
    whole, small = load_scorer(MODEL, device="cpu"), load_scorer(MODEL, device="cpu", dtype="int8")
    exact, found = whole.log_likelihood(sequences), small.log_likelihood(sequences)
    np.testing.assert_allclose(found, exact, rtol=0.01)
    assert (found != exact).all()
    assert small.describe() == whole.describe() | {"dtype": "int8"}
    again = load_scorer(model=small.model, tokenizer=small.tokenizer, kind="causal")
    assert again.revision == load_scorer(model=small.model, tokenizer=small.tokenizer).revision
    assert again.revision != load_scorer(model=whole.model, tokenizer=whole.tokenizer).revision
    np.testing.assert_array_equal(again.log_likelihood(sequences), found)
    kinds = {name: type(module).__module__ for name, module in small.model.named_modules()}
    assert "quantized" in kinds["hyena.backbone.layers.0.mlp.fc1"]
    assert "quantized" not in kinds["hyena.backbone.layers.0.mixer.filter_fn.implicit_filter.0"] + kinds["lm_head"]


def test_int8_where_it_cannot_be():
    whole = load_scorer(MODEL, device="cpu")
    whole.model = whole.model.to("meta")
    with pytest.raises(ValueError, match="dtype 'int8': on a CPU only, and the model is on meta"):
        whole.to_int8()
    with pytest.raises(ValueError, match="dtype 'int8': for language models that are read and not trained"):
        load_classifier(MODEL, 2, dtype="int8")
