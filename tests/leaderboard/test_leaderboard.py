"""The leaderboard in a real browser: it renders, sorts, filters, and takes what it shows for text."""

import csv
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import struct
import threading
import zlib
from itertools import combinations
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from evaluation_dart import compare
from evaluation_dart.comparison import same_rows
from evaluation_dart.records import load_record
from evaluation_dart.report.leaderboard import (
    add_differences,
    build,
    differences_of,
    hub_address,
    names_of_data,
    published_rows,
    script,
)
from tests.evaluation_dart.report.test_report import submit

ROOT = Path(__file__).parents[2]
LEADERBOARD = ROOT / "leaderboard"
PICTURE = ROOT / "docs/leaderboard.png"
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"></script><script>document.title='pwned'</script>"


def row(model="org/model", value=0.5, **other):
    metric = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 100, "higher_is_better": True}
    about = {"task": "regulatory_elements", "setting": "probed", "model": model, "revision": "abc", "parameters": 1000,
             "context": 350, "protocol": "fixed", "recipe": "r", "data": "elements", "baseline": False, "source": "run",
             "control": "", "permuted": {},
             "date": "2026-11-21", "headline": "accuracy", "metrics": {"accuracy": metric}, "link": None}  # fmt: skip
    return about | other


@pytest.fixture
def site(tmp_path):
    """The leaderboard's files on a local port: `site(rows)` shows these, `site()` what is in the repository."""
    shutil.copytree(LEADERBOARD, tmp_path / "site")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def end_headers(self):  # a file written twice within a second would count as unchanged
            self.send_header("Cache-Control", "no-store")
            super().end_headers()

    handler = functools.partial(Quiet, directory=tmp_path / "site")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def address(rows=None):
        if rows is not None:
            (tmp_path / "site/data.js").write_text(script(rows))
        return f"http://127.0.0.1:{server.server_port}/"

    yield address
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.problems, page.addresses = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: page.addresses.append(request.url))
    yield page
    assert page.problems == []
    page.close()


def test_published_figures_say_where_they_were_read_and_of_how_many_variants():
    """Files by repository, branch and commit; what was quoted, and rows that are not the benchmark's, say so."""
    groups = json.loads((LEADERBOARD / "published.json").read_text())
    rows = published_rows(LEADERBOARD / "published.json")
    assert len(rows) == sum(len(group["models"]) for group in groups)
    for row in rows:
        if row["source"] != "quoted":
            assert re.fullmatch(r"https://github\.com/\w+/DART-Eval/blob/[0-9a-f]{40}/\S+\.(ipynb|png)", row["link"])
    (finetuned,) = (
        row for row in rows if (row["model"], row["setting"], row["data"][-6:]) == ("Caduceus", "finetuned", "caQTLs")
    )
    assert finetuned["where"] == (
        "kundajelab/DART-Eval, branch regulatory_lm, commit 803ace5, "
        "Finetuned_Final_Counts_RegulatoryLM.ipynb, cell 5; the later run, of six models"
    )
    assert {name: metric["n"] for name, metric in finetuned["metrics"].items()} == {
        "auroc": 84_820, "auprc": 84_820, "pearson": 6_821, "spearman": 6_821
    }  # fmt: skip
    others = [row for row in rows if row["model"] in ("AlphaGenome", "Borzoi (ensemble)")]
    assert {row["data"].partition(":")[0] for row in others} == {"not DART-Eval's rows"}
    assert all(row["baseline"] and row["metrics"]["auprc"]["n"] is None for row in others)


def models(page):
    return page.locator("th.model").evaluate_all("cells => cells.map(cell => cell.firstChild.textContent)")


def test_what_the_repository_shows(page, site):
    address = site()
    page.goto(address)
    tasks = page.locator("#task option").all_inner_texts()
    assert [task[0] for task in tasks] == ["1", "2", "3", "4", "5"]
    page.goto(address + "#task=variant_effects&setting=zero_shot_likelihood&metric=auroc")
    page.reload()
    assert "DART-Eval: African caQTLs" in page.locator("h2").all_inner_texts()
    section = page.locator("section[data-board='DART-Eval: African caQTLs']")
    assert "0.525" in section.locator("tbody tr").first.inner_text()
    source = section.locator("td[data-label=Source] a").first.get_attribute("href")
    assert source.startswith("https://github.com/kundajelab/DART-Eval")
    assert all(url.startswith((address, "data:")) for url in page.addresses)


