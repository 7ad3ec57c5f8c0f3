"""`dart-eval run` for tasks 2 to 5 from files to valid records, with baselines, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyBigWig
import pytest

from datasets_dart import load_dart
from datasets_dart.alphabet import reverse_complement
from evaluation_dart.recipes import RECIPES
from evaluation_dart.records import read_record
from evaluation_dart.scoring.likelihoods import score_alleles, score_sequences
from tests.trainer_scripts.cli import in_process

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL, BERT = FIXTURES / "model" / "small_d32_l2_s130", FIXTURES / "task1" / "bert_char"
MARKOV = f"markov:{Path(__file__).parents[3] / 'model_cards' / 'markov-chrX' / 'markov.safetensors'}"


def dart_eval(*arguments):
    """The command in this process: exit status, output with what goes to stderr, and the error it would print."""
    status, out, err = in_process.dart_eval(*arguments)
    return status, out + err, err


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    genome = Path(shutil.copy(FIXTURES / "genome" / "genome.fa", folder))
    index = (FIXTURES / "genome" / "genome.fa.fai").read_text().splitlines()
    lengths = {name: int(length) for name, length, *_ in map(str.split, index)}
    rng = np.random.default_rng(0)
    elements = folder / "elements.bed"
    starts = np.sort(rng.choice(np.arange(3000, 60_000, 600), 60, replace=False))
    cells = [("GM12878", "K562")[i % 2] for i in range(len(starts))]
    elements.write_text("".join(f"chr5\t{s}\t{s + 256}\t{c}\n" for s, c in zip(starts, cells, strict=True)))
    files = {"genome": genome, "elements": elements, "cache_dir": folder / "cache"}
    for category, some in (("peaks", starts[:8]), ("idr", starts[:4]), ("nonpeaks", starts[8:20])):
        files[category] = folder / f"{category}.bed"
        files[category].write_text("".join(f"chr5\t{s}\t{s + 500}\n" for s in some))
    files["signal"] = folder / "K562.bw"
    with pyBigWig.open(str(files["signal"]), "w") as track:
        track.addHeader(list(lengths.items()))
        places = list(range(0, lengths["chr5"] - 100, 100))
        track.addEntries("chr5", places, values=rng.gamma(1.0, size=len(places)), span=100)
    return files


def run(inputs, tmp_path, *options, **given):
    """The record of one run, after `validate`, and its predictions."""
    files = [word for name, value in given.items() for word in (f"--{name}", value)]
    status, output, error = dart_eval(
        *("run", "--output", tmp_path, "--cache-dir", inputs["cache_dir"], *options, *files)
    )
    assert status == 0, error or output
    (results,) = tmp_path.rglob("results.json")
    assert dart_eval("validate", results.parent)[0] == 0
    return read_record(results.parent), pq.read_table(results.parent / "predictions.parquet"), output


def backgrounds(tmp_path):
    path = tmp_path / "backgrounds.txt"
    path.write_text("\n".join((FIXTURES / "task2" / "backgrounds.txt").read_text().split()[:10]) + "\n")
    return path


@pytest.mark.parametrize("setting", ["zero_shot_likelihood", "zero_shot_embedding"])
def test_motifs(setting, inputs, tmp_path):
    options = ("--task", "motif_footprinting", "--setting", setting, "--model", MODEL, "--window", "100")
    files = {"motifs": FIXTURES / "task2" / "motifs.meme", "backgrounds": backgrounds(tmp_path)}
    record, predictions, output = run(inputs, tmp_path, *options, **files)
    assert "each from where it differs" in output
    score = "score" if setting == "zero_shot_likelihood" else "distance"
    assert predictions.column_names == ["id", "background", "motif", "strand", "kind", score]
    assert record["metrics"]["accuracy"]["n"] == 9
    assert "10 backgrounds" in record["metrics"]["accuracy"]["method"]
    if setting == "zero_shot_embedding":
        raw = predictions["distance"].to_numpy()[predictions["kind"].to_numpy() == "raw"]
        assert np.abs(raw).max() < 1e-12
        assert record["recipe"]["pooling"] == "mean"


def words_as_motifs(inputs, tmp_path):
    """A MEME file of the 12 bases in the middle of each element."""
    rows = load_dart("cell_type_elements", split="test", **{n: inputs[n] for n in ("genome", "elements", "cache_dir")})
    words = sorted({row["sequence"][244:256] for row in rows if "N" not in row["sequence"][244:256]})
    path = tmp_path / "words.meme"
    blocks = []
    for word in words:
        matrix = "".join(" ".join(str(int(base == letter)) for letter in "ACGT") + "\n" for base in word)
        blocks.append(f"MOTIF {word}\nletter-probability matrix: alength= 4 w= 12\n{matrix}\n")
    path.write_text("MEME version 4\n\nALPHABET= ACGT\n\n" + "".join(blocks))
    return path


@pytest.mark.parametrize("model", ["language model", "motif counts"])
def test_cell_types(model, inputs, tmp_path):
    model = MODEL if model == "language model" else f"motifs:{words_as_motifs(inputs, tmp_path)}"
    options = ("--task", "cell_type_elements", "--setting", "clustering", "--model", model, "--window", "100")
    record, predictions, _ = run(inputs, tmp_path, *options, genome=inputs["genome"], elements=inputs["elements"])
    assert predictions.column_names[:4] == ["id", "chrom", "start", "label"]
    assert predictions.num_columns == 104
    assert set(predictions["label"].to_pylist()) == {"GM12878", "K562"}
    assert len(np.unique(predictions["cluster_7"].to_numpy())) == 50
    assert record["recipe"]["components"] == 60
    assert record["metrics"]["adjusted_mutual_information"]["n"] == 60


def test_activity(inputs, tmp_path):
    files = {name: inputs[name] for name in ("genome", "peaks", "idr", "nonpeaks", "signal")}
    options = ("--task", "chromatin_activity", "--model", MARKOV, "--window", "500", "--recipe", "dart-eval")
    record, predictions, _ = run(inputs, tmp_path, *options, **files)
    assert record["metrics"]["auroc"]["n"] == 16
    assert record["metrics"]["pearson_all"]["n"] == 20
    assert set(predictions["category"].to_pylist()) == {"peaks", "idr", "nonpeaks"}
    assert record["model"]["id"] == "local/markov-order-7"


@pytest.mark.parametrize(
    ("model", "setting", "recipe", "rows"),
    [
        (MODEL, "zero_shot_likelihood", "dart-eval", 0),
        (MODEL, "zero_shot_likelihood", "traitgym", 0),
        (BERT, "zero_shot_likelihood", "dart-eval", 6),
        (BERT, "zero_shot_likelihood", "whole-alleles", 2 * 6 * 20),
        (BERT, "zero_shot_embedding", "dart-eval", 12),
        (MARKOV, "zero_shot_likelihood", "whole-alleles", 0),
        ("column:chrombpnet_logfc", "ab_initio", "dart-eval", 0),
    ],
)
def test_variants(model, setting, recipe, rows, inputs, tmp_path):
    files = {"genome": inputs["genome"], "variants": FIXTURES / "task5" / "yoruban.dsqtls.benchmarking.tsv"}
    window = () if setting == "ab_initio" else ("--window", "20")
    limit = () if setting == "ab_initio" else ("--limit", "6", "--sample-seed", "1")
    options = ("--task", "variant_effects", "--setting", setting, "--model", model, "--recipe", recipe, *window, *limit)
    record, predictions, output = run(inputs, tmp_path, *options, **files)
    if rows:
        assert f"about {rows:,} rows through the model" in output
    assert ("each from where it differs" in output) == (model == MODEL and recipe == "traitgym")
    assert ("every window whole" in output) == (model == BERT and rows > 6)
    if limit:
        assert record["dataset"]["subset"] == "6 at random, seed 1"
    if setting == "zero_shot_likelihood":
        described = record["recipe"]
        assert described["name"] == recipe
        assert described["orientation"] == "effect allele - other allele"
        assert described["alleles"] == ("masked" if recipe == "dart-eval" else "whole")
    if setting == "ab_initio":
        golden = json.loads((FIXTURES / "task5" / "metrics.json").read_text())["dsqtl/chrombpnet_column"]
        # Variants in neither allele of the genome are left out here, and kept in protocol paper
        assert record["metrics"]["auroc"]["value"] == pytest.approx(golden["auroc"], abs=0.1)
    assert set(predictions["effect_allele"].to_pylist()) == {2}


def test_recipes_of_alleles():
    class Content:
        """Scores by what a sequence is made of."""

        def log_likelihood(self, sequences, reduction="sum", special_tokens="not scored", text=""):
            special = 100.0 * (special_tokens == "scored")
            counts = np.array([s.count("A") + 10.0 * s.count("C") + special for s in sequences])
            return counts / [len(s) for s in sequences] if reduction == "mean" else counts

    ref, alt = ["AAC"], ["ACC"]
    assert [float(x[0]) for x in score_alleles(Content(), ref, alt, RECIPES["whole-alleles"])] == [12.0, 21.0]
    # [SEP] is scored, on both strands: (112 + 100) / 2
    assert float(score_sequences(Content(), ref, RECIPES["traitgym"])[0]) == 106.0
    assert [float(x[0]) for x in score_alleles(Content(), ref, alt, RECIPES["carbon"])] == [4.0, 7.0]
    assert [float(x[0]) for x in score_alleles(Content(), ref, alt, RECIPES["carbon-both-strands"])] == [2.0, 3.5]
    assert reverse_complement("AAC") == "GTT"


def test_what_is_refused(inputs, tmp_path):
    task5 = ("--task", "variant_effects", "--genome", inputs["genome"])
    table = FIXTURES / "task5" / "Afr.CaQTLS.tsv"
    for options, message in [
        ((*task5, "--model", MODEL, "--variants", table), "reads at most 130 tokens, but 2114 bases are 2115"),
        (
            (*task5, "--model", FIXTURES / "task1" / "bert_bpe", "--variants", table, "--window", "101"),
            "not as many tok",
        ),
        (("--model", "motifs:x.meme", "--task", "cell_type_elements", "--setting", "clustering"), "x.meme"),
        ((*task5, "--model", MARKOV, "--variants", table), "recipe whole-alleles"),
        ((*task5, "--model", MARKOV, "--variants", table, "--recipe", "carbon"), "recipe whole-alleles"),
        (("--model", "column:no_such_column", *task5, "--setting", "ab_initio", "--variants", table), "no_such_column"),
    ]:
        status, _, error = dart_eval("run", *options, "--output", tmp_path, "--cache-dir", inputs["cache_dir"])
        assert status == 1, message
        assert message in error
    assert not list(tmp_path.rglob("results.json"))


def test_masked_alleles_by_hand(inputs):
    """score2 - score1 of a masked model is log p(alt) - log p(ref) at the masked base."""
    import torch

    from evaluation_dart.models.language_model import load_language_model

    scorer = load_language_model(BERT)
    one, two = scorer.allele_log_likelihoods(["ACGTACGTA"], ["ACGTGCGTA"])
    inputs_, _ = scorer.encode(["ACGTACGTA"])
    tokens = inputs_["input_ids"].clone()
    ids = scorer.encode(["AG"])[0]["input_ids"][0]
    tokens[0, 4] = scorer.tokenizer.mask_token_id
    with torch.no_grad():
        log_p = scorer.model(tokens).logits.log_softmax(-1)[0, 4]
    assert (two - one)[0] == pytest.approx((log_p[ids[1]] - log_p[ids[0]]).item(), abs=1e-5)
