"""Forward passes of every trained setting under protocol "paper", and trainings, against DART-Eval's own code.

tests/fixtures/paper_forwards.json says how its numbers were made. Weights that no fixture holds are sines, so that they
are the same everywhere: of the tiny Nucleotide Transformer and Mistral, of adapters, heads and networks from scratch.
"""

import itertools
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn.utils import parametrize
from transformers import AutoTokenizer, EsmConfig, EsmForMaskedLM, EsmTokenizer, MistralConfig, MistralForCausalLM

import modeling_hyenadna  # noqa: F401
from evaluation_dart.models.families import FAMILIES
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.networks import DilatedCNN, ProbingHeadLike, one_hot
from evaluation_dart.training import probing
from evaluation_dart.training.loop import fit
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.paper_choices import choices
from evaluation_dart.training.recipe import changed
from evaluation_dart.training.rows import LabelledRows
from evaluation_dart.training.supervised import Source, build_network, load_model, paper_head

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOLDEN = json.loads((FIXTURES / "paper_forwards.json").read_text())
SEQUENCES = GOLDEN["sequences"]
BPE, HYENADNA = FIXTURES / "task1" / "bert_bpe", FIXTURES / "model" / "small_d32_l2_s130"
OBJECTIVES = {
    "regulatory_elements": Objective("pairs", 2),
    "cell_type_elements": Objective("classes", 5),
    "chromatin_activity": Objective("counts", 1),
    "variant_effects": Objective("counts", 1),
}
FINE_TUNED = sorted(GOLDEN["expected"].keys() - {"ab_initio", "caduceus"})
PROBED = sorted(GOLDEN["expected"].keys() - {"ab_initio"})


def drawn(shape, name):
    """The same float32 weights everywhere: a sine whose phase the name decides."""
    phase, number = zlib.crc32(name.encode()) % 10007, np.arange(1, np.prod(shape) + 1, dtype=np.float64)
    return torch.from_numpy((0.2 * np.sin(phase + 1.7 * number + 0.013 * number**2)).reshape(shape)).float()


def draw(model, skip="norm"):
    for name, parameter in model.named_parameters():
        if not skip or skip not in name.lower():
            parameter.data = drawn(parameter.shape, name)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each family's kind."""
    esm, mistral = (tmp_path_factory.mktemp(name) for name in ("esm", "mistral"))
    words = ["<unk>", "<pad>", "<mask>", "<cls>", *map("".join, itertools.product("ATCG", repeat=6)), *"ATCGN"]
    (esm / "vocab.txt").write_text("\n".join(words))
    EsmTokenizer(str(esm / "vocab.txt"), eos_token=None, model_max_length=100).save_pretrained(esm)
    config = EsmConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=100,
        pad_token_id=1,
        mask_token_id=2,
        position_embedding_type="rotary",
        token_dropout=False,
    )
    draw(EsmForMaskedLM(config)).save_pretrained(esm)
    AutoTokenizer.from_pretrained(BPE).save_pretrained(mistral)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=200,
        bos_token_id=1,
        eos_token_id=2,
    )
    draw(MistralForCausalLM(config)).save_pretrained(mistral)
    return {
        "hyenadna": HYENADNA,
        "caduceus": HYENADNA,
        "dnabert2": BPE,
        "gena_lm": BPE,
        "nucleotide_transformer": esm,
        "mistral_dna": mistral,
    }


def adapters(model):
    """Adapters by the name of their layer: A (rank, in) and B (out, rank)."""
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            yield name, layer.parametrizations.weight[0].lora_A, layer.parametrizations.weight[0].lora_B
        elif isinstance(layer, BaseTunerLayer) and layer.lora_A:
            yield name, layer.lora_A["default"].weight, layer.lora_B["default"].weight
        elif isinstance(layer, BaseTunerLayer):
            yield name, layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]


@pytest.mark.parametrize("task", OBJECTIVES)
@pytest.mark.parametrize("family", FINE_TUNED)
def test_fine_tuned_outputs_are_the_originals(folders, family, task):
    objective = OBJECTIVES[task]
    loading = {"revision": None, "device": "cpu", "trust_remote_code": False}
    source = Source(str(folders[family]), "", str(folders[family]), "finetuned", "lora", loading)
    loaded = load_model(source, objective.outputs, paper_head(source))
    training = choices("lora", objective.kind, family, "paper")
    network, about = build_network(source, loaded, objective, training, 122, task, "paper")
    expected = GOLDEN["expected"][family]
    if task in expected:
        assert about["trained_parameters"] == expected[f"trained_parameters/{task}"]
    with torch.no_grad():
        for name, first, second in adapters(network.model):
            first.copy_(drawn(first.shape, f"{name}.A"))
            second.copy_(drawn(second.shape, f"{name}.B"))
        for name, parameter in network.model.named_parameters():
            if parameter.requires_grad and "lora_" not in name:
                parameter.copy_(drawn(parameter.shape, name))
        found = network.double().eval()(SEQUENCES).numpy()
    expected = np.array(expected[f"finetuned/{task}"]).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("task", OBJECTIVES)
