"""A bigWig as a model: the value of a track where a row lies, such as conservation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, sha256
from datasets_dart.formats.bigwig import Signal


class Track:
    """Predictions from a bigWig: its value at a variant's base, which speaks for the effect allele, or a window's mean.

    Raises:
        FileNotFoundError: naming the file. InputError: if it is no bigWig.
    """

    device_name = "as given"

    def __init__(self, path: str):
        file = input_file(path)
        self.name, self.revision = f"track:{path}", sha256(file)[:12]
        self.id = f"track/{file.name.partition('.')[0]}"
        self.signal = Signal(file)

    def describe(self) -> dict[str, Any]:
        """What a record says of the track."""
        return {"id": self.id, "revision": self.revision}

    def columns(self, batch: Mapping[str, Sequence[Any]], keys: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
        """Of alleles, the value at the variant's base for the effect allele and 0 for the other; else a window's mean.

        Raises:
            InputError: naming a row without a value, or for rows that are neither variants nor windows.
        """
        if tuple(names) == ("score1", "score2"):
            values = self.means(batch["chrom"], np.array(batch["position"]) - 1, np.array(batch["position"]))
            allele = np.array(batch["effect_allele"])
            return {name: np.where(allele == number, values, 0.0) for number, name in enumerate(names, 1)}
        if tuple(names) == ("prediction",) and "end" in batch:
            return {"prediction": self.means(batch["chrom"], np.array(batch["start"]), np.array(batch["end"]))}
        raise InputError(f"{self.name}: a track predicts variants and windows, not {', '.join(names)}")

    def means(self, chrom: Sequence[str], start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Mean of the track over each interval, (n,) float64."""
        values = np.empty(len(chrom))
        for row, (contig, first, last) in enumerate(zip(chrom, start.tolist(), end.tolist(), strict=True)):
            own = find_contig(contig, self.signal.contigs)
            if own is None or last > self.signal.contigs[own]:
                raise InputError(f"{self.name}: no contig {contig}, or none as long as {last}")
            (value,) = self.signal.handle.stats(own, first, last, exact=True)
            if value is None or not math.isfinite(value):
                raise InputError(f"{self.name}: no value at {contig}:{first}-{last} (0-based)")
            values[row] = value
        return values
