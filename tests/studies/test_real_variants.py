"""The page of real variants says what its records say; scores are compared with the effects of their own alleles."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studies import real_variants
from studies.pages import DOCS, END, RECORDS, START
from studies.tables import PUBLISHED, VARIANT_RECIPES, published_table, read_named, variants_table


def test_the_page_shows_the_records():
    _, _, rest = (DOCS / "variants.md").read_text(encoding="utf-8").partition(START)
    records = [read_named(path) for path in (RECORDS / "variants").glob("*.json")]
    assert {record["recipe"]["name"] for record in records} == {recipe for recipe, _ in real_variants.RUNS}
    assert {recipe for recipe, _ in real_variants.RUNS} == set(VARIANT_RECIPES)
    shown = variants_table(RECORDS / "variants") + "\n" + published_table(PUBLISHED)
    assert rest.partition(END)[0].strip() == shown.strip()


def test_published_figures_beside_the_page():
    lines = published_table(PUBLISHED).splitlines()
    assert lines[0] == "| variants | model | average precision | Pearson, positives | read in |"
    of_alphagenome = [line for line in lines if "| AlphaGenome |" in line]
    assert [line.split(" | ")[2:4] for line in of_alphagenome] == [["0.564", "0.737"], ["0.631", "0.832"]]
    assert all(line.startswith("| not DART-Eval's rows: ") for line in of_alphagenome)


@pytest.mark.parametrize("distances", [False, True])
def test_scores_beside_effects(tmp_path, distances):
    rng = np.random.default_rng(0)
    alleles = {("chr20", 1000 + 5 * row, "A"): {"C": rng.normal(), "G": rng.normal()} for row in range(60)}
    rows = [
        {"chrom": chrom, "position": position, "ref": ref, "alt": alt, "score": abs(effect) if distances else effect}
        for (chrom, position, ref), effects in alleles.items()
        for alt, effect in effects.items()
    ]
    rows[3]["score"] = None
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "scores.parquet")
    metrics = real_variants.compare(alleles, tmp_path / "scores.parquet", distances, one_locus=True)
    assert metrics["pearson"]["n"] == 119
    assert metrics["spearman"]["value"] == pytest.approx(1)
    assert metrics["pearson"]["method"] == "no interval: every block says the same"
    assert ("direction_accuracy" in metrics) is not distances
