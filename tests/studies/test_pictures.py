"""The pictures of docs/pictures.md, of a few variants and regions."""

from pathlib import Path

import pytest

from datasets_dart.formats.fasta import open_genome
from evaluation_dart.report.variant_figures import variant_class
from studies import pictures
from trainer_scripts.demo import write_inputs


def test_variants_of_every_class_and_regions_with_two_names(tmp_path):
    folder = tmp_path / "inputs"
    write_inputs(folder)
    genome = open_genome(folder / "genome.fa.gz")
    rows = [line.split("\t") for line in pictures.write_variants(folder, genome, 3).read_text().splitlines()[2:]]
    assert [variant_class(row[3], row[4]) for row in rows] == ["SNV", "other", "deletion", "insertion"] * 3
    for contig, position, _, ref, *_ in rows:
        start = int(position) - 1
        assert genome.fetch(contig, start, start + len(ref)).upper() == ref
    regions = [line.split("\t") for line in pictures.write_regions(folder, genome, 3).read_text().splitlines()]
    assert [row[3] for row in regions] == ["CpG island", "700 bp before one"] * 3
    assert all("N" not in genome.fetch(chrom, int(start), int(end)) for chrom, start, end, _ in regions)


def test_pictures_are_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    pytest.importorskip("tangermeme", reason="the extra attribution is not installed")
    pictures.draw(tmp_path, places=2, islands=2, bases=6)
    commands = {"scores.png", "pca.png", "logo.png", "heat_map.png", "dependencies.png"}
    assert {path.name for path in tmp_path.iterdir()} == commands


def test_pictures_of_a_report_are_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_inputs(tmp_path / "inputs")
    output = tmp_path / "pictures"
    output.mkdir()
    records = list(pictures.runs(tmp_path / "results", tmp_path / "inputs", limit=24))
    pictures.draw_report(output, records, tmp_path / "inputs/genome.fa.gz")
    pictures.draw_calibration(output, rows=100)
    drawn = {path.name for path in output.iterdir()}
    assert drawn >= {"forest.png", "differences.png", "pair.png", "strata.png", "distances.png", "calibration.png"}
    assert drawn <= {path.name for path in pictures.PICTURES.iterdir()}


def test_pictures_of_the_page_are_small():
    page = (Path(pictures.PICTURES).parent / "pictures.md").read_text()
    for path in pictures.PICTURES.iterdir():
        assert path.stat().st_size < 100_000, path.name
        assert f"(pictures/{path.name})" in page
