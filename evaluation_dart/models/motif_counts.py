"""The motif baseline of task 3: a sequence is how often each motif occurs in it (DART-Eval spec section 4)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets_dart.alphabet import UNKNOWN, encode_bases
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import input_file, sha256
from datasets_dart.formats.meme import read_meme

P_VALUE = 1e-5  # of an occurrence, as in the original's exploration


class MotifCounts:
    """Embeddings without a model: log10(1 + occurrences) of each motif, on either strand, by FIMO.

    Occurrences have p < 1e-5 under equal frequencies of the bases, by memelite's implementation of FIMO (Grant et al.
    2011). The original's final notebook is lost; this follows its earlier exploration, but for the choice of motifs by
    their variance over the data set, so that a sequence's vector does not depend on the others.

    Attributes:
        motifs: name -> (4, width) probabilities.

    Raises:
        ImportError: naming the extra that holds memelite.
        FileNotFoundError, ValueError: if `path` holds no motifs.
    """

    device_name = "cpu"

    def __init__(self, path: str | os.PathLike[str]):
        try:
            import memelite  # noqa: F401  (here, so that the error comes first)
        except ImportError as error:
            raise MissingExtra("counting motifs", "motifs") from error
        file = input_file(os.fspath(path))
        self.motifs = {motif.name: np.asarray(motif.probabilities, np.float64).T for motif in read_meme(file)}
        self.path, self.name, self.revision = file, f"motifs:{path}", sha256(file)[:12]

    def describe(self) -> dict[str, Any]:
        """What a record says of the motifs."""
        name = self.path.name.partition(".")[0]
        return {"id": f"local/motif-counts-{name}", "revision": self.revision, "motifs": len(self.motifs)}

    def embed(self, sequences: Sequence[str]) -> np.ndarray:
        """(n, motifs) float32.

        Raises:
            InputError: for sequences of different lengths.
        """
        from memelite import fimo

        if len({len(sequence) for sequence in sequences}) > 1:
            raise InputError("motifs are counted in sequences of one length")
        codes = np.stack([encode_bases(sequence) for sequence in sequences])
        one_hot = (codes[:, None, :] == np.arange(UNKNOWN)[:, None]).astype(np.int8)
        counts = np.zeros((len(sequences), len(self.motifs)), np.float32)
        for column, hits in enumerate(fimo(self.motifs, one_hot, threshold=P_VALUE)):
            rows, occurrences = np.unique(hits["sequence_name"].to_numpy(), return_counts=True)
            counts[rows.astype(int), column] = occurrences
        return np.log10(1 + counts)
