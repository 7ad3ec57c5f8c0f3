"""DART-Eval's own evaluators, from a checkout, on our model and tokenizer objects: equal to protocol "paper".

DART_EVAL_CHECKOUT=path/to/DART-Eval pytest tests/evaluation_dart/test_original_evaluators.py -s

Their classes are called as they are, past the constructors that fetch a model by its name. What is supplied: the
tokenizer's `batch_encode_plus`, which transformers 5 no longer has, and polars, where it is not installed.
"""

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from datasets_dart import load_dart
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.recipes import RECIPES
from evaluation_dart.records import read_record
from evaluation_dart.run import evaluate_rows
from evaluation_dart.scoring.rows import embedding_recipe
from evaluation_dart.spec import RunSpec
from evaluation_dart.tasks import TASKS

CHECKOUT = os.environ.get("DART_EVAL_CHECKOUT", "")
pytestmark = pytest.mark.skipif(
    not CHECKOUT, reason="no checkout of kundajelab/DART-Eval is named in DART_EVAL_CHECKOUT"
)
FIXTURES = Path(__file__).parents[1] / "fixtures"
HYENADNA, BPE = FIXTURES / "model" / "long_d32_l2_s2116", FIXTURES / "task1" / "bert_bpe"
BATCH = 16


class Tokenizer:
    """A tokenizer with the method that is gone."""

    def __init__(self, own):
        self.own, self.batch_encode_plus, self.mask_token_id = own, own, own.mask_token_id

    def __call__(self, *given, **options):
        return self.own(*given, **options)


@pytest.fixture(scope="module")
def original():
    """The modules of the evaluators: of task 1, and of the others; and their way of writing sequences."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(CHECKOUT) / "src"))
        if find_spec("polars") is None:
            polars = ModuleType("polars")
            polars.__getattr__ = lambda name: name  # names of types
            polars.DataFrame = lambda data, schema: data
            patch.setitem(sys.modules, "polars", polars)
        names = ("task_1_paired_control.zero_shot.evaluators", "task_2_5_single.evaluators", "utils")
        yield [importlib.import_module(f"dnalm_bench.{name}") for name in names]


def evaluator(module, kind, scorer, *more):
    """One of their evaluators with a model and tokenizer in memory."""
    found = object.__new__(getattr(module, kind))
    base = next(own for own in type(found).__mro__ if own.__init__ is not type(found).__init__)
    tokenizer = scorer.tokenizer
    tokenizer.padding_side = "right"
    base.__init__(found, Tokenizer(tokenizer), scorer.model, *more, batch_size=BATCH, num_workers=0, device="cpu")
    return found


def ours(scorer, dataset, task, setting, recipe, folder):
    spec = RunSpec(scorer.name, task, setting, protocol="paper", output=str(folder), overwrite=True)
    record = evaluate_rows(scorer, dataset, spec, recipe, inputs={}).folder
    return pq.read_table(record / "predictions.parquet"), read_record(record)["metrics"]


def told(what, difference, values):
    print(f"\n{what}: n = {len(values)}, largest |difference| {difference:.2e} of values to {np.abs(values).max():.4g}")


def onehot(utils, sequences):
    return [torch.from_numpy(utils.one_hot_encode(own)) for own in sequences]


@pytest.mark.parametrize("model", ["hyenadna", "bpe"])
def test_task1(original, model, tmp_path):
    module, _, utils = original
    scorer = load_language_model(HYENADNA if model == "hyenadna" else BPE, device="cpu")
    data = load_dart(
        "regulatory_elements",
        "paper",
        split="test",
        cache_dir=tmp_path / "cache",
        elements=FIXTURES / "task1" / "ccre.bed",
        genome=genome(tmp_path),
    ).select(range(40))
    pairs = [onehot(utils, data[column]) for column in ("sequence", "control")]
    kind = "HDEvaluator" if model == "hyenadna" else "DNABERT2Evaluator"
    theirs = evaluator(module, kind, scorer, [*zip(*pairs, range(len(data)), strict=True)])
    metrics = theirs.evaluate(str(tmp_path / "original"))
    scores = np.loadtxt(tmp_path / "original" / "scores.tsv", skiprows=1)
    found, own = ours(
        scorer, data, "regulatory_elements", "zero_shot_likelihood", RECIPES["dart-eval"], tmp_path / "ours"
    )
    for column, values in (("score", scores[:, 1]), ("control_score", scores[:, 2])):
        difference = np.abs(found[column].to_numpy() - values).max()
        told(f"task 1, {kind}, {column}", difference, values)
        assert difference <= 1e-5 * np.abs(values).max()
    assert own["accuracy"]["value"] == metrics["acc"]


def genome(folder):
    path = folder / "genome.fa"
    path.write_bytes((FIXTURES / "genome" / "genome.fa").read_bytes())
    return path


def test_task2_likelihoods(original, tmp_path):
    _, module, utils = original
    scorer = load_language_model(HYENADNA, device="cpu")
    data = load_dart(
        "motif_footprinting",
        "paper",
        split="test",
        cache_dir=tmp_path / "cache",
        processed=FIXTURES / "task2" / "dataset.txt",
    )
    theirs = evaluator(module, "HDEvaluator", scorer)
    theirs.evaluate(onehot(utils, data["sequence"]), str(tmp_path / "original.tsv"))
    values = np.loadtxt(tmp_path / "original.tsv")
    found, _ = ours(scorer, data, "motif_footprinting", "zero_shot_likelihood", RECIPES["dart-eval"], tmp_path / "ours")
    difference = np.abs(found["score"].to_numpy() - values).max()
    told("task 2, HDEvaluator, likelihoods", difference, values)
    assert difference <= 1e-5 * np.abs(values).max()


@pytest.mark.parametrize("setting", ["zero_shot_likelihood", "zero_shot_embedding"])
def test_task5(original, setting, tmp_path):
    _, module, utils = original
    scorer = load_language_model(HYENADNA, device="cpu")
    data = load_dart(
        "variant_effects",
        "paper",
        split="test",
        cache_dir=tmp_path / "cache",
        genome=genome(tmp_path),
        variants=FIXTURES / "task5" / "Afr.CaQTLS.tsv",
    )
    windows = [*zip(*(onehot(utils, data[column]) for column in ("sequence1", "sequence2")), strict=True)]
    likelihood = setting == "zero_shot_likelihood"
    kind = "HDVariantSingleTokenEvaluator" if likelihood else "HDVariantEmbeddingEvaluator"
    theirs = evaluator(module, kind, scorer)
    theirs.evaluate(windows, str(tmp_path / "original.tsv"))
    values = np.loadtxt(tmp_path / "original.tsv")
    recipe = RECIPES["dart-eval"] if likelihood else embedding_recipe(TASKS["variant_effects"], scorer, "paper")
    found, _ = ours(scorer, data, "variant_effects", setting, recipe, tmp_path / "ours")
    if likelihood:
        values = values[:, 1] - values[:, 0]
        own = found["score2"].to_numpy() - found["score1"].to_numpy()
    else:
        own = found["distance"].to_numpy()
    difference = np.abs(own - values).max()
    told(f"task 5, {kind}", difference, values)
    # Theirs are differences of sums of 2,114 float32, and distances of float32 vectors
    assert difference <= (3e-3 if likelihood else 1e-6)
