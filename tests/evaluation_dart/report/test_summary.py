"""Reports: what is drawn, by the values on the axes; the tables; and the commands that write them."""

import numpy as np
import pytest

from datasets_dart.errors import InputError
from evaluation_dart.report.summary import boards_of, write_summary
from tests.evaluation_dart.report.test_closer import classes, motifs  # noqa: F401
from tests.evaluation_dart.report.test_report import run, submit
from tests.evaluation_dart.test_comparison import made, pairs_table

pytest.importorskip("matplotlib", reason="the extra plot is not installed")
BLOCKS = np.repeat(np.arange(12), 5)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, by the names of their files."""
    kept = {}
    for module in ("figures", "distances"):
        monkeypatch.setattr(
            f"evaluation_dart.report.{module}.write_figure",
            lambda figure, path: (kept.__setitem__(path.name, figure), path.touch()),
        )
    return kept


def two_models(tmp_path):
    """Two models of task 1 on 60 rows: a right in all of them but the first five, b in every other one."""
    right = np.ones(60)
    a = made(tmp_path, pairs_table(np.where(np.arange(60) < 5, -1, right), np.zeros(60), BLOCKS), "org/a")
    b = made(tmp_path, pairs_table(np.where(np.arange(60) % 2, 1, -1), np.zeros(60), BLOCKS), "org/b-random-weights")
    return a, b


def squares(axis):
    """Row label -> value and the ends of its interval, as they are drawn."""
    labels = [text.get_text().replace("\n", " ") for text in axis.get_yticklabels()]
    found = {}
    for line in axis.lines:
        places = set(line.get_ydata())
        if line.get_linestyle() == ":" or len(places) != 1:
            continue
        own = found.setdefault(labels[int(places.pop())], {})
        if line.get_marker() == "s":
            own["value"] = line.get_xdata()[0]
        else:
            own["low"], own["high"] = line.get_xdata()
    return found


def dotted(axis):
    return [float(line.get_xdata()[0]) for line in axis.lines if line.get_linestyle() == ":"]


def test_a_forest_plot_has_values_intervals_and_chance(tmp_path, drawn):
    records = two_models(tmp_path)
    assert write_summary(records, tmp_path / "report", [".svg"]) == []
    (axis,) = drawn["regulatory_elements_zero_shot_likelihood_forest.svg"].axes
    found = squares(axis)
    assert found["org/a"]["value"] == 55 / 60
    assert found["org/b-random-weights"]["value"] == 0.5
    for record in records:
        metric = record.metrics["accuracy"]
        assert found[record.model["id"]] == {"value": metric.value, "low": metric.low, "high": metric.high}
    assert dotted(axis) == [0.5]
    assert axis.get_xlabel() == ("accuracy (share, 0 to 1), 95 % interval; dotted: chance, 0.5; light: controls")


def test_differences_are_those_of_the_pairs(tmp_path, drawn):
    write_summary(two_models(tmp_path), tmp_path / "report", [".svg"])
    figure = drawn["regulatory_elements_zero_shot_likelihood_differences.svg"]
    by_unit = {axis.get_title("left"): axis for axis in figure.axes}
    found = squares(by_unit["share, 0 to 1"])
    # rows 0 to 4: a wrong, b right in 1 and 3; of the other 55, b wrong in 27: rows 6, 8, ... 58
    assert found["accuracy"]["value"] == pytest.approx((27 + 0 - 2) / 60)
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]
    assert all(dotted(axis) == [0.0] for axis in figure.axes)
    assert figure.get_suptitle().startswith("org/a - org/b-random-weights; 1: regulatory elements")


def test_reliability_has_bins_n_and_intervals(tmp_path, drawn):
    logit = np.log(3)  # of a probability of 3/4, and 1/4 of the control
    own = np.where(np.arange(60) % 4 == 0, -logit, logit)
    record = made(tmp_path, pairs_table(own, -own, BLOCKS), "org/p", setting="probed")
    assert write_summary([record], tmp_path / "report", [".svg"]) == []
    axis, counts = drawn["regulatory_elements_probed_calibration.svg"].axes
    diagonal, curve = axis.lines
    assert (list(diagonal.get_xdata()), list(diagonal.get_ydata())) == ([0, 1], [0, 1])
    assert list(curve.get_xdata()) == pytest.approx([0.25, 0.75])
    assert list(curve.get_ydata()) == pytest.approx([15 / 60, 45 / 60])
    low, high = axis.collections[0].get_segments()[1][:, 1]
    assert 0.5 < low < 0.75 < high < 1
    (marks,) = counts.lines
    assert list(marks.get_ydata()) == [60, 60]
    assert axis.get_ylabel() == "observed share, 95 % interval"
    assert counts.get_xlabel() == "predicted probability of an element"
    assert counts.get_ylabel() == "rows in the bin"


def test_motifs_and_chromosomes(tmp_path, drawn, motifs):  # noqa: F811
    record = motifs({"KLF4.X": 9, "KLF5.X": 0.5})
    table = pairs_table(np.where(np.arange(60) < 45, 1, -1), np.zeros(60), BLOCKS)
    table = table.set_column(1, "chrom", [["chr5"] * 40 + ["chr6"] * 20])
    write_summary([record, made(tmp_path, table)], tmp_path / "report", [".svg"])
    curve, families = drawn["motif_footprinting_zero_shot_likelihood_motifs.svg"].axes
    assert curve.lines[0].get_ydata()[0] == 1  # KLF4.X, right in all trials
    assert list(curve.lines[0].get_xdata()) == [1, 2, 3]
    assert [text.get_text() for text in families.get_yticklabels()] == ["KLF", "SP"]
    (axis,) = drawn["regulatory_elements_zero_shot_likelihood_chromosomes.svg"].axes
    assert {name: own["value"] for name, own in squares(axis).items()} == {"chr5": 1.0, "chr6": 0.25}
    assert dotted(axis) == [0.5]


def test_chance_of_the_shares_of_classes_is_drawn_from_permutations(tmp_path, drawn, classes):  # noqa: F811
    (board,) = boards_of([classes])
    write_summary([classes], tmp_path / "report", [".svg"])
    (axis,) = drawn["cell_type_elements_probed_forest.svg"].axes
    assert dotted(axis) == [board.chance]
    assert board.chance == pytest.approx(1 / 3, abs=0.05)  # three classes of 30 rows each


def test_tables_in_markdown_and_latex(tmp_path):
    a, b = two_models(tmp_path)
    write_summary([a, b], tmp_path / "report")
    page, tex = ((tmp_path / "report" / name).read_text() for name in ("report.md", "report.tex"))
    metric = a.metrics["accuracy"]
    ends = f"{metric.low:.4g}, {metric.high:.4g}"
    assert page.startswith("# Report of DART-Eval records\n\n2 records on 1 board. ")
    assert "## 1: regulatory elements against their shuffled controls; zero-shot, by likelihood\n" in page
    assert f"| org/a | 0.9167 | \\[{ends}\\] | 60 |  |\n" in page
    assert "| org/b-random-weights | 0.5 | " in page
    assert "| untrained twin |\n" in page
    assert "| org/a - org/b-random-weights | 0.4167 | \\[" in page
    assert "figures/" not in page
    assert not (tmp_path / "report/figures").exists()
    assert f"org/a & 0.9167 & [{ends}] & 60 &  \\\\\n" in tex
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == 3
    assert "95 \\% interval" in tex


def test_what_is_in_the_way_stays(tmp_path):
    records, output = two_models(tmp_path), tmp_path / "report"
    write_summary(records, output, [".svg"])
    before = {path.name: path.read_bytes() for path in output.rglob("*.*") if path.is_file()}
    write_summary(records, output, [".svg"])
    assert {path.name: path.read_bytes() for path in output.rglob("*.*") if path.is_file()} == before
    write_summary(records[:1], output, [".svg"])  # nothing of the pair is left
    assert sorted(path.name for path in (output / "figures").iterdir()) == [
        "regulatory_elements_zero_shot_likelihood_forest.svg"
    ]
    (output / "report.md").write_text("mine")
    with pytest.raises(InputError, match=r"report\.md: already exists, and is not of a report"):
        write_summary(records, output)
    other = tmp_path / "other"
    (other / "figures").mkdir(parents=True)
    (other / "figures/mine.png").touch()
    with pytest.raises(InputError, match="figures: already exists, and is not of a report"):
        write_summary(records, other)


def test_the_command_writes_a_report_with_pictures(tmp_path, capsys, monkeypatch):
    root, output = tmp_path / "results", tmp_path / "report"
    submit(root)
    submit(root, model="org/other", seed=1)
    command = ("report", root, "--output", output, "--dataset", "org/dart-eval")
    status, out, err = run(capsys, monkeypatch, *command)
    assert (status, err) == (0, "")
    assert out.endswith(f"\n{output / 'report.md'}\n")
    board = "regulatory_elements_zero_shot_likelihood"
    assert sorted(path.name for path in (output / "figures").iterdir()) == [
        f"{board}_{look}.{ending}" for look in ("differences", "forest") for ending in ("png", "svg")
    ]
    assert (output / f"figures/{board}_forest.png").read_bytes().startswith(b"\x89PNG")
    assert f"](figures/{board}_forest.png)" in (output / "report.md").read_text()
    status, _, _ = run(capsys, monkeypatch, *command, "--no-figures")
    assert (status, (output / "figures").exists()) == (0, False)
    monkeypatch.setattr("evaluation_dart.report.figures.find_spec", lambda name: None)
    status, _, err = run(capsys, monkeypatch, *command)
    assert status == 0
    assert "no figures: drawing them needs more packages: pip install 'hyenadna-dart[plot]'\n" in err
