"""Which allele a measured effect is of: each real table is checked against another of its columns before it is used."""

import gzip

import numpy as np
import pytest

from studies.real_inputs import DSQTL_PAIRS, DSQTLS, MUTAGENESIS, dsqtl_pairs, dsqtl_rows, mutagenesis_rows

DSQTL = ("id_hg18", "chrom", "pos_hg19", "ref_hg19", "alt", "vcf_alt", "beta", "high_allele", "low_allele")


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def write_dsqtls(data, turned=()):
    """Two variants, of the second of which beta is the effect of the genome's base; `turned`: rows with a fault."""
    rows = [
        ["chr20.10", "chr20", "10", "A", "G", "G", 0.5, "G", "A"],
        ["chr20.20", "chr20", "20", "C", "T", "C", 0.7, "C", "T"],
    ]
    for row in turned:
        rows[row][6] *= -1
    write(data / DSQTLS, ["\t".join(DSQTL), *("\t".join(map(str, row)) for row in rows)])


def test_dsqtl_effects_are_turned_to_alt_and_checked_against_the_more_accessible_allele(tmp_path):
    write_dsqtls(tmp_path)
    assert [float(row["beta"]) for row in dsqtl_rows(tmp_path)] == [0.5, -0.7]
    for row, name in enumerate(("chr20.10", "chr20.20")):
        write_dsqtls(tmp_path, [row])
        with pytest.raises(ValueError, match=f"{name}: beta has not the sign of high_allele"):
            dsqtl_rows(tmp_path)


def test_pairs_of_dsqtls_have_the_low_allele_first(tmp_path):
    write_dsqtls(tmp_path)
    low, high = (tmp_path / path for path in DSQTL_PAIRS.values())
    write(low, [">chr20.10", "TTATT", ">chr20.20", "GGTGG"])
    write(high, [">chr20.10", "TTGTT", ">chr20.20", "GGCGG"])
    pairs = dsqtl_pairs(tmp_path)
    assert pairs["sequence2"][:] == ["TTGTT", "GGCGG"]
    assert set(pairs["effect"]) == {1.0}
    assert set(pairs["effect_allele"]) == {2}
    low.rename(tmp_path / "other")
    high.rename(low)
    (tmp_path / "other").rename(high)
    with pytest.raises(ValueError, match=r"chr20\.10: has not the high allele"):
        dsqtl_pairs(tmp_path)


@pytest.mark.parametrize("sign", [1, -1])
def test_mutagenesis_rises_with_expression(tmp_path, sign):
    ratio = np.random.default_rng(0).normal(size=30)
    lines = [
        f"chr20\t{row}\tA\tC\t20\t{100 * np.exp(value):.4f}\t100\t{sign * value:.4f}" for row, value in enumerate(ratio)
    ]
    write(tmp_path / MUTAGENESIS, ["Chrom\tPos\tRef\tAlt\tBarcodes\tRNA\tDNA\tCoefficient", *lines])
    if sign > 0:
        assert len(mutagenesis_rows(tmp_path)) == 30
    else:
        with pytest.raises(ValueError, match=r"Coefficient is not the effect of Alt: r -1\.00"):
            mutagenesis_rows(tmp_path)