def test_runs_link_to_their_records(page, site):
    address = site()
    page.goto(address + "#task=regulatory_elements&setting=zero_shot_likelihood&source=run")
    links = page.locator("td[data-label=Source] a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    assert links
    for link in links:
        record = json.loads((LEADERBOARD / link).read_text())
        assert record["task"] == "regulatory_elements"
    assert page.locator("tr.control .tag").count() > 0


def test_sorts_by_every_column_and_keeps_the_keyboard_there(page, site):
    rows = [row("b", 0.6, parameters=None), row("a", 0.7, parameters=5), row("c", 0.5, parameters=9)]
    page.goto(site(rows))
    assert models(page) == ["a", "b", "c"]
    assert page.locator("th[aria-sort=descending]").inner_text() == "accuracy"
    page.locator("th button[data-column=value]").focus()
    page.keyboard.press("Enter")
    assert models(page) == ["c", "b", "a"]
    assert page.evaluate("document.activeElement.dataset.column") == "value"
    page.locator("th button[data-column=model]").click()
    assert models(page) == ["a", "b", "c"]
    for expected in (["a", "c", "b"], ["c", "a", "b"]):  # what has no number stays last
        page.locator("th button[data-column=parameters]").click()
        assert models(page) == expected


def test_lower_is_better_starts_ascending(page, site):
    metric = {"value": 1.0, "low": None, "high": None, "n": 5, "higher_is_better": False}
    rows = [row(name, metrics={"perplexity": metric | {"value": value}}) for name, value in (("a", 3.0), ("b", 2.0))]
    page.goto(site(rows))
    assert models(page) == ["b", "a"]
    assert page.locator("svg[role=img]").first.get_attribute("aria-label") == "2.000, no interval"


def test_filters(page, site):
    rows = [
        row("one", protocol="paper", parameters=2_000_000, context=2114),
        row("two", baseline=True, parameters=None, source="paper table"),
        row("three", setting="finetuned"),
    ]
    page.goto(site(rows))
    assert set(models(page)) == {"one", "two"}
    page.locator("#baselines").uncheck()
    assert models(page) == ["one"]
    page.locator("#baselines").check()
    page.locator("#protocol").select_option("fixed")
    assert models(page) == ["two"]
    page.locator("#protocol").select_option("")
    page.locator("#parameters").select_option("10000000")
    assert models(page) == ["one"]
    page.locator("#parameters").select_option("1000000")
    assert models(page) == []
    assert page.locator("#count").inner_text() == "0 of 3 results"
    page.locator("#parameters").select_option("")
    page.locator("#context").select_option("1000")
    assert models(page) == ["one"]
    page.locator("#context").select_option("")
    page.locator("#source").select_option("paper table")
    assert models(page) == ["two"]
    page.locator("#source").select_option("")
    page.locator("#model").fill("ON")
    assert models(page) == ["one"]
    page.locator("#model").fill("")
    page.locator("#setting").select_option("finetuned")
    assert models(page) == ["three"]
    page.reload()  # the address says what is shown
    assert models(page) == ["three"]


def test_different_data_are_different_boards(page, site):
    page.goto(site([row("a", data="elements"), row("b", data="other elements")]))
    assert page.locator("section h2").all_inner_texts() == ["elements", "other elements"]


def test_hostile_values_stay_text(page, site):
    rows = [
        row(HOSTILE, data=HOSTILE, recipe=HOSTILE, link="javascript:document.title='pwned'", revision=HOSTILE),
        row("b", data=HOSTILE, link="records/../../secret", source=HOSTILE, task=HOSTILE, setting=HOSTILE),
    ]
    page.goto(site(rows))
    assert page.title() == "DART-Eval leaderboard"
    page.locator("#task").select_option("regulatory_elements")
    assert page.locator("th.model").first.inner_text().startswith(HOSTILE)
    assert page.locator("#boards img, #boards script, tbody a").count() == 0
    page.locator("#task").select_option(HOSTILE)
    assert page.locator("tbody tr").count() == 1
    assert page.locator("tbody a").count() == 0
    assert page.title() == "DART-Eval leaderboard"


def test_data_cannot_end_the_script():
    text = script([row(HOSTILE + "\u2028")])
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text.removeprefix("window.ROWS = ").removesuffix(";\n"))[0]["model"] == HOSTILE + "\u2028"


