"""The scoring code of DNA benchmarks, from checkouts that environment variables name; none of it is in this project.

CARBON=... BIOFOUNDATION=... TRAITGYM=... MARIN_DNA=... DEPENDENCIES_DNALM=... pytest tests/clients/test_benchmarks.py
"""

import ast
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from evaluation_dart import load_scorer
from evaluation_dart.models.language_model import LanguageModel
from evaluation_dart.scoring.dependencies import dependencies_of
from evaluation_dart.tools.variants import score_variants

BERT = Path(__file__).parents[1] / "fixtures" / "task1" / "bert_char"


def checkout(variable, commit):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} names no checkout; tested with commit {commit}")
    return Path(folder)


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_bases(model, tokenizer, sequence):
    """Log-probabilities of all bases but the first."""
    ids = tokenizer(sequence, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).logits[0, :-1].log_softmax(dim=-1).gather(1, ids[0, 1:, None])[:, 0]


def test_carbon(folder, model, tokenizer, sequences, monkeypatch):
    """`_shard_worker` of evaluation/vep_eval.py takes `score_sequence`; it is written for GPUs."""
    script = load(checkout("CARBON", "dabe6ce") / "evaluation/vep_eval.py")
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_: self)
    items = [{"uid": str(number), "seq": own} for number, own in enumerate(sequences[:5])]
    found = dict(script._shard_worker((0, items, folder, None, "float32", 2)))
    for item in items:
        assert found[item["uid"]] == pytest.approx(float(of_bases(model, tokenizer, item["seq"]).mean()), abs=1e-4)
    carbon = load_scorer(folder).log_likelihood(sequences[:5], reduction="mean", special_tokens="not added")
    assert list(found.values()) == pytest.approx(carbon.tolist(), abs=1e-4)


def test_biofoundation(folder, model, tokenizer, sequences, monkeypatch):
    monkeypatch.syspath_prepend(str(checkout("BIOFOUNDATION", "66cf4d4")))
    pytest.importorskip("bioframe", reason="biofoundation needs bioframe")
    pytest.importorskip("jaxtyping", reason="biofoundation needs jaxtyping")
    hf = pytest.importorskip("biofoundation.model.adapters.hf", reason="biofoundation's own imports fail")
    from biofoundation.data import transform_llr_clm
    from biofoundation.model.scoring import compute_llr_clm

    sequence = (sequences[0] + sequences[2])[:100]
    variant = {"chrom": "1", "pos": 51, "ref": sequence[50], "alt": "ACGT"["ACGT".index(sequence[50]) - 1]}
    inputs = transform_llr_clm(variant, hf.HFTokenizer(tokenizer), lambda *_: sequence, 100)["input_ids"][None]
    with torch.no_grad():
        (found,) = compute_llr_clm(hf.HFCausalLM(model), inputs)
    other = sequence[:50] + variant["alt"] + sequence[51:]
    one, two = load_scorer(folder).log_likelihood([sequence, other], special_tokens="scored")
    assert float(found) == pytest.approx(two - one, abs=1e-3)


def test_traitgym(folder, tokenizer, sequences, monkeypatch):
    """CLMforVEPModel of workflow/scripts/run_vep_llr_hyenadna.py; gpn, which it imports, only reads genomes."""
    path = checkout("TRAITGYM", "4d80fe8") / "workflow/scripts/run_vep_llr_hyenadna.py"
    for name in ("gpn", "gpn.model", "gpn.data"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ("Genome", "load_dataset_from_file_or_dir", "token_input_id"):
        setattr(sys.modules["gpn.data"], name, None)
    monkeypatch.setattr(sys.modules["gpn"], "model", sys.modules["gpn.model"], raising=False)
    scored = load(path).CLMforVEPModel(folder).eval()
    pair = [sequences[0], sequences[0][:20] + "A" + sequences[0][21:]]
    ids = tokenizer(pair, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found = scored(ids[:1], ids[1:], ids[:1], ids[1:])
    one, two = load_scorer(folder).log_likelihood(pair, special_tokens="scored")
    assert float(found) == pytest.approx(two - one, abs=1e-3)


def model_with_a_start():
    """A causal model of bases whose tokenizer puts a start token before a sequence, as MarinDNA's do."""
    words = {word: number for number, word in enumerate(["<pad>", "<bos>", "N", *"ACGT"])}
    rules = Tokenizer(models.WordLevel(words, unk_token="N"))
    rules.pre_tokenizer = pre_tokenizers.Split(Regex("<bos>|."), "isolated")
    rules.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=7, num_key_value_heads=2, initializer_range=0.4, **sizes)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, pad_token="<pad>", unk_token="N", bos_token="<bos>")
    return LanguageModel(MistralForCausalLM(config).eval(), tokenizer, "causal", "mistral", "random")


