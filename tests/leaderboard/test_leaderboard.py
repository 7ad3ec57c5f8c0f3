"""The leaderboard in a real browser: it renders, sorts, filters, and takes what it shows for text."""

import functools
import http.server
import json
import re
import shutil
import threading
from pathlib import Path

import pytest

from evaluation_dart.report.leaderboard import build, published_rows, script
from tests.evaluation_dart.report.test_report import submit

ROOT = Path(__file__).parents[2]
LEADERBOARD = ROOT / "leaderboard"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"></script><script>document.title='pwned'</script>"


def row(model="org/model", value=0.5, **other):
    metric = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 100, "higher_is_better": True}
    about = {"task": "regulatory_elements", "setting": "probed", "model": model, "revision": "abc", "parameters": 1000,
             "context": 350, "protocol": "fixed", "recipe": "r", "data": "elements", "baseline": False, "source": "run",
             "control": "", "permuted": {},
             "date": "2026-11-21", "headline": "accuracy", "metrics": {"accuracy": metric}, "link": None}  # fmt: skip
    return about | other


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path):
    """The leaderboard's files on a local port: `site(rows)` shows these, `site()` what is in the repository."""
    shutil.copytree(LEADERBOARD, tmp_path / "site")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

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
    return page.locator("td.model").evaluate_all("cells => cells.map(cell => cell.firstChild.textContent)")


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
    assert section.locator("tbody a").first.get_attribute("href").startswith("https://github.com/kundajelab/DART-Eval")
    assert all(url.startswith((address, "data:")) for url in page.addresses)


def test_runs_link_to_their_records(page, site):
    address = site()
    page.goto(address + "#task=regulatory_elements&setting=zero_shot_likelihood&source=run")
    links = page.locator("tbody a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links
    for link in links:
        record = json.loads((LEADERBOARD / link).read_text())
        assert record["task"] == "regulatory_elements"
    assert page.locator("tr.control .tag").count() > 0


def test_sorts_by_every_column_and_keeps_the_keyboard_there(page, site):
    rows = [row("b", 0.6, parameters=None), row("a", 0.7, parameters=5), row("c", 0.5, parameters=9)]
    page.goto(site(rows))
    assert models(page) == ["a", "b", "c"]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Value")
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
    assert page.locator("svg").first.get_attribute("aria-label") == "2.000, no interval"


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
    assert page.locator("td.model").first.inner_text().startswith(HOSTILE)
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
    assert page.locator("td.interval").get_attribute("title") == (
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
    first = page.locator("section").first.locator("td.model").all_inner_texts()
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