def test_controls_come_first_and_are_marked(page, site):
    chance = [{"accuracy": {"value": value, "low": value - 0.2, "high": value + 0.2}} for value in (0.4, 0.6)]
    rows = [
        row("best", 0.9, permuted=chance[0]),
        row("worst", 0.2, permuted=chance[1]),
        row("markov", 0.3, control="Markov model", baseline=True),
        row("gc", 0.8, control="GC content", baseline=True),
        row("network", 0.85, baseline=True),
    ]
    page.goto(site(rows))
    assert models(page) == ["gc", "labels permuted", "markov", "best", "network", "worst"]
    assert page.locator("tr.control .tag").all_inner_texts() == [
        "control: GC content", "control: labels permuted", "control: Markov model",
    ]  # fmt: skip
    mean = page.locator("tr.control", has_text="labels permuted")
    assert "0.500 [0.200 to 0.800]" in mean.inner_text()
    assert "mean over 2 records" in mean.inner_text()
    assert mean.locator("svg").get_attribute("aria-label") == "0.500, least and most of permutations 0.200 to 0.800"
    page.locator("th button[data-column=value]").click()
    assert models(page) == ["markov", "labels permuted", "gc", "worst", "network", "best"]
    page.locator("#baselines").uncheck()
    assert models(page) == ["worst", "best"]


def test_numbers_of_tokens_are_a_control_of_their_model(page, site):
    tokens = {"accuracy_of_fewer_tokens": row()["metrics"]["accuracy"] | {"value": 0.65}}
    page.goto(site([row("bpe", 0.7, metrics=row(value=0.7)["metrics"] | tokens), row("bases", 0.6)]))
    assert models(page) == ["bpe", "bpe", "bases"]
    assert page.locator("tr.control").inner_text().startswith("bpecontrol: fewer tokens")
    assert "0.650" in page.locator("tr.control").inner_text()


