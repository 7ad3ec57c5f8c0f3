"""The demo Space in Chromium, by real clicks: desktop and phone, dark, and what axe-core finds."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="gradio is not installed: make try-space")
SPACE = Path(__file__).parents[2] / "spaces/try-hyenadna"
WAIT = 180_000  # milliseconds, on a machine with much else to do


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(SPACE.parents[1]),
    }
    server = subprocess.Popen([sys.executable, str(SPACE / "app.py")], env=environment, cwd=folder)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(4 * WAIT // 1000):
        assert server.poll() is None, "the app ended"
        try:
            urlopen(url, timeout=5)
            break
        except OSError:
            time.sleep(0.25)
    else:
        pytest.fail("the app does not answer")
    yield url
    server.terminate()
    server.wait()
    assert [path for path in folder.rglob("*") if path.is_file()] == []  # nothing was written


@pytest.fixture(params=["desktop", "phone", "dark"])
def page(browser, address, request):
    size = {"width": 390, "height": 844} if request.param == "phone" else {"width": 1280, "height": 900}
    context = browser.new_context(viewport=size, color_scheme="dark" if request.param == "dark" else "light")
    page = context.new_page()
    page.errors, page.asked = [], set()
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("request", lambda sent: page.asked.add(sent.url))
    page.goto(address)
    page.get_by_role("button", name="Score, embed and draw").wait_for()
    yield page
    assert page.errors == []
    assert all(url.startswith((address, "data:", "blob:")) for url in page.asked), page.asked
    context.close()


def test_each_tab_answers(page):
    page.get_by_role("button", name="Score, embed and draw").click()
    page.get_by_role("img", name="logo of bases 2 to 101").wait_for(timeout=WAIT)
    assert page.get_by_text("103 bases, by local/hyenadna-tiny-1k-demo").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.get_by_role("tab", name="Variants").click()
    page.get_by_role("button", name="Score the variants").click()
    page.get_by_role("img", name="histograms of the scores by class of variant").wait_for(timeout=WAIT)
    assert page.get_by_role("cell", name="example").count() == 2
    page.get_by_role("tab", name="Pairs").click()
    page.get_by_label("Pairs of sequences").fill("ACGT ACGA\nAC AG\n")
    page.get_by_role("button", name="Compare the pairs").click()
    page.get_by_text("2 pairs, by").wait_for(timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_bad_input_is_one_sentence_in_the_page(page):
    page.get_by_role("tab", name="Pairs").click()
    page.get_by_label("Pairs of sequences").fill("ACGT <b>X</b>")
    page.get_by_role("button", name="Compare the pairs").click()
    alert = page.get_by_role("alert").filter(has_text="Line 1")
    alert.wait_for(timeout=WAIT)
    assert alert.inner_text() == "Line 1 has '<' at base 1; there are A, C, G, T and N."
    page.get_by_label("Pairs of sequences").fill("ACGT ACGA")
    page.get_by_role("button", name="Compare the pairs").click()
    page.get_by_text("1 pairs, by").wait_for(timeout=WAIT)
    assert not alert.is_visible()


def test_the_keyboard_does(page):
    page.get_by_role("tab", name="Variants").focus()
    page.keyboard.press("Enter")
    page.get_by_label("VCF").wait_for()
    page.get_by_role("button", name="Score the variants").focus()
    page.keyboard.press("Enter")
    page.get_by_role("img", name="histograms of the scores by class of variant").wait_for(timeout=WAIT)


def test_axe_finds_nothing_in_what_the_app_makes(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.get_by_role("button", name="Score, embed and draw").click()
    page.get_by_role("img", name="logo of bases 2 to 101").wait_for(timeout=WAIT)
    found = axe.Axe().run(page, context=".answer").response["violations"]
    assert [(own["id"], [node["html"][:120] for node in own["nodes"]]) for own in found] == []
