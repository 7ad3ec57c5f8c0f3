"""sentence-transformers: a folder's name is enough, and the vectors are those of `hyenadna embed`."""

import numpy as np
import pytest

from evaluation_dart import load_scorer

st = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


def test_a_folder_pools_the_mean_over_the_bases(folder, sequences):
    vectors = st.SentenceTransformer(folder, device="cpu").encode(sequences, batch_size=3)
    np.testing.assert_allclose(vectors, load_scorer(folder).embed(sequences), atol=1e-5)


def test_saved_again_it_keeps_its_pooling(folder, sequences, tmp_path):
    model = st.SentenceTransformer(folder, device="cpu")
    model.save(str(tmp_path))
    again = st.SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(again.encode(sequences), model.encode(sequences), atol=1e-6)