def test_a_board_says_which_controls_it_lacks(page, site, tmp_path):
    rows = [row("a"), row("b", data="others", permuted={"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}})]
    address = site(rows)
    data = tmp_path / "site/data.js"
    expected = {"regulatory_elements": {"probed": ["labels permuted", "k-mers"]}}
    data.write_text(data.read_text() + script(expected, "CONTROLS"))
    page.goto(address)
    lacking = [page.locator(f"section[data-board='{name}'] .lacking").inner_text() for name in ("elements", "others")]
    assert lacking == ["No control: labels permuted; k-mers.", "No control: k-mers."]


def test_the_interval_of_independent_rows_is_in_the_tooltip(page, site):
    metric = row()["metrics"]["accuracy"] | {
        "method": "of blocks",
        "iid": {"low": 0.45, "high": 0.55, "method": "of rows"},
    }
    page.goto(site([row(metrics={"accuracy": metric})]))
    assert page.locator("tbody td.interval").get_attribute("title") == (
        "95 % interval 0.400 to 0.600 (of blocks), if rows were independent of one another: 0.450 to 0.550 (of rows)"
    )


def test_two_thousand_rows_stay_usable(page, site):
    page.goto(site([row(f"org/model-{index:04d}", index / 2000) for index in range(2000)]))
    assert page.locator("tbody tr").count() == 2000
    page.locator("th button[data-column=model]").click()
    assert models(page)[:2] == ["org/model-0000", "org/model-0001"]
    page.locator("#model").fill("model-19")
    assert page.locator("tbody tr").count() == 100


def test_fits_a_phone(browser, site):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(site())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("th button[data-column=model]").first.click()
    first = page.locator("section").first.locator("th.model").all_inner_texts()
    assert first == sorted(first, key=str.lower)
    page.close()


def test_committed_data_are_those_of_the_records(tmp_path):
    shutil.copytree(LEADERBOARD, tmp_path / "leaderboard")
    before = (tmp_path / "leaderboard/data.js").read_text()
    rows, skipped = build(tmp_path / "leaderboard")
    assert skipped == []
    assert (tmp_path / "leaderboard/data.js").read_text() == before
    assert rows == before.count('"task":')


def test_labels_are_permuted_where_a_record_comes_to_the_board(tmp_path):
    shutil.copytree(LEADERBOARD, tmp_path / "board", ignore=shutil.ignore_patterns("records"))
    folder = submit(tmp_path / "records")
    build(tmp_path / "board", [folder])
    (controls,) = (tmp_path / "board/records").rglob("controls.json")
    accuracy = json.loads(controls.read_text())["labels_permuted"]["accuracy"]
    assert accuracy["permutations"] == 20
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    text = (tmp_path / "board/data.js").read_text()
    assert f'"accuracy":{{"value":{accuracy["value"]},"low":{accuracy["low"]},"high":{accuracy["high"]}}}' in text
    controls.write_text('{"labels_permuted": {"accuracy": 3}}')
    with pytest.raises(ValueError, match=r"controls\.json: not metrics with labels permuted"):
        build(tmp_path / "board")


VIEWS = (
    "",
    "#task=variant_effects&setting=zero_shot_likelihood&metric=auroc&plots=true",
    "#view=overview",
    "#view=compare",
)


def metric(value, half=0.1, **other):
    return {"value": value, "low": value - half, "high": value + half, "n": 100, "higher_is_better": True} | other


def address_of(page):
    return page.evaluate("location.href")


def test_a_metric_has_one_scale_with_ticks_and_chance(page, site):
    rows = [row("a", metrics={"auroc": metric(0.5)}), row("b", metrics={"auroc": metric(0.9)}, data="other")]
    page.goto(site(rows) + "#metric=auroc")
    assert page.locator("svg.ticks text").all_text_contents() == ["0.4", "0.6", "0.8", "1.0"] * 2
    mark = page.locator("svg[role=img] circle").first
    assert mark.get_attribute("cx") == "21.33%"  # 7 % + 86 % of (0.5 - 0.4) / (1.0 - 0.4)
    assert (
        page.locator("svg[role=img] .chance").evaluate_all("lines => lines.map(l => l.getAttribute('x1'))")
        == ["21.33%"] * 2
    )
    assert page.locator("svg[role=img] .range").last.get_attribute("x1") == "64.33%"
    assert page.locator("svg[role=img] .range").last.get_attribute("x2") == "93.00%"
    page.locator("#model").fill("a")  # what is filtered away does not change the scale
    assert page.locator("svg.ticks text").all_text_contents() == ["0.4", "0.6", "0.8", "1.0"]
    assert page.locator("tr.scale").inner_text().strip().endswith("dashed: chance, 0.500")


def test_chance_is_of_the_definition_else_of_permuted_labels_else_not_known(page, site):
    chance = {"accuracy": {"value": 0.25, "low": 0.2, "high": 0.3}}
    rows = [
        row("a", data="permuted", permuted=chance),
        row("b", data="nothing"),
        row("c", setting="zero_shot_likelihood", data="pairs"),
    ]
    page.goto(site(rows) + "#setting=probed")
    said = page.locator("tr.scale").all_inner_texts()
    assert [text.strip().splitlines()[-1].strip() for text in said] == [
        "dashed: chance, 0.250", "chance is not known here",
    ]  # fmt: skip
    page.locator("#setting").select_option("zero_shot_likelihood")
    assert page.locator("tr.scale").inner_text().strip().endswith("dashed: chance, 0.500")


def test_models_link_to_the_hub(page, site):
    address = "https://huggingface.co/org/model/tree/" + "a" * 40
    rows = [
        row("org/model", hub=address),
        row("x", 0.4, hub="https://huggingface.co.evil/a/b"),
        row("y", 0.3, hub=None),
    ]
    page.goto(site(rows))
    assert page.locator("th.model a").evaluate_all("links => links.map(l => l.href)") == [address]


def test_which_models_are_on_the_hub():
    assert hub_address("HyenaDNA") == "https://huggingface.co/LongSafari/hyenadna-large-1m-seqlen-hf"
    assert hub_address("org/model", "b" * 40) == "https://huggingface.co/org/model/tree/" + "b" * 40
    assert hub_address("org/model", "main") == "https://huggingface.co/org/model"
    for name in ("Evo", "local/own", "ab-initio/kmers-6", "track/phyloP", "a/b/c", "../x", "org/<b>"):
        assert hub_address(name) is None


def test_values_read_off_plots_are_marked_and_off_until_asked_for(page, site):
    rows = [row("table", 0.6, source="quoted"), row("plot", 0.7, source="read off a plot")]
    page.goto(site(rows))
    assert models(page) == ["table"]
    page.locator("#plots").check()
    assert models(page) == ["plot", "table"]
    marked = page.locator("tbody tr").first
    assert marked.locator(".tag").inner_text() == "read off a plot"
    assert "about 0.700" in marked.inner_text()
    assert marked.locator("svg").get_attribute("aria-label").startswith("about 0.700")
    assert page.locator("circle.open").count() == 1
    assert "plots=true" in address_of(page)


def test_runs_are_never_among_published_figures(page, site):
    page.goto(site() + "#view=overview&plots=true")
    assert page.locator("section h2").all_inner_texts() == ["Published figures", "Runs with a record"]
    own = {json.loads(path.read_text())["model"]["id"] for path in LEADERBOARD.glob("records/*/results.json")}
    published = {own["model"] for own in published_rows(LEADERBOARD / "published.json")}
    for kind, names in (("published figures", published), ("runs with a record", own)):
        shown = page.locator(f"section[data-kind='{kind}'] th.model").evaluate_all(
            "cells => cells.map(cell => cell.firstChild.textContent)"
        )
        assert set(shown) == names


def test_a_run_on_data_of_a_published_name_has_a_board_of_its_own(page, site):
    page.goto(site([row("ours", 0.9), row("theirs", 0.8, source="authors' notebook")]))
    boards = page.locator("section")
    assert boards.locator(".kind").all_inner_texts() == ["Runs with a record", "Published figures, copied"]
    assert [boards.nth(place).locator("tbody tr").count() for place in (0, 1)] == [1, 1]


def test_the_address_says_every_choice(browser, page, site):
    address = site()
    page.goto(address + "#task=variant_effects&setting=zero_shot_likelihood&metric=auroc")
    page.locator("#model").fill("n")
    page.locator("#protocol").select_option("paper")
    page.locator("#source").select_option("authors' notebook")
    page.locator("#parameters").select_option("500000000")
    page.locator("#context").select_option("2000")
    page.locator("#baselines").uncheck()
    page.locator("#plots").check()
    page.locator("button[data-column=model]").first.click()
    page.locator("button[data-column=model]").first.click()
    wanted = dict(parse_qsl(address_of(page).partition("#")[2]))
    assert wanted == {
        "task": "variant_effects", "setting": "zero_shot_likelihood", "metric": "auroc", "model": "n",
        "protocol": "paper", "source": "authors' notebook", "parameters": "500000000", "context": "2000",
        "baselines": "false", "plots": "true", "sort": "model", "order": "descending",
    }  # fmt: skip
    names = models(page)
    assert names
    other = browser.new_page()
    other.goto(address_of(page))
    assert (models(other), address_of(other)) == (names, address_of(page))
    other.goto(address + "#task=none&metric=none&context=7&sort=none&view=none&first=none")
    other.reload()  # what is not offered is as usual
    assert models(other)
    assert "none" not in address_of(other)
    other.close()


def test_all_tasks_by_model(page, site):
    rows = [
        row("b", 0.55, permuted={"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}),
        row("a", 0.8, data="other", setting="finetuned"),
        row("gc", 0.3, baseline=True, control="GC content", task="variant_effects"),
    ]
    page.goto(site(rows) + "#view=overview")
    assert models(page) == ["gc", "a", "b"]  # baselines first
    cells = page.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].slice(1).map(c => c.innerText.replaceAll('\\n', ' ')))"
    )
    assert cells == [
        ["–", "–", "0.300 0.200 to 0.400; r"],
        ["0.800 0.700 to 0.900; r", "–", "–"],
        ["–", "0.550 0.450 to 0.650; chance within; r", "–"],
    ]
    page.locator("thead a", has_text="fine-tuned").click()
    page.locator("button[data-column=model]").wait_for()
    assert models(page) == ["a"]
    assert page.locator("#views a[aria-current]").inner_text() == "Boards"
    page.go_back()
    page.locator("table.overview").wait_for()
    assert page.locator("#views a[aria-current]").inner_text() == "All tasks by model"


def test_two_models_compared_by_their_paired_rows(page, site, tmp_path):
    rows = [
        row("a", 0.7, link="records/aa/results.json"),
        row("b", 0.6, link="records/bb/results.json"),
        row("a", 0.7, data="other"),
        row("b", 0.5, data="other"),
        row("a", 0.7, source="quoted", data="third"),
        row("b", 0.5, source="quoted", data="third"),
        row("b", 0.5, data="fourth"),
    ]
    address = site(rows)
    own = {"value": 0.1, "low": -0.05, "high": 0.25, "p": 0.2, "n": 90, "method": "paired"}
    data = tmp_path / "site/data.js"
    pairs = [{"first": "aa", "second": "bb", "metrics": {"accuracy": own}}]
    data.write_text(data.read_text() + script(pairs, "DIFFERENCES"))
    page.goto(address + "#view=compare&first=a&second=b")
    assert (
        page.locator("#count").inner_text()
        == "3 pairs of results on the same board, 1 of them with a paired difference"
    )
    cells = page.locator("tbody td.interval").all_inner_texts()
    assert cells[0].strip() == "0.100 [-0.050 to 0.250], p 0.200, n 90"
    assert cells[1:] == [
        "No paired difference: their predictions were not both there when these records came. Compare the two by their "
        "intervals only, which can overlap although the models differ; dart-eval compare pairs the rows of two folders "
        "of results.",
        "No paired difference, and no intervals: published values come without predictions, so nothing here says how "
        "sure the difference is.",
    ]
    page.goto(address + "#view=compare&first=b&second=a")
    page.locator("h2", has_text="b and a").wait_for()
    assert page.locator("tbody td.interval").first.inner_text().strip() == "-0.100 [-0.250 to 0.050], p 0.200, n 90"
    data.write_text(data.read_text().replace('"metrics":{"accuracy":{"value":0.1,', '"metrics":{"other":{"value":0.1,'))
    page.reload()
    page.locator("tbody td.interval", has_text="accuracy has none").wait_for()
    assert page.locator("tbody td.interval").first.inner_text() == (
        "No paired difference: accuracy has none. Compare the two by their intervals only, which can overlap although "
        "the models differ."
    )


def test_what_is_shown_as_csv(page, site):
    page.goto(
        site([row("=1+1", 0.7, data='a "b", c'), row("b", 0.6), row("c", setting="finetuned")]) + "#setting=probed"
    )
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    text = Path(waiting.value.path()).read_text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["model"], line["data"], line["value"], line["low"]) for line in lines] == [
        ("'=1+1", 'a "b", c', "0.7", "0.6"), ("b", "elements", "0.6", "0.5"),
    ]  # fmt: skip
    assert {line["metric"] for line in lines} == {"accuracy"}


