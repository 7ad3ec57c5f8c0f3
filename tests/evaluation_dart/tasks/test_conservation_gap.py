"""The LL gap beside a derivation of MarinDNA's (aggregate_ll_gap at 319a0db), by three sorts of marks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyBigWig
import pytest
import torch

from datasets_dart import load_dart
from evaluation_dart import TASKS, evaluate
from evaluation_dart.models.language_model import load_language_model

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODEL = FIXTURES / "model" / "small_d32_l2_s130"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A contig of 3,000 bases in runs of capitals and small letters, 60 regions, and its capitals as BED and bigWig."""
    folder = tmp_path_factory.mktemp("conservation")
    rng = np.random.default_rng(1)
    letters = rng.choice([*"ACGT"], 3000)
    small = np.repeat(rng.random(300) < 0.6, 10)
    text = "".join(base.lower() if own else base for base, own in zip(letters, small, strict=True))
    (folder / "g.fa").write_text(f">chr5\n{text}\n")
    (folder / "capitals.fa").write_text(f">chr5\n{text.upper()}\n")
    (folder / "r.bed").write_text("".join(f"chr5\t{place}\t{place + 10}\n" for place in range(0, 3000, 50)))
    runs = [(10 * number, 10 * number + 10) for number in np.flatnonzero(~small[::10])]
    (folder / "c.bed").write_text("".join(f"chr5\t{start}\t{end}\n" for start, end in runs))
    with pyBigWig.open(str(folder / "c.bw"), "w") as track:
        track.addHeader([("chr5", 3000)])
        track.addEntries("chr5", 0, values=np.where(small, 0.5, 2.5).tolist(), span=1, step=1)
    return folder, text


def marin(text, starts, length):
    """Sums and counts over all targets, capitals and others; then the difference of their means."""
    scorer = load_language_model(MODEL, device="cpu")
    sums, counts = np.zeros(2), np.zeros(2)
    for start in starts:
        own = text[start : start + length]
        ids = scorer.tokenizer(own.upper(), add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_p = scorer.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].double().numpy()
        upper = np.array([letter.isupper() for letter in own[1:]])
        sums += log_p[upper].sum(), log_p[~upper].sum()
        counts += upper.sum(), (~upper).sum()
    return sums / counts


def test_the_gap_is_marindnas(inputs, tmp_path):
    folder, text = inputs
    options = {"regions": folder / "r.bed", "length": 100, "cache_dir": tmp_path / "cache"}
    record = evaluate(str(MODEL), "conservation_gap", genome=folder / "g.fa", output=tmp_path / "case", **options)
    rows = load_dart("conservation_gap", split="test", genome=folder / "g.fa", **options)
    assert len(rows) == 58  # the windows of the first and the last region do not lie within the contig
    assert "2 with a window beyond the contig, left out" in rows.info.description
    conserved, other = marin(text, rows["start"], 100)
    found = record.metrics
    assert found["ll_conserved"].value == pytest.approx(conserved, abs=1e-5)
    assert found["ll_gap"].value == pytest.approx(conserved - other, abs=1e-5)
    assert "conserved and" in found["ll_gap"].method
    for name, more in (("c.bed", {}), ("c.bw", {"threshold": 2})):
        given = options | {"genome": folder / "capitals.fa", "conserved": folder / name} | more
        same = evaluate(str(MODEL), "conservation_gap", output=tmp_path / name, **given)
        assert same.predictions().equals(record.predictions())


def test_the_jackknife_by_hand():
    rows = 12
    table = pa.table(
        {
            "chrom": ["chr1"] * rows,
            "start": [number * 1_000_000 for number in range(rows)],
            "conserved_sum": -1.0 * np.arange(1, rows + 1),
            "other_sum": np.full(rows, -20.0),
            "conserved_bases": np.full(rows, 10),
            "other_bases": np.full(rows, 10),
        }
    )
    found = TASKS["conservation_gap"].metrics(table)
    assert found["ll_gap"].value == pytest.approx(-0.65 + 2)
    reach = 2.200985160082949 * np.arange(rows).std(ddof=1) / 10 / np.sqrt(rows)
    assert found["ll_gap"].high - found["ll_gap"].value == pytest.approx(reach)
    none = table.set_column(4, "conserved_bases", pa.array([0] * rows)).set_column(
        2, "conserved_sum", pa.array([0.0] * rows)
    )
    assert "no base is conserved, or none is not" in TASKS["conservation_gap"].metrics(none)["ll_gap"].method


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conserved": "c.bw"}, "give both a bigWig of conservation and a threshold, or neither"),
        ({"threshold": 2}, "give both a bigWig of conservation and a threshold, or neither"),
        ({"conserved": "c.bw", "threshold": "high"}, "threshold='high' is not a number"),
        ({"length": 1}, "length=1 must be a whole number of at least 2"),
    ],
)
def test_what_cannot_be(options, message, inputs, tmp_path):
    folder, _ = inputs
    given = {name: folder / own if name == "conserved" else own for name, own in options.items()}
    with pytest.raises(ValueError, match=message):
        load_dart("conservation_gap", genome=folder / "g.fa", regions=folder / "r.bed", cache_dir=tmp_path, **given)
