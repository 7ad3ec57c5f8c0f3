"""hyenadna generate: what may come out, from which models, what the report says, and errors of one line."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

import modeling_hyenadna  # noqa: F401
from datasets_dart.formats.fasta import open_genome
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.tools.generation import (
    Prompt,
    Sampling,
    divergences,
    perplexity_interval,
    sample,
    token_lengths,
)
from trainer_scripts.cli import hyenadna

FIXTURES = Path(__file__).parents[2] / "fixtures"
HYENA, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
PROMPTS = {"one": "ACGTTGCA", "two": "GGGTTTA", "three": "TTGACCAG"}


def run(capsys, monkeypatch, *arguments):
    """The command's exit status, output and errors."""
    monkeypatch.setattr("sys.argv", ["hyenadna", "generate", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        hyenadna.main()
    captured = capsys.readouterr()
    return done.value.code, captured.out, captured.err


def records(path):
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    entries = [entry.partition("\n") for entry in text.split(">")[1:]]
    return {header: sequence.replace("\n", "") for header, _, sequence in entries}


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.fa"
    path.write_text("".join(f">{name} words\n{sequence.lower()}\n" for name, sequence in PROMPTS.items()))
    return path


def test_greedy_continuations_are_the_likeliest_bases(tmp_path, prompts, capsys, monkeypatch):
    output = tmp_path / "out.fa"
    arguments = ["--model", HYENA, "--prompts", prompts, "--number", 1, "--length", 12, "--temperature", 0]
    assert run(capsys, monkeypatch, *arguments, "--with-prompt", "--output", output)[0] == 0
    found = records(output)
    assert [*found] == ["one_1 prompt_length=8", "two_1 prompt_length=7", "three_1 prompt_length=8"]
    model = load_language_model(HYENA)
    ids = torch.tensor(model.tokenizer.convert_tokens_to_ids([*"ACGT"]))
    for prompt, sequence in zip(PROMPTS.values(), found.values(), strict=True):
        assert (len(sequence), sequence.startswith(prompt)) == (len(prompt) + 12, True)
        tokens = torch.tensor([model.tokenizer(sequence)["input_ids"][:-1]])
        with torch.no_grad():
            likeliest = model.model(tokens).logits[0, :, ids].argmax(dim=-1)
        assert "".join("ACGT"[i] for i in likeliest[len(prompt) - 1 : -1]) == sequence[len(prompt) :]


def test_report(tmp_path, prompts, capsys, monkeypatch):
    """The likelihood of what follows the prompt; GC; k-mers against a reference."""
    output, reference = tmp_path / "out.fa.gz", tmp_path / "ref.fa"
    rng = np.random.default_rng(0)
    reference.write_text(">c\n" + "".join(rng.choice(list("ACGT"), 4000)) + "N" * 500 + "\n")
    arguments = ["--model", HYENA, "--prompts", prompts, "--number", 4, "--length", 30, "--reference", reference]
    status, out, _ = run(capsys, monkeypatch, *arguments, "--output", output, "--seed", 3)
    assert status == 0
    assert out.startswith(f"{output}: 12 sequences of 30 bases, 12 of them distinct\n")
    found = records(output)
    assert all(len(sequence) == 30 and set(sequence) <= set("ACGT") for sequence in found.values())
    report = json.loads((tmp_path / "out.fa.gz.json").read_text())
    joined = "".join(found.values())
    gc = (joined.count("G") + joined.count("C")) / len(joined)
    assert report["gc"]["generated"]["value"] == pytest.approx(gc)
    assert report["gc"]["generated"]["low"] < gc < report["gc"]["generated"]["high"]

    model = load_language_model(HYENA)
    names = [header.partition("_")[0] for header in found]
    whole = model.log_likelihood([PROMPTS[name] + own for name, own in zip(names, found.values(), strict=True)])
    nats = (model.log_likelihood([PROMPTS[name] for name in names]) - whole).sum() / len(joined)
    assert report["perplexity"]["generated"]["value"] == pytest.approx(np.exp(nats))
    assert report["perplexity"]["generated"]["value"] < report["perplexity"]["reference"]["value"]
    assert [own["k"] for own in report["kmer_divergence"]] == [1, 2, 3, 4, 5, 6]

    again = tmp_path / "again.fa"
    assert run(capsys, monkeypatch, *arguments, "--output", again, "--seed", 3)[0] == 0
    assert records(again) == found
    assert run(capsys, monkeypatch, *arguments, "--output", again, "--seed", 4)[0] == 0
    assert records(again) != found


def test_without_a_prompt(tmp_path, capsys, monkeypatch):
    output = tmp_path / "out.fa"
    arguments = ["--model", HYENA, "--number", 40, "--length", 6, "--batch-size", 16, "--output", output]
    assert run(capsys, monkeypatch, *arguments)[0] == 0
    found = [*records(output).values()]
    assert len(found) == 40
    assert {len(sequence) for sequence in found} == {6}
    assert {sequence[0] for sequence in found} == set("ACGT")
    assert open_genome(output).length("sequence_40") == 6


def pairs_model(folder):
    """A Mistral with tokens of one and of two bases, untrained."""
    vocabulary = {"<pad>": 0, "<s>": 1, "<unk>": 2, "N": 3}
    kmers = [*"ACGT", *("".join(pair) for pair in itertools.product("ACGT", repeat=2))]
    vocabulary |= {kmer: 4 + number for number, kmer in enumerate(kmers)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("..?"), "isolated")
    special = {"pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=24, num_key_value_heads=2, max_position_embeddings=40, **shape)
    MistralForCausalLM(config).save_pretrained(folder)
    return load_language_model(folder)


def test_tokens_of_several_bases(tmp_path):
    model = pairs_model(tmp_path)
    assert token_lengths(model).tolist() == [0] * 4 + [1] * 4 + [2] * 16
    prompts = [Prompt(name, sequence) for name, sequence in PROMPTS.items()]
    for length in (1, 7, 30):
        found = sample(model, prompts * 3, length, Sampling(1.0, 0, 1.0), batch_size=4)
        assert {len(bases) for bases in found} == {length}
        assert set("".join(found)) <= set("ACGT")
    with pytest.raises(ValueError, match="at most 40 tokens: a prompt of 4 leaves room for 72 bases"):
        sample(model, prompts, 73, Sampling(1.0, 0, 1.0), batch_size=4)


def test_divergences():
    rng = np.random.default_rng(0)
    found = [*divergences(["AAAAAAAA"], ["CCCCCCCC", "CCCCCCCC"], rng)]
    assert [own["generated_and_reference"] for own in found] == pytest.approx([1.0] * 6)
    assert [own["halves_of_the_reference"] for own in found] == pytest.approx([0.0] * 6)
    *_, last = divergences(["AAAAA"], ["CCCCCCC", "NNNNNNN"], rng)
    assert last == {
        "k": 6,
        "generated_and_reference": None,
        "halves_of_the_reference": None,
        "reason": "no 6 known bases are side by side",
    }


def test_a_perplexity_of_no_base_is_missing_with_its_reason():
    found = perplexity_interval(np.zeros(0), np.zeros(0))
    assert found["value"] is None
    assert "nothing before it" in found["reason"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", BERT], f"{BERT}: only a causal language model has a next base to sample"),
        (["--length", 124], f"{HYENA} reads at most 130 tokens: a prompt of 8 leaves room for 122 bases, fewer than"),
        (["--prompts", "nowhere.fa"], "nowhere.fa: no such file"),
        (["--prompts", "bad.fa"], "bad.fa: 100% of the letters are none of A, C, G, T, U and N (such as K, L, M)"),
        (["--output", "out.txt"], "out.txt: sequences are written as .fa, .fasta, .fa.gz or .fasta.gz"),
        (["--reference", "n.fa"], "n.fa: hardly any window of 20 bases is without N"),
    ],
)
def test_bad_input_is_one_line(tmp_path, prompts, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.fa").write_text(">x\nMLKLKM\n")
    Path("n.fa").write_text(">x\n" + "N" * 99 + "\n")
    arguments = ["--model", HYENA, "--prompts", "prompts.fa", "--number", 1, "--length", 20, "--output", "out.fa"]
    status, out, err = run(capsys, monkeypatch, *arguments, *options)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.replace(f"{tmp_path}/", "").startswith(f"hyenadna: {message}")
    assert not Path("out.fa").exists()