def test_a_comparison_as_csv(page, site):
    page.goto(site([row("a"), row("b", 0.4)]) + "#view=compare&first=a&second=b")
    with page.expect_download() as waiting:
        page.locator("#csv").click()
    (line,) = csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text()))
    assert (line["first"], line["second"], line["first_value"], line["second_value"]) == ("a", "b", "0.5", "0.4")
    assert line["difference"] == ""
    assert page.get_by_text("None of these has a paired difference; each says why.").is_visible()


def test_the_keyboard_reaches_everything_in_order(page, site):
    page.goto(site([row()]))
    reached = []
    for _ in range(22):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.id || e.dataset.column || (e.dataset.view ?? e.className) || 'boards')(document.activeElement)"
            )
        )
    assert reached == [
        "boards", "overview", "compare", "task", "setting", "metric", "model", "protocol", "source", "parameters",
        "context", "baselines", "plots", "csv", "scroll", "model", "value", "parameters", "context", "protocol", "n",
        "source",
    ]  # fmt: skip
    page.locator("#views a[data-view=overview]").focus()
    page.keyboard.press("Enter")
    page.locator("table.overview").wait_for()
    page.locator("#plots").focus()
    page.keyboard.press("Space")
    assert "plots=true" in address_of(page)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_axe_finds_nothing(browser, site, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    address = site()
    for view in VIEWS:
        page.goto(address + view)
        page.reload()
        found = axe.Axe().run(page).response
        assert [(own["id"], own["nodes"][0]["html"]) for own in found["violations"]] == []
        assert len(found["passes"]) > 20
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_differences_come_to_the_board_with_the_records(tmp_path):
    shutil.copytree(LEADERBOARD, tmp_path / "board", ignore=shutil.ignore_patterns("records"))
    folders = [submit(tmp_path / name, model=f"org/{name}", seed=seed) for seed, name in enumerate(("a", "b"))]
    build(tmp_path / "board", folders)
    (path,) = (tmp_path / "board/records").rglob("differences.json")
    ((other, found),) = json.loads(path.read_text()).items()
    place = {load_record(own).fingerprint[:12]: own for own in folders}
    pair = compare(place[path.parent.name], place[other])
    assert {name: own["value"] for name, own in found.items()} == {
        name: own.difference for name, own in pair.metrics.items()
    }
    accuracy = pair.metrics["accuracy"]
    assert found["accuracy"] == {
        "value": accuracy.difference, "low": accuracy.low, "high": accuracy.high, "p": accuracy.p, "n": 40,
        "method": accuracy.method,
    }  # fmt: skip
    text = (tmp_path / "board/data.js").read_text()
    assert f'"first":"{path.parent.name}","second":"{other}"' in text
    shutil.rmtree(path.parent.parent / other)  # of a record that has gone there is nothing to show
    build(tmp_path / "board")
    assert "window.DIFFERENCES = [];" in (tmp_path / "board/data.js").read_text()
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"differences\.json: not differences by record"):
        build(tmp_path / "board")


