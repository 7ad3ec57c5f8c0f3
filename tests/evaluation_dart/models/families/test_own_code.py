"""Models whose own code was written for transformers 4: every cause of failure, with a stand-in of the same shape."""

import sys
from types import ModuleType

import pytest
import torch
import transformers
from safetensors.torch import save_file

from evaluation_dart.models.families import FAMILIES, family_of, family_of_config
from evaluation_dart.models.families.own_code import former_name, missing_package, read_weights
from evaluation_dart.models.families.transformers4 import no_pruning
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.training.finetuning import FineTuned, load_classifier
from evaluation_dart.training.lora import merge_lora
from tests.evaluation_dart.models.families.old_code import (
    AUTO_MAP,
    MODEL,
    WIDTH,
    small_states,
    small_weights,
    write_small,
)

SEQUENCES = ["ACGTTGCA", "ACGT"]


@pytest.fixture
def repository(tmp_path):
    return write_small(tmp_path / "small"), tmp_path / "small"


def expected_log_likelihood(weights, sequence):
    ids = torch.tensor([2, *("____ACGTN".index(base) for base in sequence)])
    total = 0.0
    for place in range(1, len(ids)):
        masked = ids.clone()
        masked[place] = 1
        logits = small_states(weights, masked)[place] @ weights["small.embed.weight"].T
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


def test_old_code_computes_what_its_weights_say(repository):
    """Buffers, plain tensors, the tied head and the mask: two sequences of unequal length, to rounding."""
    weights, folder = repository
    scorer = load_language_model(folder, device="cpu", trust_remote_code=True)
    assert type(scorer.model).__name__ == "SmallForMaskedLM"
    assert scorer.model.head.weight is scorer.model.small.embed.weight
    expected = [expected_log_likelihood(weights, sequence) for sequence in SEQUENCES]
    assert scorer.log_likelihood(SEQUENCES) == pytest.approx(expected, rel=1e-5)
    states = small_states(weights, torch.tensor([2, 4, 5, 6, 7]))[1:]
    torch.testing.assert_close(torch.from_numpy(scorer.embed(SEQUENCES)[1]), states.mean(dim=0))


def test_transformers_is_left_as_it_was(repository, monkeypatch):
    """Names are supplied to the code alone, and a package that it is not to find can be imported again."""
    _, folder = repository
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    load_language_model(folder, device="cpu", trust_remote_code=True)
    assert not hasattr(transformers.pytorch_utils, "find_pruneable_heads_and_indices")
    assert not hasattr(transformers.modeling_utils, "find_pruneable_heads_and_indices")
    assert "get_head_mask" not in vars(transformers.PreTrainedModel)
    hiding = folder.parent / "dnabert2-small"
    write_small(hiding)
    scorer = load_language_model(hiding, device="cpu", trust_remote_code=True)
    assert sys.modules[type(scorer.model).__module__].kernels is None  # DNABERT-2's code is not to find triton
    assert isinstance(sys.modules["triton"], ModuleType)
    with pytest.raises(NotImplementedError, match="cannot be pruned"):
        no_pruning({1}, 2)


def test_a_new_head_is_the_codes_own(repository):
    """`from_pretrained` leaves it as uninitialised memory, because `_init_weights` here knows embeddings only."""
    weights, folder = repository
    classifier = load_classifier(folder, 3, device="cpu", trust_remote_code=True)
    assert (classifier.model.score.weight == 0.25).all()
    assert classifier.model.score.weight.shape == (3, WIDTH)
    torch.testing.assert_close(classifier.model.small.mix.weight.data, weights["small.mix.weight"])


def test_gena_lm_declares_its_masked_model_as_automodel_only(tmp_path):
    declared = {"AutoConfig": AUTO_MAP["AutoConfig"], "AutoModel": AUTO_MAP["AutoModelForMaskedLM"]}
    code = MODEL.replace("SmallForSequence", "BertForSequence")
    weights = write_small(tmp_path / "gena", declared, code, file="modeling_bert")
    scorer = load_language_model(tmp_path / "gena", device="cpu", trust_remote_code=True)
    assert scorer.log_likelihood(["ACGT"])[0] == pytest.approx(expected_log_likelihood(weights, "ACGT"), rel=1e-5)
    classifier = load_classifier(tmp_path / "gena", 2, device="cpu", trust_remote_code=True)
    assert type(classifier.model).__name__ == "BertForSequenceClassification"
    assert type(classifier.model).__module__ == type(scorer.model).__module__
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_language_model(tmp_path / "gena", device="cpu")


def test_dnabert2_gets_the_configuration_of_transformers(tmp_path):
    """As in the original; positions of ALiBi have no limit."""
    config = "configuration_bert"
    code = MODEL.replace("configuration_small import SmallConfig", f"{config} import BertConfig").replace(
        "SmallConfig", "transformers.BertConfig"
    )
    folder = tmp_path / "some-copy"
    write_small(
        folder, code="import transformers\n" + code.replace("config.width", "config.hidden_size"), file="bert_layers"
    )
    text = (folder / "configuration_small.py").read_text().replace("SmallConfig", "BertConfig")
    (folder / f"{config}.py").write_text(text)
    own = (folder / "config.json").read_text().replace("configuration_small.SmallConfig", f"{config}.BertConfig")
    (folder / "config.json").write_text(own.replace('"width"', '"hidden_size"'))
    scorer = load_language_model(folder, device="cpu", trust_remote_code=True)
    assert type(scorer.model.config) is transformers.BertConfig
    assert family_of_config(str(folder), scorer.model.config).key == "dnabert2"
    assert scorer.max_tokens is None
    assert scorer.model.config.max_position_embeddings == 512