@pytest.mark.parametrize("family", PROBED)
def test_probed_outputs_are_the_originals(folders, family, task, monkeypatch):
    if family == "caduceus":
        monkeypatch.setattr(probing, "family_of_config", lambda name, config: FAMILIES["caduceus"])
    loaded = load_language_model(str(folders[family]), head=False, device="cpu")
    training = choices("probing", OBJECTIVES[task].kind, family, "paper")
    embedder = probing.Embedder(loaded, task, "paper", training.layer)
    network = probing.Probed(embedder, OBJECTIVES[task].outputs, training.kernel)
    draw(network.head, skip=None)
    with torch.no_grad():
        found = network.eval()(SEQUENCES).numpy()
    expected = np.array(GOLDEN["expected"][family][f"probed/{task}"]).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4 * np.abs(expected).max())


def rows_of(kind, split):
    """Golden rows: pairs of element and control, or sequences and classes."""
    one, two = zip(*GOLDEN["trainings"][kind]["rows"][split], strict=True)
    if kind == "pairs":
        dataset = Dataset.from_dict({"sequence": one, "control": two})
        return LabelledRows(dataset, np.tile([1, 0], (len(one), 1)), ("sequence", "control"))
    return LabelledRows(Dataset.from_dict({"sequence": one}), np.array(two))


@pytest.mark.parametrize("kind", ["pairs", "classes"])
def test_fine_tuning_without_dropout_is_the_originals(kind, tmp_path):
    """11 rows in passes of 4, 2 to a step: the last step of an epoch has one pass, of 3 rows."""
    golden = GOLDEN["trainings"][kind]
    objective = Objective(kind, {"pairs": 2, "classes": 5}[kind])
    loading = {"revision": None, "device": "cpu", "trust_remote_code": False}
    source = Source(str(HYENADNA), "", str(HYENADNA), "finetuned", "lora", loading)
    changes = {"batch_size": 8, "per_device_train_batch_size": 4, "loss_rows": 4, "num_train_epochs": 3}
    training = changed(
        choices("lora", kind, "hyenadna", "paper"), changes | {"learning_rate": 3e-3, "lora_dropout": 0.0}
    )
    loaded = load_model(source, objective.outputs, paper_head(source))
    network, _ = build_network(source, loaded, objective, training, 40, "any", "paper")
    with torch.no_grad():
        for name, first, second in adapters(network.model):
            first.copy_(drawn(first.shape, f"{name}.A"))
            second.copy_(0.1 * drawn(second.shape, f"{name}.B"))
        network.model.score.weight.copy_(drawn(network.model.score.weight.shape, "score.weight"))
    train, validation = rows_of(kind, "train"), rows_of(kind, "validation")
    progress = fit(network, train, validation, objective, training, tmp_path, {})
    found = [entry["validation_loss"] for entry in progress.history]
    # Where we take the mean of 2 batches, the original divides by the number of rows; of pairs, by that of members.
    expected = np.array(golden["validation_losses"]) * 7 / 2 * (2 if kind == "pairs" else 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert progress.best_epoch == int(np.argmin(golden["validation_losses"])) + 1
    if progress.best_epoch == 3:  # whose weights are kept
        head = network.model.score.weight.detach().numpy().flatten()[:16]
        np.testing.assert_allclose(head, golden["head"], atol=2e-4)


@pytest.mark.parametrize("name", GOLDEN["expected"]["ab_initio"])
def test_networks_from_scratch_give_the_originals_outputs(name):
    kind, _, task = name.partition("/")
    outputs = OBJECTIVES[task].outputs
    like = kind == "probing-head-like"
    network: nn.Module = ProbingHeadLike(122, outputs) if like else DilatedCNN(122, outputs, filters=16, layers=4)
    draw(network, skip=None)
    with torch.no_grad():
        found = network.eval()(one_hot(SEQUENCES)).numpy()
    expected = np.array(GOLDEN["expected"]["ab_initio"][name])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