def test_all_runs_on_one_board_are_paired():
    folders = [path.parent for path in (LEADERBOARD / "records").glob("*/results.json")]
    boards = {}
    for folder in folders:
        boards.setdefault(same_rows(load_record(folder)), []).append(folder.name)
    pairs = {frozenset((own["first"], own["second"])) for folder in folders for own in differences_of(folder)}
    assert pairs == {frozenset(pair) for own in boards.values() for pair in combinations(own, 2)}
    shown = {}
    for own in json.loads(re.search(r"window\.ROWS = (.*);\n", (LEADERBOARD / "data.js").read_text())[1]):
        if own["source"] == "run":
            board = own["task"], own["setting"], own["protocol"], own["data"]
            shown.setdefault(board, set()).add(Path(own["link"]).parent.name)
    assert sorted(map(sorted, shown.values())) == sorted(map(sorted, boards.values()))


def test_data_of_one_name_are_told_apart_by_the_first_input_that_differs(tmp_path):
    record = load_record(submit(tmp_path / "here"))

    def on(**inputs):
        dataset = record.dataset | {"inputs": {"elements": "e.bed sha256:0"} | inputs, "fingerprint": str(inputs)}
        return dataclasses.replace(record, content=record.content | {"dataset": dataset})

    one, other = on(genome="a.fa sha256:1"), on(genome="b.fa sha256:2")
    assert names_of_data([one, one]) == ["e", "e"]
    assert names_of_data([one, other, one]) == ["e, of a.fa", "e, of b.fa", "e, of a.fa"]
    changed = on(genome="a.fa sha256:2")
    assert names_of_data([one, changed]) == [
        f"e, of {str(own)[:8]}" for own in (one.dataset["fingerprint"], changed.dataset["fingerprint"])
    ]


