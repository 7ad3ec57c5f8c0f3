"""Tasks 2 to 5, zero-shot, against DART-Eval's own code (tests/fixtures/task2 to task5)."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

import modeling_hyenadna  # noqa: F401
from datasets_dart import load_dart
from evaluation_dart.models.language_model import load_language_model
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.recipes import RECIPES
from evaluation_dart.records import read_record, validate_record
from evaluation_dart.run import evaluate_rows
from evaluation_dart.scoring.clustering import cluster, principal_components
from evaluation_dart.scoring.embeddings import EmbeddingRecipe, name_order, pool
from evaluation_dart.scoring.rows import embedding_recipe, row_embedder
from evaluation_dart.spec import RunSpec
from evaluation_dart.statistics.blocks import genome_blocks, row_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import (
    activity_estimates,
    clustering_estimates,
    motif_metrics,
    variant_estimates,
)
from evaluation_dart.tasks import TASKS
from evaluation_dart.tasks.base import Job

FIXTURES = Path(__file__).parents[1] / "fixtures"
HYENADNA, BPE = FIXTURES / "model" / "long_d32_l2_s2116", FIXTURES / "task1" / "bert_bpe"
VARIANTS = {"caqtl": "Afr.CaQTLS", "dsqtl": "yoruban.dsqtls.benchmarking"}


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file, delimiter="\t"))


def run(scorer, dataset, task, setting, recipe, folder, protocol="paper"):
    """Predictions and record of a whole run, which is validated, too."""
    spec = RunSpec(scorer.name, task, setting, protocol=protocol, output=str(folder), overwrite=True)
    folder = evaluate_rows(scorer, dataset, spec, recipe, inputs={}).folder
    validate_record(folder)
    return pq.read_table(folder / "predictions.parquet"), read_record(folder)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return load_dart(
        "motif_footprinting",
        "paper",
        split="test",
        cache_dir=tmp_path_factory.mktemp("cache"),
        processed=FIXTURES / "task2" / "dataset.txt",
    )


@pytest.fixture(scope="module")
def hyenadna():
    return load_language_model(HYENADNA)


def per_motif(predictions, score, **options):
    columns = [predictions[name].to_numpy() for name in ("background", "motif", "strand", "kind", score)]
    metrics = motif_metrics(*columns, protocol="paper", **options)
    return {name: i for i, name in enumerate(metrics.motif)}, metrics


def test_task2_likelihoods(hyenadna, trials, tmp_path):
    predictions, record = run(
        hyenadna, trials, "motif_footprinting", "zero_shot_likelihood", RECIPES["dart-eval"], tmp_path
    )
    expected = np.loadtxt(FIXTURES / "task2" / "likelihoods.tsv")
    assert np.abs(predictions["score"].to_numpy() - expected).max() <= 2e-3
    place, metrics = per_motif(predictions, "score")
    golden = rows(FIXTURES / "task2" / "likelihood_metrics.tsv")
    for row in golden:
        i = place[row[""]]
        assert metrics.accuracy[i] == float(row["Accuracy"])
        assert metrics.p_value[i] == pytest.approx(float(row["P-Value"]), rel=1e-6)
        assert metrics.accuracy_vs_background[i] == float(row["Accuracy vs Background"])
    mean = np.mean([float(row["Accuracy"]) for row in golden])
    accuracy = record["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(mean)
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * 1.959964 * np.sqrt(mean * (1 - mean) / 36))
    assert "n = 36, as published" in accuracy["method"]


@pytest.mark.parametrize("name", ["hyenadna", "bpe"])
def test_task2_embeddings_in_order_and_scrambled(name, trials, tmp_path):
    """In the original's way of pooling: in the order of the rows, and in that of the HDF5 data sets' names."""
    scorer = load_language_model(HYENADNA if name == "hyenadna" else BPE)
    scrambled = embedding_recipe(TASKS["motif_footprinting"], scorer, "paper")
    assert scrambled.pooling == ("mean_with_next" if name == "hyenadna" else "mean")
    in_order = scrambled._replace(rows="as they are")
    task, setting = "motif_footprinting", "zero_shot_embedding"
    predictions, _ = run(scorer, trials, task, setting, in_order, tmp_path)
    distance = predictions["distance"].to_numpy()
    if name == "hyenadna":
        columns = [predictions[column].to_numpy() for column in ("motif", "kind")]
        golden = rows(FIXTURES / "task2" / "embedding_hyenadna_distances_fixed.tsv")
        for motif in {row["motif"] for row in golden}:
            of_motif = [row for row in golden if row["motif"] == motif]
            for kind, key in (("motif", "true"), ("shuffled", "shuffled")):
                mine = distance[(columns[0] == motif) & (columns[1] == kind)]
                assert np.abs(mine - [float(row[key]) for row in of_motif]).max() <= 3e-7
    place, metrics = per_motif(predictions, "distance", distances=True)
    for row in rows(FIXTURES / "task2" / f"embedding_{name}_metrics_fixed.tsv"):
        assert metrics.accuracy[place[row[""]]] == float(row["Accuracy"])
        # The original's distances are rounded to float32, where two differences may change places
        assert metrics.p_value[place[row[""]]] == pytest.approx(float(row["P-Value"]), abs=0.01)
    predictions, record = run(scorer, trials, task, setting, scrambled, tmp_path)
    place, metrics = per_motif(predictions, "distance", distances=True)
    for row in rows(FIXTURES / "task2" / f"embedding_{name}_metrics_paper_scrambled.tsv"):
        assert metrics.accuracy[place[row[""]]] == pytest.approx(float(row["Accuracy"]), abs=1 / 36 + 1e-9)
    assert record["recipe"]["rows"] == "by the names of HDF5 data sets"


def test_order_of_the_names():
    chunks = np.load(FIXTURES / "task2" / "embedding_hyenadna_pooled.npz")["chunks_h5_name_order"]
    spans = [tuple(map(int, name.split("_")[1:])) for name in chunks.tolist()]
    assert name_order(684).tolist() == [row for start, end in spans for row in range(start, end)]
    expected = np.load(FIXTURES / "task3" / "clustering_expected.npz")
    index = np.load(FIXTURES / "task3" / "clustering_inputs.npz")["index_sorted"]
    assert name_order(720)[index].tolist() == expected["scrambled_chunks/stacked_row_is_input_row"].tolist()
    # Of 216,746 elements in batches of 64 the original leaves 64 in their place (spec section 0, point 1)
    assert (name_order(216_746) == np.arange(216_746)).sum() == 64


def test_task3_pooling():
    import torch

    golden = np.load(FIXTURES / "task3" / "pooling.npz")
    hidden = torch.tensor(golden["emb"])
    positions = torch.arange(hidden.shape[1])
    record = torch.tensor(golden["idx_var/record"].astype(np.int64))
    own = (positions >= record.min(dim=1, keepdim=True)[0]) & (positions <= record.max(dim=1, keepdim=True)[0])
    assert np.abs(pool(hidden, own, "mean").numpy() - golden["idx_var/pooled"]).max() <= 1e-6
    first, last = golden["idx_fix_slice/record"].tolist()  # [0, L]: token L, [SEP], is taken for the sequence's
    own = ((positions >= first) & (positions < last)).expand(len(hidden), -1)
    assert np.abs(pool(hidden, own, "mean_with_next").numpy() - golden["idx_fix_slice/pooled"]).max() <= 1e-6


def test_task3_clustering():
    inputs, expected = (np.load(FIXTURES / "task3" / f"clustering_{name}.npz") for name in ("inputs", "expected"))
    golden = json.loads((FIXTURES / "task3" / "clustering_expected_sklearn1.9.1.json").read_text())["variants"]
    clusters = cluster(inputs["exact_pca_float64"], 12, range(10))
    np.testing.assert_array_equal(clusters.T, expected["given_exact_pca/kmeans_labels"])

    index = inputs["index_sorted"]
    labels, points = inputs["labels_all"][index], principal_components(inputs["embeddings"][index], 20)
    rows = row_blocks(len(labels))

    def information(own):
        return clustering_estimates(labels, own, rows, "paper")["adjusted_mutual_information"].value

    assert information(cluster(points, 12, range(10))) == pytest.approx(golden["numeric_order"]["mean"], abs=0.03)
    assert information(clusters) == pytest.approx(golden["given_exact_pca"]["mean"], abs=1e-9)
    scrambled = expected["scrambled_chunks/stacked_row_is_input_row"]
    points = principal_components(inputs["embeddings"][scrambled], 20)
    assert information(cluster(points, 12, range(10))) == pytest.approx(golden["scrambled_chunks"]["mean"], abs=0.03)


@pytest.mark.parametrize("case", ["no_pred_ties", "ties"])
def test_task4_metrics(case):
    inputs = np.load(FIXTURES / "task4" / "metrics_inputs.npz")
    names = {"peaks": "pos", "idr": "idr", "nonpeaks": "neg"}
    prediction, counts = (
        np.concatenate([inputs[f"{case}/{short}_{what}"] for short in names.values()])
        for what in ("pred_log_counts", "true_counts")
    )
    category = np.repeat([*names], [len(inputs[f"{case}/{short}_true_counts"]) for short in names.values()])
    golden = json.loads((FIXTURES / "task4" / "metrics_expected.json").read_text())[case]
    for protocol, original in (("paper", "probing/batch64"), ("fixed", "chrombpnet_calc_metrics")):
        blocks = row_blocks(len(counts))
        metrics = metrics_of(activity_estimates(prediction, np.log1p(counts), category, blocks, protocol))
        for name, short in (names | {"all": "all"}).items():
            for statistic in ("pearson", "spearman"):
                expected = golden[original][f"test_{statistic}_{short}"]
                assert metrics[f"{statistic}_{name}"]["value"] == pytest.approx(expected, abs=1e-5)
        for name in ("auroc", "auprc"):
            assert metrics[name]["value"] == pytest.approx(golden[original][f"test_{name}"], abs=1e-6)


@pytest.fixture(scope="module", params=VARIANTS)
def variants(request, tmp_path_factory, genome_copy):
    table = FIXTURES / "task5" / f"{VARIANTS[request.param]}.tsv"
    cache = tmp_path_factory.mktemp("cache")
    data = load_dart("variant_effects", "paper", genome=genome_copy, variants=table, split="test", cache_dir=cache)
    return request.param, data


@pytest.fixture(scope="module")
def genome_copy(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_bytes((FIXTURES / "genome" / "genome.fa").read_bytes())
    return path


def golden_variants(key):
    return json.loads((FIXTURES / "task5" / "metrics.json").read_text())[key]


@pytest.mark.parametrize("setting", ["zero_shot_likelihood", "zero_shot_embedding", "ab_initio"])
def test_task5(setting, variants, hyenadna, tmp_path):
    name, data = variants
    recipe, key = {
        "zero_shot_likelihood": (RECIPES["dart-eval"], "likelihood"),
        "zero_shot_embedding": (
            embedding_recipe(TASKS["variant_effects"], hyenadna, "paper"),
            "embedding_float64_distance_NOT_ORIGINAL",
        ),
        "ab_initio": (None, "chrombpnet_column"),
    }[setting]
    scorer = load_scorer("column:chrombpnet_logfc") if setting == "ab_initio" else hyenadna
    predictions, record = run(scorer, data, "variant_effects", setting, recipe, tmp_path)
    file = FIXTURES / "task5" / VARIANTS[name]
    if setting == "zero_shot_likelihood":
        change = predictions["score2"].to_numpy() - predictions["score1"].to_numpy()
        assert np.abs(change - np.loadtxt(f"{file}_delta_float64.txt")).max() <= 3e-3
        # The sign: dsQTL effects speak for allele 1
        assert set(predictions["effect_allele"].to_pylist()) == {1 if name == "dsqtl" else 2}
        assert record["recipe"]["orientation"] == "effect allele - other allele"
    if setting == "zero_shot_embedding":
        expected = np.loadtxt(f"{file}_cosine_distance_float64.txt")
        assert np.abs(predictions["distance"].to_numpy() - expected).max() <= 1e-8
    golden, metrics = golden_variants(f"{name}/{key}"), record["metrics"]
    tolerance = 1e-9 if setting == "ab_initio" else 2e-3
    for metric in ("auroc", "auprc", "spearman", "pearson"):
        exact = 1e-9 if setting != "zero_shot_embedding" and metric != "pearson" else tolerance
        assert metrics[metric]["value"] == pytest.approx(golden[metric], abs=exact), metric
    assert metrics["mannwhitney_p"]["value"] == pytest.approx(golden["mannwhitney_p"], rel=1e-4)
    assert metrics["auroc"]["n"] == golden["n_positive"] + golden["n_control"]
    assert metrics["pearson"]["n"] == golden["n_positive"]


def test_task5_without_the_switch_of_the_sign():
    """The 2024 notebook took allele2 - allele1 of dsQTLs, too: only the correlations change sign."""
    switched, unswitched = (golden_variants(f"dsqtl/likelihood{name}") for name in ("", "_unswitched_as_2024_notebook"))
    assert switched["auroc"] == unswitched["auroc"]
    table = rows(FIXTURES / "task5" / "yoruban.dsqtls.benchmarking.tsv")
    used = np.array([row["var.isused"] == "True" for row in table])
    change = np.loadtxt(FIXTURES / "task5" / "yoruban.dsqtls.benchmarking_delta_float64.txt")
    label = np.array([row["var.label"] == "1" for row in table])
    effect = np.array([float(row["obs.estimate"] or "nan") for row in table])
    place = np.array([row["var.chrom"] for row in table]), np.array([int(row["var.pos"]) for row in table])
    blocks = genome_blocks(*place).take(used)
    for sign, golden in ((-1, switched), (1, unswitched)):
        metrics = metrics_of(variant_estimates(sign * change[used], label[used], effect[used], blocks))
        for name in ("auroc", "auprc", "spearman"):
            assert metrics[name]["value"] == pytest.approx(golden[name], abs=1e-9)


def test_the_original_embeds_motifs_for_the_nucleotide_transformer_in_batches_of_32(hyenadna, monkeypatch):
    task = TASKS["motif_footprinting"]
    assert "batch" not in embedding_recipe(task, hyenadna, "paper").described(False)  # 64, as records always had it
    monkeypatch.setattr(hyenadna, "name", "InstaDeepAI/nucleotide-transformer-v2-500m-multi-species")
    recipe = embedding_recipe(task, hyenadna, "paper")
    assert recipe.described(False)["batch"] == 32
    assert embedding_recipe(TASKS["cell_type_elements"], hyenadna, "paper").batch == 64
    rng = np.random.default_rng(0)
    dataset = Dataset.from_dict({"sequence": ["".join(rng.choice(list("ACGT"), 12)) for _ in range(170)]})
    found = row_embedder(hyenadna, dataset, Job(recipe, None, "auto"))(np.arange(170))
    # emb_0_32, emb_128_160, emb_160_170, emb_32_64, ...: the names of data sets in the order of text
    order = [*range(32), *range(128, 170), *range(32, 128)]
    alone = hyenadna.embed(dataset[order]["sequence"], pooling="mean_with_next", attention_mask=False)
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_embedding_recipes(hyenadna):
    assert embedding_recipe(TASKS["motif_footprinting"], hyenadna, "fixed") == EmbeddingRecipe("mean-pooled", "mean")
    assert embedding_recipe(TASKS["variant_effects"], hyenadna, "paper").pooling == "mean_all"
    assert embedding_recipe(TASKS["cell_type_elements"], hyenadna, "paper").attention_mask is False
