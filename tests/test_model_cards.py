"""What model_cards holds is complete, loads, and says what its records say."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import modeling_hyenadna
from evaluation_dart.models.checkpoints import folder_digest
from evaluation_dart.models.markov import MarkovModel
from trainer_scripts.push_model import check_card

ROOT = Path(__file__).parents[1]
CARDS, RECORDS = ROOT / "model_cards", ROOT / "docs" / "records"
RELEASED = [CARDS / name for name in json.loads((CARDS / "released.json").read_text())["checkpoints"]]
DEMO = CARDS / "hyenadna-tiny-1k-demo"
MARKOV = CARDS / "markov-chrX"


@pytest.mark.parametrize("folder", [DEMO, MARKOV], ids=lambda folder: folder.name)
def test_cards_have_metadata_the_hub_accepts(folder):
    card = ModelCard.load(folder / "README.md")
    check_card(folder / "README.md")
    metadata = card.data.to_dict()
    assert metadata["datasets"]
    assert metadata["license"] == "apache-2.0"
    assert {"dna", "genomics"} <= set(metadata["tags"])
    assert all(isinstance(tag, str) for tag in metadata["tags"])
    assert len(card.text) > 1000
    # What the card shows or names as a file of its folder is there.
    for link in re.findall(r"\]\(([^)#:]+)\)", card.text):
        assert (folder / link).is_file(), link


spec = importlib.util.spec_from_file_location("make_cards", CARDS / "make_cards.py")
make_cards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_cards)


@pytest.mark.parametrize("folder", RELEASED, ids=lambda folder: folder.name)
def test_cards_of_released_checkpoints(folder):
    card = check_card(folder / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.datasets == ["hg38"]
    assert {"dna", "genomics", "hyenadna"} <= set(card.data.tags)
    assert not list(folder.glob("*.safetensors"))
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert isinstance(config, modeling_hyenadna.HyenaDNAConfig)
    assert tokenizer.model_max_length == config.max_seq_len
    assert tokenizer("ACGTN")["input_ids"] == [7, 8, 9, 10, 11, 1]
    assert f"up to {config.max_seq_len - 2:,} bases at once" in card.text
    assert not re.search(r"\{[{%]|\bNone\b|Undefined", card.text)
    assert len(re.findall(r"^\| [\d,]+ \| [\d.]+ [MG]B \|$", card.text, re.MULTILINE)) >= 1


def test_figures_of_released_checkpoints():
    text = {folder.name: (folder / "README.md").read_text() for folder in RELEASED}
    # Parameters as the paper counts them, and tensor bytes as of the Hub's files.
    for name, tied, tensor_bytes in (
        ("hyenadna-tiny-1k-seqlen", "436,096", "1,802,848"),
        ("hyenadna-tiny-16k-seqlen-d128", "436,096", "2,540,128"),
        ("hyenadna-tiny-1k-seqlen-d256", "1,641,088", "6,632,032"),
        ("hyenadna-small-32k-seqlen", "3,277,568", "16,276,672"),
        ("hyenadna-medium-160k-seqlen", "6,550,528", "56,947,072"),
        ("hyenadna-medium-450k-seqlen", "6,550,528", "112,627,072"),
        ("hyenadna-large-1m-seqlen", "6,550,528", "218,227,072"),
    ):
        assert f"| {tied} with head and embedding tied" in text[name]
        assert f"| {tensor_bytes} bytes of tensors" in text[name]
    results = ModelCard.load(CARDS / "hyenadna-tiny-1k-seqlen/README.md").data.eval_results
    assert {(r.dataset_config, r.metric_value) for r in results} >= {("dummy_mouse_enhancers_ensembl", 85.1)}
    assert len(results) == 8
    results = ModelCard.load(CARDS / "hyenadna-tiny-1k-seqlen-d256/README.md").data.eval_results
    assert len(results) == 18
    of_name = {"MCC, %": "matthews_correlation", "F1, %": "f1"}
    assert [result.metric_type for result in results] == [of_name[result.metric_name] for result in results]
    assert sum(result.metric_type == "f1" for result in results) == 6


def files_of(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_released_folders_are_those_of_the_table_and_the_template(tmp_path):
    written = make_cards.make_cards(tmp_path)
    assert {folder.name for folder in written} == {folder.name for folder in RELEASED}
    for folder in written:
        names = files_of(folder)
        assert names == files_of(CARDS / folder.name)
        for name in names:
            assert (folder / name).read_text() == (CARDS / folder.name / name).read_text(), f"{folder.name}/{name}"


def test_the_demo_card_says_what_it_is():
    card = ModelCard.load(DEMO / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    text = " ".join(card.text.split())
    assert "These are not the official weights" in text.replace("**", "")
    assert "chr20 and chr22" in text
    assert "python -m trainer_scripts.pretrain" in text


def test_what_was_seen_before_is_that_of_the_record():
    found = json.loads((RECORDS / "seen_before.json").read_text())
    text = " ".join((DEMO / "README.md").read_text().split())
    whole, without = (found["accuracy"][name] for name in ("all", "without"))
    shared, islands = found["islands_that_share_a_kmer"], found["islands"]
    assert f"{shared} of the {islands} islands share a stretch of {found['k']} bases" in text
    assert f"at most {found['most_shared']} of an island's {350 - found['k'] + 1} such stretches" in text
    assert f"is {without['value']:.3f} (n = {without['n']}), with them {whole['value']:.3f} (n = {whole['n']})" in text
    assert f"{found['training_bases']:,} bases were left" in text
    assert without["n"] == islands - shared


def test_the_perplexity_table_is_that_of_the_record():
    models = json.loads((DEMO / "perplexity.json").read_text())["models"]
    section = (DEMO / "README.md").read_text().partition("## Perplexity on chr20")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (\d+\.\d+) \[(\d+\.\d+), (\d+\.\d+)\] \|", section, re.M)
    assert len(rows) == len(models)
    for (label, *numbers), (name, metrics) in zip(rows, models.items(), strict=True):
        assert label in (name, "**this model**")
        assert numbers == [f"{metrics['perplexity'][key]:.3f}" for key in ("value", "low", "high")]


def test_the_pilots_are_those_of_the_record():
    models = list(json.loads((RECORDS / "pretraining_pilots.json").read_text())["models"].values())
    section = (DEMO / "README.md").read_text().partition("\n## Training\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| \d+ million \| [^|]+ \| ([^|]+) \|([^|]+)\|$", section, re.M)
    for (perplexity, above), metrics in zip(rows, models, strict=True):
        shown = [metrics["perplexity"][key] for key in ("value", "low", "high")]
        assert perplexity == "{:.3f} [{:.3f}, {:.3f}]".format(*shown)
        if above.strip():
            shown = [metrics["nats_above_first"][key] for key in ("value", "low", "high")]
            assert above.strip() == "{:.4f} [{:.4f}, {:.4f}]".format(*shown)


def test_records_name_the_demo_checkpoint_as_it_is():
    """Its digest is in the name of every record: a JSON file more in the folder, and none is its own any longer."""
    revision = folder_digest(DEMO)
    records = [*RECORDS.rglob("*.json"), *(ROOT / "leaderboard" / "records").rglob("results.json")]
    found = [json.loads(path.read_text()) for path in records]
    models = [record["model"] for record in found if isinstance(record, dict) and isinstance(record.get("model"), dict)]
    demos = [model for model in models if model["id"].startswith(f"local/{DEMO.name}")]
    assert len(demos) > 100
    assert {model["revision"] for model in demos} == {revision}
    assert f"local__{DEMO.name}/{revision}/" in (ROOT / "README.md").read_text()


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
