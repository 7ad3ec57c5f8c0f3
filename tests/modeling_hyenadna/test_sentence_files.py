"""Folders name the pooling that sentence-transformers is to use (tests/clients has it read them)."""

import json

from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNAModel


def config():
    return HyenaDNAConfig(d_model=16, n_layer=1, max_seq_len=64, filter_order=8)


def test_saved_folders_have_the_files(tmp_path):
    HyenaDNAForCausalLM(config()).save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved/1_Pooling/config.json").read_text()) == {
        "embedding_dimension": 16,
        "pooling_mode": "mean",
        "include_prompt": True,
    }
    settings = json.loads((tmp_path / "saved/sentence_bert_config.json").read_text())
    assert settings["processing_kwargs"] == {"text": {"add_special_tokens": False}}
    modules = json.loads((tmp_path / "saved/modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling"]


def test_a_choice_that_is_there_stays(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    HyenaDNAModel(config()).save_pretrained(tmp_path)
    assert (tmp_path / "modules.json").read_text() == "[]"
    assert not (tmp_path / "1_Pooling").exists()
