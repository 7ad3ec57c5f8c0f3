"""Parts of the comparison of attributions with a motif."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from studies.real_attribution import aligned_mean, beside_hits, consensus, information, one_hot, read_pfm
from studies.tables import attribution_table

ROOT = Path(__file__).parents[2]


def test_page_shows_the_record():
    page = (ROOT / "docs" / "mutagenesis.md").read_text()
    assert attribution_table(ROOT / "docs" / "records" / "attribution" / "ctcf.json") in page


def test_motifs(tmp_path):
    path = tmp_path / "m.pfm.gz"
    path.write_bytes(gzip.compress(b"# comment\n>one\n8 0 0 0\n0 1 1 0\n\n>two\n0 0 0 3\n"))
    motifs = read_pfm(path)
    np.testing.assert_array_equal(motifs["one"], [[1, 0], [0, 0.5], [0, 0.5], [0, 0]])
    assert [consensus(motif) for motif in motifs.values()] == ["AC", "T"]
    assert information(motifs["one"]).tolist() == pytest.approx([2, 1], abs=1e-6)


def test_importance_at_hits_of_either_strand():
    """A C G T forwards and A A C C backwards: what is read in the motif's direction adds up."""
    sequences = ["ACGTTTTT", "GGTTTTTT"]
    attributions = one_hot(sequences) * np.arange(1.0, 9.0) * [[[1.0]], [[2.0]]]
    hits = {0: (0, 4, "+"), 1: (0, 4, "-")}
    mean = aligned_mean(attributions, hits, 4)
    np.testing.assert_array_equal(mean, np.array([[1 + 8, 6, 0, 0], [0, 2, 4, 2], [0, 0, 3, 0], [0, 0, 0, 4]]) / 2)

    # The lowest importances of either sequence are inside; and where the motif says more, they are lower
    where = np.array(["chr1", "chr1"]), np.array([0, 1])
    motif = np.array([[0.25, 0.4, 0.7, 0.97], *[[0.25, 0.2, 0.1, 0.01]] * 3])
    found = beside_hits(attributions, hits, motif, where)
    inside = found["auroc of importance inside the hit"]
    assert (inside["value"], inside["n"], inside["low"]) == (0.0, 2, None)
    expected = np.corrcoef([4.5, 4, 3.5, 3], information(motif))[0, 1]
    assert found["correlation of mean importance and information content over the motif"] == pytest.approx(expected)
