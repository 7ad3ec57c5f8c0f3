"""Tables in memory in place of files."""

import numpy as np
import pandas as pd
import pytest

from datasets_dart.formats.vcf import read_records
from evaluation_dart.tools.loading import REGION_COLUMNS, VARIANT_COLUMNS, as_file

VARIANTS = {"CHROM": [1, 2], "pos": [5.0, 7.0], "ref": ["A", "C"], "alt": ["T", None]}


def test_columns_under_their_names_and_whole_numbers_as_floats():
    with as_file(pd.DataFrame(VARIANTS), VARIANT_COLUMNS, "v.vcf") as path:
        one, two = read_records(path)
    assert (one.chrom, one.position, one.reference, one.alternatives) == ("1", 5, "A", ("T",))
    assert (two.chrom, two.position, two.reference, two.alternatives) == ("2", 7, "C", ())


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({"pos": [5.0, np.nan]}, VARIANT_COLUMNS, r"row 1 of the table: pos is '\.', not a whole number >= 0"),
        ({"pos": [5.5, 7]}, VARIANT_COLUMNS, r"row 0 of the table: pos is '5\.5', not a whole number >= 0"),
        ({"pos": ["1e5", "7"]}, VARIANT_COLUMNS, r"row 0 of the table: pos is '1e5', not a whole number"),
        ({"POS": [5, 7]}, VARIANT_COLUMNS, "several columns that may be its position: pos, POS"),
        ({"reference": ["A", "C"]}, VARIANT_COLUMNS, "several columns that may be its ref: ref, reference"),
        ({"alt": ["T\t.", "G"]}, VARIANT_COLUMNS, "an allele with a tab"),
        ({}, REGION_COLUMNS, "the table has no column 'start' among CHROM, pos, ref, alt"),
        (
            {"start": [-1, 2], "end": [4, 5]},
            REGION_COLUMNS,
            "row 0 of the table: start is '-1', not a whole number >= 0",
        ),
    ],
)
def test_tables_that_cannot_be(change, columns, message):
    with pytest.raises(ValueError, match=message), as_file(pd.DataFrame(VARIANTS | change), columns, "file"):
        pass
