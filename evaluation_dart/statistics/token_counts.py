"""A control beside likelihoods of models whose tokens are of several lengths (BPE): what numbers of tokens alone say.

A sum over tokens is lower for more tokens, whatever the model has learned, and real sequence is often fewer tokens than
its shuffle: a model with random weights can pass for one that knows it.
"""

from dataclasses import replace

import numpy as np

from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import LOGIT, Estimate

NAME = "accuracy_of_fewer_tokens"
NOTE = "; by numbers of tokens only, fewer being right and as many half right: no model"


def of_pairs(tokens: np.ndarray, control_tokens: np.ndarray, blocks: Blocks) -> dict[str, Estimate]:
    """Task 1: how often an element is fewer tokens than its control; (n,) numbers of tokens."""
    return {NAME: _share((np.sign(control_tokens - tokens) + 1) / 2, blocks)}


def of_motifs(
    background: np.ndarray, motif: np.ndarray, strand: np.ndarray, kind: np.ndarray, tokens: np.ndarray
) -> dict[str, Estimate]:
    """Task 2: how often a background with a motif is fewer tokens than with its shuffle, mean over motifs.

    Args: (n,) as of [`motif_metrics`], for each motif, background and strand a motif and a shuffle; tokens: (n,) how
        many.
    """
    motif, strand = motif.astype(str), strand.astype(str)
    order = np.lexsort((strand, motif, background))
    true, shuffled = (order[kind[order] == which] for which in ("motif", "shuffled"))
    right = (np.sign(tokens[shuffled] - tokens[true]) + 1) / 2
    of_background = right.reshape(len(np.unique(background[true])), -1).mean(axis=1)
    found = _share(of_background, Blocks(np.arange(len(of_background)), "backgrounds"))
    return {NAME: replace(found, n=len(np.unique(motif[true])), iid=None)}


def _share(right: np.ndarray, blocks: Blocks) -> Estimate:
    return replace(estimates.mean(right, blocks, LOGIT), note=NOTE)
