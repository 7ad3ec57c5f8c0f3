"""What model_cards holds is complete, loads, and says what its records say."""

import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

import modeling_hyenadna
from evaluation_dart.baselines import MarkovModel

CARDS = Path(__file__).parents[1] / "model_cards"
DEMO = CARDS / "hyenadna-tiny-1k-demo"
MARKOV = CARDS / "markov-chrX"


@pytest.mark.parametrize("folder", [DEMO, MARKOV], ids=lambda folder: folder.name)
def test_cards_have_metadata_the_hub_accepts(folder):
    card = ModelCard.load(folder / "README.md")
    metadata = card.data.to_dict()
    assert metadata["license"] == "apache-2.0"
    assert {"dna", "genomics"} <= set(metadata["tags"])
    assert all(isinstance(tag, str) for tag in metadata["tags"])
    assert len(card.text) > 1000
    # What the card shows or names as a file of its folder is there.
    for link in re.findall(r"\]\(([^)#:]+)\)", card.text):
        assert (folder / link).is_file(), link


def test_the_demo_card_says_what_it_is():
    card = ModelCard.load(DEMO / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    text = " ".join(card.text.split())
    assert "These are not the official weights" in text.replace("**", "")
    assert "chr20 and chr22" in text
    assert "python -m trainer_scripts.pretrain" in text


def test_the_perplexity_table_is_that_of_the_record():
    models = json.loads((DEMO / "perplexity.json").read_text())["models"]
    section = (DEMO / "README.md").read_text().partition("## Perplexity on chr20")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (\d+\.\d+) \[(\d+\.\d+), (\d+\.\d+)\] \|", section, re.M)
    assert len(rows) == len(models)
    for (label, *numbers), (name, metrics) in zip(rows, models.items(), strict=True):
        assert label in (name, "**this model**")
        assert numbers == [f"{metrics['perplexity'][key]:.3f}" for key in ("value", "low", "high")]


def test_the_demo_checkpoint_loads_and_has_learned():
    model = AutoModelForCausalLM.from_pretrained(DEMO)
    assert isinstance(model, modeling_hyenadna.HyenaDNAForCausalLM)
    assert model.num_parameters() == 436_096
    assert model.config.max_seq_len == 1026
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    assert tokenizer.model_max_length == 1026
    # A human Alu element, the commonest repeat, is far likelier than chance, which is 1.39 nats a base.
    alu = (
        "GGCCGGGCGCGGTGGCTCACGCCTGTAATCCCAGCACTTTGGGAGGCCGAGGCGGGCGGATCACGAGGTCAGGAGATCGAGACCATCCCGG"
        "CTAAAACGGTGAAACCCCGTCTC"
    )
    inputs = tokenizer(alu, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        loss = model(**inputs, labels=inputs.input_ids).loss.item()
    assert loss < 0.7


def test_the_demo_folder_is_small():
    sizes = {path.name: path.stat().st_size for path in DEMO.iterdir()}
    assert sizes["model.safetensors"] < 2_000_000
    assert sum(sizes.values()) < 2_500_000


def test_the_markov_model_was_counted_on_the_same_bases():
    model = MarkovModel.load(MARKOV / "markov.safetensors")
    assert model.order == 7
    assert int(model.counts[0].sum()) == 113_774_934  # 56,887,467 on either strand
    # Both strands were counted: complementary bases are equally frequent.
    assert model.counts[0][0].tolist() == model.counts[0][0][::-1].tolist()
    assert (MARKOV / "markov.safetensors").stat().st_size < 600_000