def test_weights_that_are_read_get_adapters_that_learn(repository):
    """Mamba's code multiplies by `layer.weight`: an adapter of the layer's call would never be used."""
    _, folder = repository
    torch.manual_seed(0)
    network = FineTuned(load_classifier(folder, 2, device="cpu", trust_remote_code=True), (4, 8, 0.0))
    before = network(SEQUENCES)
    before.sum().backward()
    gradients = {name: own.grad for name, own in network.named_parameters() if own.requires_grad}
    (learning,) = (own for name, own in gradients.items() if "mix" in name and name.endswith("lora_B"))
    assert learning.shape == (WIDTH, 4)
    assert learning.abs().max() > 0
    torch.optim.SGD([own for own in network.parameters() if own.requires_grad], lr=0.1).step()
    after = network(SEQUENCES)
    assert (after - before).abs().max() > 1e-3
    merge_lora(network.model.small)
    torch.testing.assert_close(network(SEQUENCES), after)


@pytest.mark.parametrize(
    ("family", "package", "install"),
    [
        ("dnabert2", "einops", "pip install 'hyenadna-dart[families]'"),
        ("caduceus", "mamba_ssm", "pip install mamba-ssm causal-conv1d, on a machine with a CUDA GPU"),
    ],
)
def test_a_missing_package_is_named_with_how_to_install_it(tmp_path, family, package, install):
    folder = tmp_path / family
    write_small(folder, code=f"from {package}_absent import it\n" + MODEL)
    with pytest.raises(ValueError, match=f"{package}_absent"):
        load_language_model(folder, device="cpu", trust_remote_code=True)
    told = missing_package("org/model", ImportError(f"not found: {package}. Run `pip install x`"), FAMILIES[family])
    assert told.startswith(f"org/model: the code of {FAMILIES[family].name} needs {package}")
    assert install in told


def test_checkpoints_of_other_shapes(repository):
    _, folder = repository
    weights = small_weights(1)
    save_file({"embed.weight": weights["small.embed.weight"]}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"the checkpoint lacks small.mix.weight"):
        load_language_model(folder, device="cpu", trust_remote_code=True)
    save_file(weights | {"small.mix.weight": torch.zeros(3, 3)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"small.mix.weight, \(3, 3\) in the checkpoint, \(8, 8\) by the config"):
        load_language_model(folder, device="cpu", trust_remote_code=True)
    torch.save({name.removeprefix("small."): own for name, own in weights.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    scorer = load_language_model(folder, device="cpu", trust_remote_code=True)
    assert scorer.log_likelihood(["ACGT"])[0] == pytest.approx(expected_log_likelihood(weights, "ACGT"), rel=1e-5)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(OSError, match=r"none of model.safetensors, .*pytorch_model.bin"):
        load_language_model(folder, device="cpu", trust_remote_code=True)
    assert load_language_model(folder, device="cpu", trust_remote_code=True, random_weights=True).num_parameters == 136


def test_former_names_and_a_whole_model_from_a_backbone():
    assert former_name("bert.LayerNorm.gamma") == "bert.LayerNorm.weight"
    assert former_name("bert.gamma") == "bert.gamma"
    model = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=7, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
    )
    backbone = {
        name.removeprefix("bert."): own + 1 for name, own in model.state_dict().items() if name.startswith("bert.")
    }
    read = read_weights(model, backbone)
    assert not read.mismatched
    assert [name for name in read.missing if name.startswith("bert.")] == []
    assert "cls.predictions.transform.dense.weight" in read.missing
    torch.testing.assert_close(model.bert.embeddings.LayerNorm.weight.data, torch.full((4,), 2.0))


def test_families_are_known_by_name_code_or_type():
    assert family_of("zhihan1996/DNABERT-2-117M", "bert").key == "dnabert2"
    assert family_of("my-copy", "bert", ["modeling_bert.BertForMaskedLM"]).key == "gena_lm"
    assert family_of("my-copy", "esm", ["org/repo--modeling_esm.EsmForMaskedLM"]).key == "nucleotide_transformer"
    assert family_of("my-copy", "mixtral").key == "mistral_dna"
    assert family_of("my-copy", "gpt2", ["modeling_gpt2.GPT2LMHeadModel"]).key == "hyenadna"


def test_code_and_weights_are_of_one_commit_of_the_hub(tmp_path, monkeypatch):
    """From a cache as the Hub's client leaves it, with another commit beside it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    main, older = "0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "fedcba98"
    repository = tmp_path / "models--someone--caduceus"
    weights = write_small(repository / "snapshots" / main)
    write_small(repository / "snapshots" / older, code=MODEL.replace("fill_(0.25)", "fill_(0.5)"))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(main)
    scorer = load_language_model("someone/caduceus", device="cpu", trust_remote_code=True)
    assert scorer.revision == main
    assert scorer.log_likelihood(["ACGT"])[0] == pytest.approx(expected_log_likelihood(weights, "ACGT"), rel=1e-5)
    for revision, head in ((main, 0.25), (older, 0.5)):
        classifier = load_classifier("someone/caduceus", 2, revision=revision, device="cpu", trust_remote_code=True)
        assert (classifier.model.score.weight == head).all()
