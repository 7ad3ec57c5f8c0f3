"""Clusters of embeddings: task 3, zero-shot (DART-Eval spec section 4)."""

from collections.abc import Sequence

import numpy as np

from datasets_dart.errors import InputError


def principal_components(embeddings: np.ndarray, components: int) -> np.ndarray:
    """(n, components) scores of embeddings (n, C); as many components as there are where there are fewer.

    Exact: what scikit-learn chooses by itself is a randomised solver in older versions. Centred, and in float64: the
    covariance of float32 embeddings whose mean is much larger than their spread is mostly rounding.
    """
    from sklearn.decomposition import PCA

    pca = PCA(min(components, *embeddings.shape), svd_solver="covariance_eigh")
    values = np.asarray(embeddings, np.float64)
    return np.asarray(pca.fit_transform(values - values.mean(axis=0)))


def cluster(points: np.ndarray, clusters: int, seeds: Sequence[int]) -> np.ndarray:
    """k-means of points (n, d), once for each seed, from one start each: (n, seeds) int32 cluster numbers.

    Raises:
        ValueError: for fewer points than clusters.
    """
    from sklearn.cluster import KMeans

    if len(points) < clusters:
        raise InputError(f"{len(points)} elements are too few for {clusters} clusters")
    return np.stack([KMeans(clusters, n_init=1, random_state=seed).fit_predict(points) for seed in seeds], axis=1)