def test_marin_dna(sequences, monkeypatch, tmp_path):
    """`compute_variant_score_bundle` of model/scoring.py and `nucleotide_dependency_map` of model/interpretation.py."""
    monkeypatch.syspath_prepend(str(checkout("MARIN_DNA", "3a120d2") / "src"))
    pytest.importorskip("einops", reason="marin-dna needs einops")
    scoring = pytest.importorskip("marin_dna.model.scoring", reason="marin-dna's own imports fail")
    from marin_dna.model.interpretation import nucleotide_dependency_map

    def repeated(cache, number):
        """Its own way to repeat a cache does not know that of transformers 5."""
        cache.batch_repeat_interleave(number)
        return cache

    monkeypatch.setattr(scoring, "_repeat_interleave_kv_cache", repeated)
    scorer, window = model_with_a_start(), (sequences[0] + sequences[2])[:60]
    place, base = 30, "ACGT"["ACGT".index(window[30]) - 1]
    ids = torch.tensor([scorer.tokenizer(window)["input_ids"]])
    bases = torch.tensor([scorer.tokenizer.convert_tokens_to_ids(letter) for letter in "ACGT"])
    alternative = torch.tensor([scorer.tokenizer.convert_tokens_to_ids(base)])
    with torch.no_grad():
        ((llr, jsd),) = scoring.compute_variant_score_bundle(
            scorer.model, ids, alternative, var_pos=place + 1, nuc_token_ids=bases
        )
    (tmp_path / "g.fa").write_text(f">c\n{window}\n")
    variant = pa.Table.from_pylist([{"chrom": "c", "position": place + 1, "ref": window[place], "alt": base}])
    for recipe, wanted in (("four-base-llr", llr), ("next-token-jsd", jsd)):
        options = {"recipe": recipe, "strand": "forward", "window": len(window)}
        (found,) = score_variants(variant, tmp_path / "g.fa", scorer, **options)["score"].to_pylist()
        assert found == pytest.approx(float(wanted), abs=1e-5)
    for combine in ("mean", "max"):
        wanted = nucleotide_dependency_map(scorer.model, scorer.tokenizer, window, combine=combine)
        found = dependencies_of(scorer, window, 0, len(window), "log-probability", combine, both_strands=True)
        assert found == pytest.approx(wanted, abs=1e-4)


def test_dependencies_dnalm(sequences):
    """`mutate_sequence` and `compute_dependency_map` of the notebook, whose model is replaced by one of ours."""
    notebook = checkout("DEPENDENCIES_DNALM", "e20c4bc") / "compute_and_visualize_dep_maps.ipynb"
    cells = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"]]
    code = next(cell for cell in cells if "def compute_dependency_map(seq, proxy_species" in cell)
    functions = [part for part in ast.parse(code).body if isinstance(part, ast.FunctionDef)]
    wanted = [part for part in functions if part.name in ("mutate_sequence", "compute_dependency_map")]
    scorer, sequence = load_scorer(BERT), sequences[0][:20]
    bases = [scorer.tokenizer.convert_tokens_to_ids(letter) for letter in "ACGT"]

    def probabilities(model, rows):
        ids = scorer.tokenizer(list(rows["seq"]), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            found = scorer.model(ids).logits.softmax(dim=-1)[:, :, bases].numpy()
        # The notebook takes two tokens from the front and one from the end, which its tokenizer has added
        return np.pad(found, ((0, 0), (2, 0), (0, 0)), constant_values=0.25)

    names = {"np": np, "pd": pytest.importorskip("pandas"), "nuc_table": {"A": 0, "C": 1, "G": 2, "T": 3}}
    names |= {"model": None, "model_inference": probabilities, "create_dataloader": lambda rows, **_: rows}
    exec(compile(ast.Module(wanted, []), str(notebook), "exec"), names)
    assert (scorer.before, scorer.after) == (0, 1)
    found = dependencies_of(scorer, sequence, 0, 20, "log-odds", "directed", both_strands=False)
    assert found == pytest.approx(names["compute_dependency_map"](sequence, None), abs=2e-4)
