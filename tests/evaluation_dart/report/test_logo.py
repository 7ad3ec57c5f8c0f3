"""Logos and heat maps: coordinates from 1, lines of a hundred bases, units, and what is where."""

import numpy as np
import pytest

from evaluation_dart.report import logo
from evaluation_dart.report.logo import Panel, draw_heat_maps, draw_logos, lines_of, region_panel, scale_of, tick_step

pytest.importorskip("matplotlib", reason="the extra plot is not installed")


@pytest.fixture
def drawn(monkeypatch):
    kept = []
    monkeypatch.setattr(logo, "write_figure", lambda figure, path: kept.append(figure))
    return kept


def test_regions_are_titled_as_browsers_take_them():
    panel = region_panel("chr5", 5000, 5100, np.zeros((100, 4)))
    assert (panel.title, panel.first, panel.axis) == ("chr5:5,001-5,100", 5001, "position on chr5 (bp, from 1)")


def test_lines_have_a_hundred_bases_until_there_are_forty():
    def shape(*lengths):
        found = lines_of([Panel("x", np.zeros((length, 4))) for length in lengths])
        return [(line.start, len(line.values)) for line in found]

    assert shape(250) == [(0, 100), (100, 100), (200, 50)]
    assert shape(30, 120) == [(0, 30), (0, 100), (100, 20)]
    assert shape(4000)[-1] == (3900, 100)
    assert shape(4001)[:2] == [(0, 200), (200, 200)]


@pytest.mark.parametrize(("length", "step"), [(1, 1), (10, 1), (11, 2), (21, 5), (100, 10), (101, 20), (4000, 500)])
def test_steps_of_an_axis(length, step):
    assert tick_step(length) == step


def test_scale_is_of_stacks():
    assert scale_of(np.array([[1.0, 2, 0, 0], [0, -1, 0, 0]])) == pytest.approx((-1.2, 3.2))
    assert scale_of(np.zeros((3, 4))) == (-1, 1)


def test_a_heat_map_has_its_values_at_their_coordinates(drawn, tmp_path):
    values = np.zeros((120, 4))
    values[101] = [0.5, 0, -2, 1]
    values[3] = np.nan
    sequence = ["C"] * 120
    sequence[3] = "N"
    draw_heat_maps(tmp_path / "x.svg", [region_panel("chr5", 5000, 5120, values)], ["".join(sequence)], "change (nats)")
    first, second, bar = drawn[0].axes
    (image,) = second.images
    assert image.get_array()[:, 1].tolist() == [0.5, 0, -2, 1]  # rows are A, C, G, T
    assert (image.norm.vmin, image.norm.vmax) == (-2, 2)
    assert np.ma.getmaskarray(first.images[0].get_array())[:, 3].all()
    assert (first.lines[0].get_ydata() == 1).all()
    assert 3 not in first.lines[0].get_xdata()
    assert [text.get_text() for text in first.get_yticklabels()] == ["A", "C", "G", "T"]
    labels = [text.get_text() for text in first.get_xticklabels()]
    assert (labels[0], first.get_xticks()[0]) == ("5,010", 9)
    assert (second.get_xticklabels()[0].get_text(), second.get_xticks()[0]) == ("5,110", 9)
    assert (first.get_title("left"), second.get_title("left")) == ("chr5:5,001-5,120", "")
    assert (first.get_xlabel(), second.get_xlabel()) == ("", "position on chr5 (bp, from 1)")
    assert bar.get_ylabel() == "change (nats)"


def test_a_logo_has_its_letters_at_their_coordinates(drawn, tmp_path):
    pytest.importorskip("tangermeme", reason="the extra attribution is not installed")
    heights = np.zeros((30, 4))
    heights[9, 2] = 2  # a G at base 5,010
    heights[20, 3] = -1
    draw_logos(tmp_path / "x.svg", [region_panel("chr5", 5000, 5030, heights)], "importance (nats)")
    (axis,) = drawn[0].axes
    boxes = [path.get_extents() for path in axis.collections[0].get_paths()]
    assert [(round(box.y0, 6), round(box.y1, 6)) for box in boxes] == [(0, 2), (-1, 0)]
    tick = dict(zip((text.get_text() for text in axis.get_xticklabels()), axis.get_xticks(), strict=True))["5,010"]
    assert boxes[0].x0 < tick < boxes[0].x1
    assert axis.get_ylabel() == "importance (nats)"
    assert axis.get_ylim() == pytest.approx((-1.15, 2.15))