def test_records_that_cannot_be_paired_are_said(tmp_path):
    shutil.copytree(LEADERBOARD, tmp_path / "board", ignore=shutil.ignore_patterns("records"))
    folders = [submit(tmp_path / name, model=f"org/{name}", seed=seed) for seed, name in enumerate(("a", "b"))]
    build(tmp_path / "board", folders[:1])
    shutil.copy(folders[0] / "predictions.parquet", folders[1])
    (line,) = add_differences(tmp_path / "board", [load_record(folder) for folder in folders])
    assert line.startswith(f"not compared: {folders[1]}")
    assert not list((tmp_path / "board").rglob("differences.json"))


def test_the_picture_in_the_docs_is_of_this_page(browser, site):
    """HYENADNA_WRITE_DOCS=1 makes it anew; it names the files that it was made of, by their digest."""
    files = sorted(path for path in LEADERBOARD.iterdir() if path.suffix in (".html", ".css", ".js"))
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if os.environ.get("HYENADNA_WRITE_DOCS"):
        page = browser.new_page(viewport={"width": 1280, "height": 1300}, color_scheme="light")
        page.goto(site())
        picture = page.screenshot()
        note = b"tEXtSource\0" + made_of.encode()
        chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
        PICTURE.write_bytes(picture[:33] + chunk + picture[33:])  # after the signature and the header
        page.close()
    written = PICTURE.read_bytes()
    assert struct.unpack(">II", written[16:24]) == (1280, 1300)
    assert b"tEXtSource\0" + made_of.encode() in written, "HYENADNA_WRITE_DOCS=1 makes docs/leaderboard.png anew"
