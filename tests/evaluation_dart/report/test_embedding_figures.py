"""Vectors in two dimensions, and the colours of their points."""

import numpy as np
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.report.embedding_figures import check_method, embedding_figure, groups_of, projected


def test_principal_components_are_those_of_the_singular_values():
    vectors = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]
    found = projected(vectors.astype(np.float32))
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = left[:, :2] * values[:2]
    np.testing.assert_allclose(found.places, expected * np.sign((found.places * expected).sum(axis=0)), atol=1e-5)
    shares = 100 * values**2 / (values**2).sum()
    assert found.axes == tuple(f"PC {n + 1} ({share:.1f} % of the variance)" for n, share in enumerate(shares[:2]))


def test_what_has_no_picture():
    for vectors, said in (
        (np.zeros((2, 5)), "needs 3 regions and 2 channels, and here are 2 and 5"),
        (np.zeros((5, 1)), "here are 5 and 1"),
        (np.ones((5, 3)), "all of these are equal"),
        (np.full((5, 3), np.nan), "finite"),
    ):
        with pytest.raises(InputError, match=said):
            projected(vectors)
    with pytest.raises(InputError, match="plot_method 'tsne': there are pca, umap"):
        check_method("tsne")


def test_groups():
    assert groups_of(None) is None
    assert groups_of(["a", "b", "c"]) is None
    assert groups_of(["b", "a", "b"]) == ["b", "a", "b"]
    names = [*"aabbccddeeff", "g", "h"]
    assert groups_of(names) == [*"aabbccddee", *["other names (3)"] * 4]


def test_umap_is_reproducible():
    pytest.importorskip("umap", reason="the extra umap is not installed")
    vectors = np.concatenate([np.random.default_rng(0).normal(size=(30, 5)) + shift for shift in (0, 20)])
    found = projected(vectors, "umap")
    assert found.axes == ("UMAP 1 (no unit)", "UMAP 2 (no unit)")
    np.testing.assert_array_equal(found.places, projected(vectors, "umap").places)
    first, second = found.places[:30], found.places[30:]
    spread = max(np.ptp(own, axis=0).max() for own in (first, second))
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > spread / 2
    assert projected(vectors[:4], "umap").places.shape == (4, 2)


def test_what_a_picture_says(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    found = projected(np.random.default_rng(0).normal(size=(14, 3)))
    embedding_figure(tmp_path / "a.svg", found, groups_of([*"aabbccddeeff", "g", "h"]), "a model")
    text = (tmp_path / "a.svg").read_text()
    for said in ("a, n = 2", "other names (3), n = 4", "a model", *found.axes):
        assert f"<!-- {said} -->" in text, said
    embedding_figure(tmp_path / "b.svg", found, None, "a model")
    assert "n = " not in (tmp_path / "b.svg").read_text()
