import numpy as np
import pytest

from evaluation_dart.evaluate_modules import dart_eval_metric
from evaluation_dart.statistics.blocks import genome_blocks
from evaluation_dart.statistics.estimates import metrics_of
from evaluation_dart.statistics.metrics import paired_likelihood_estimates, variant_estimates


def test_modules_wrap_the_same_functions(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    n = 60
    place = {"chrom": np.array(["chr5"] * n), "start": np.arange(n) * 500_000}
    columns = {"score": rng.normal(1, 1, n), "control_score": rng.normal(0, 1, n), **place}
    metric = dart_eval_metric("regulatory_elements")
    metric.add_batch(**{name: values[:40].tolist() for name, values in columns.items()})
    metric.add_batch(**{name: values[40:].tolist() for name, values in columns.items()})
    blocks = genome_blocks(**place)
    expected = paired_likelihood_estimates(columns["score"], columns["control_score"], blocks)
    assert metric.compute() == metrics_of(expected)
    assert metric.compute(**columns, protocol="paper")["accuracy"]["method"].endswith("too narrow")

    variants = {"change": rng.normal(size=n), "label": rng.random(n) < 0.5, "effect": rng.normal(size=n)}
    expected = metrics_of(variant_estimates(**variants, blocks=blocks))
    variants |= {"chrom": place["chrom"], "position": place["start"]}
    assert dart_eval_metric("variant_effects").compute(**variants) == expected


def test_the_other_tasks():
    columns = {
        "motif_footprinting": {
            "background": [0, 0, 0],
            "motif": ["", "m", "m"],
            "strand": ["forward"] * 3,
            "kind": ["raw", "motif", "shuffled"],
            "score": [0.0, 2.0, 1.0],
        },
        "cell_type_elements": {
            **{"label": ["a", "a", "b", "b"], "cluster": [1, 1, 0, 0]},
            **{"chrom": ["chr5"] * 4, "start": [1, 2, 3, 4]},
        },
        "chromatin_activity": {
            **{"prediction": [1.0, 2.0, 4.0], "log_counts": [1.0, 2.0, 4.0], "category": ["peaks"] * 3},
            **{"chrom": ["chr5"] * 3, "start": [1, 2, 3]},
        },
    }
    name = {"motif_footprinting": "accuracy", "cell_type_elements": "adjusted_mutual_information"}
    for task, values in columns.items():
        computed = dart_eval_metric(task).compute(**values)
        assert computed[name.get(task, "pearson_peaks")]["value"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"there are regulatory_elements, .*, variant_effects$"):
        dart_eval_metric("secret")
