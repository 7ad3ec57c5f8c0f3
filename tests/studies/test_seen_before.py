"""Which places share a k-mer with the training regions, on either strand."""

import numpy as np

from datasets_dart.alphabet import COMPLEMENT_CODES
from datasets_dart.kmers import PIECE
from studies.seen_before import K, shared_kmers
from trainer_scripts.genome_windows import GenomeCodes


def test_places_that_share_a_stretch_with_the_training():
    """One copied whole, one of whose reverse complement K bases are there across a seam of pieces, one new."""
    codes = np.random.default_rng(0).integers(0, 4, PIECE + 5000).astype(np.uint8)
    places = np.array([[0, 350], [400, 750], [800, 1150]])
    codes[5000:5350] = codes[:350]
    seam = 2000 + PIECE
    codes[seam - 7 : seam - 7 + K] = COMPLEMENT_CODES[codes[450 : 450 + K]][::-1]
    genome = GenomeCodes("", codes, {"chr1": 0}, {"chr1": len(codes)})
    training = np.array([[2000, len(codes)]])
    assert shared_kmers(genome, places, training).tolist() == [350 - K + 1, 1, 0]
    codes[5100] = 4  # an unknown base is in no k-mer
    assert shared_kmers(genome, places, training).tolist() == [350 - 2 * K + 1, 1, 0]
    assert shared_kmers(genome, places[1:], training[:0]).tolist() == [0, 0]
