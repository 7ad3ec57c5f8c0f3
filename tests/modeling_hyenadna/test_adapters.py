"""Adapters of peft with the layers that they take by default: trained, saved, loaded again and merged."""

import pytest
import torch

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAForSequenceClassification
from modeling_hyenadna.registration import PEFT_TABLE, PEFT_TARGETS

peft = pytest.importorskip("peft")
# What a method needs beside its name; the layers are those of modeling_hyenadna.registration.
METHODS = {
    "LoraConfig": {},
    "AdaLoraConfig": {"total_step": 10},
    "BOFTConfig": {"boft_block_size": 4},
    "C3AConfig": {"block_size": 8},
    "DeloraConfig": {},
    "FourierFTConfig": {"n_frequency": 10},
    "GraloraConfig": {"r": 4},
    "HRAConfig": {},
    "HiraConfig": {"r": 4},
    "IA3Config": {},
    "LNTuningConfig": {},
    "LoHaConfig": {},
    "LoKrConfig": {},
    "MissConfig": {"r": 4},
    "OFTConfig": {"oft_block_size": 4, "r": 0},
    "OSFConfig": {},
    "RandLoraConfig": {"r": 4},
    "RoadConfig": {"group_size": 8},
    "ShiraConfig": {"r": 4},
    "VBLoRAConfig": {"vector_length": 8, "num_vectors": 20},
    "VeraConfig": {},
    "WaveFTConfig": {"n_frequency": 20},
}
SETTINGS = [
    *METHODS.items(),
    ("LoraConfig", {"target_modules": "all-linear"}),
    ("LoraConfig", {"use_dora": True}),
    ("LoraConfig", {"init_lora_weights": "olora", "use_rslora": True}),
    ("LoraConfig", {"target_modules": ["word_embeddings"]}),
    ("LoraConfig", {"init_lora_weights": "pissa"}),
    ("TrainableTokensConfig", {"target_modules": ["word_embeddings"], "token_indices": [7, 8]}),
]
# Of learned tokens before the input; HyenaDNA has no attention heads, and any number of them serves peft.
PROMPTS = {"num_virtual_tokens": 4, "num_attention_heads": 1, "task_type": "CAUSAL_LM"}
IDS = torch.randint(7, 11, (2, 24), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(IDS)


def base():
    torch.manual_seed(0)
    config = HyenaDNAConfig(
        d_model=16, n_layer=2, max_seq_len=64, filter_order=8, embed_dropout=0.0, initializer_range=0.2
    )
    return HyenaDNAForCausalLM(config).eval()


def trained(model):
    """After two steps; every parameter to train had a gradient."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.Adam(parameters.values(), 1e-2)
    model.train()
    for _ in range(2):
        model(input_ids=IDS, attention_mask=MASK, labels=IDS).loss.backward()
        assert not [name for name, parameter in parameters.items() if parameter.grad is None]
        optimizer.step()
        optimizer.zero_grad()
    assert parameters
    assert not [name for name in parameters if "filter_fn" in name]
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).logits


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=[f"{name} {settings}" for name, settings in SETTINGS])
def test_adapter_is_trained_saved_loaded_and_merged(name, settings, tmp_path):
    config = getattr(peft, name)(**settings)
    model = trained(peft.get_peft_model(base(), config))
    found = logits(model)
    assert (found - logits(base())).abs().max() > 1e-3
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), found, atol=0, rtol=0)
    torch.testing.assert_close(logits(loaded.merge_and_unload().eval()), found, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["PromptTuningConfig", "PromptEncoderConfig", "MultitaskPromptTuningConfig"])
def test_learned_prompts(name, tmp_path):
    settings = {"encoder_hidden_size": 16} if name == "PromptEncoderConfig" else {}
    tasks = {"task_ids": torch.zeros(2, dtype=torch.long)} if name.startswith("Multitask") else {}
    model = peft.get_peft_model(base(), getattr(peft, name)(**PROMPTS, **settings))
    model.train()(input_ids=IDS, attention_mask=MASK, labels=IDS, **tasks).loss.backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)
    model.eval()
    inputs = {"input_ids": IDS, "attention_mask": MASK, **tasks}
    with torch.no_grad():
        found = model(**inputs).logits
    assert found.shape[1] == 4 + IDS.shape[1]
    if name == "PromptTuningConfig":  # by hand: the learned vectors are embeddings of four tokens more
        prompt = model.get_prompt(batch_size=2)
        whole = torch.cat([prompt, base().get_input_embeddings()(IDS)], dim=1)
        torch.testing.assert_close(found, base()(inputs_embeds=whole).logits)
        generated = model.generate(input_ids=IDS, attention_mask=MASK, max_new_tokens=5, do_sample=False)
        first = base().generate(inputs_embeds=whole, max_new_tokens=5, do_sample=False)
        torch.testing.assert_close(generated[:, -5:], first)
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, found, atol=0, rtol=0)


def test_poly_takes_task_ids(tmp_path):
    inputs = {"input_ids": IDS, "attention_mask": MASK, "task_ids": torch.tensor([0, 1])}
    model = peft.get_peft_model(base(), peft.PolyConfig(n_tasks=2, n_skills=2, r=4, task_type="CAUSAL_LM"))
    model.train()(**inputs, labels=IDS).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1.0).step()
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    with torch.no_grad():
        found = model.eval()(**inputs).logits
        torch.testing.assert_close(loaded(**inputs).logits, found, atol=0, rtol=0)
    assert (found - logits(base())).abs().max() > 1e-5


def test_classifier_keeps_its_head_with_the_adapter(tmp_path):
    def classifier():
        torch.manual_seed(0)
        return HyenaDNAForSequenceClassification(base().config)

    model = peft.get_peft_model(classifier(), peft.LoraConfig(task_type="SEQ_CLS"))
    assert [name for name, p in model.named_parameters() if p.requires_grad and "score" in name]
    model.train()(input_ids=IDS, attention_mask=MASK, labels=torch.tensor([0, 1])).loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(classifier(), tmp_path)
    torch.testing.assert_close(logits(loaded.eval()), logits(model.eval()), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["PrefixTuningConfig", "CartridgeConfig"])
def test_prefix_tuning_is_refused_in_a_sentence(name):
    settings = {"token_dim": 16, "num_layers": 2}
    model = peft.get_peft_model(base(), getattr(peft, name)(**PROMPTS, **settings))
    with pytest.raises(ValueError, match=r"prefix tuning .* use prompt tuning or LoRA"):
        model(input_ids=IDS, attention_mask=MASK)


def test_defaults_are_layers_that_exist_in_tables_that_exist():
    from peft.utils import constants

    base().config.to_dict()
    leaves = {name.rpartition(".")[2] for name, _ in base().named_modules() if "filter_fn" not in name}
    for name, targets in PEFT_TARGETS.items():
        assert getattr(constants, PEFT_TABLE.format(name))["hyenadna"] == targets
        assert set(targets) <= leaves
