"""How outputs come to be: links, inputs, foreign files, locks, and what is recognised as finished."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.outputs import check_output, held, made, made_folder, whole_folder


def write(text):
    def act(path):
        path.write_text(text)
        return {"length": len(text)}

    return act


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_made_once_and_again_when_it_was_another_run(tmp_path):
    output = tmp_path / "o.txt"
    about = made(output, {"run": 1}, write("one"))
    assert json.loads((tmp_path / "o.txt.json").read_text()) == about
    assert about["length"] == 3
    assert made(output, {"run": 1}, None) == about  # nothing is written
    made(output, {"run": 2}, write("two"))
    assert output.read_text() == "two"
    assert names(tmp_path) == ["o.txt", "o.txt.json"]


def test_a_changed_output_is_refused_and_says_what_to_delete(tmp_path):
    output = tmp_path / "o.txt"
    made(output, {"run": 1}, write("one"))
    output.write_text("on")
    for run in (1, 2):
        with pytest.raises(InputError, match=r"o\.txt: already exists, .*; delete it or name another output"):
            made(output, {"run": run}, write("new"))
    output.unlink()
    made(output, {"run": 1}, write("one"))
    assert output.read_text() == "one"


def test_foreign_files_stay(tmp_path):
    output, sidecar = tmp_path / "o.txt", tmp_path / "o.txt.json"
    output.write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        made(output, {}, write("new"))
    sidecar.write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"o\.txt\.json: was not written by this program"):
        made(output, {}, write("new"), overwrite=True)
    assert (output.read_text(), sidecar.read_text()) == ("mine", '{"mine": 1}')
    sidecar.unlink()
    made(output, {}, write("new"), overwrite=True)
    assert output.read_text() == "new"


def test_a_foreign_folder_stays_whatever_is_said(tmp_path):
    store = tmp_path / "o.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"o\.zarr: already exists"), held(store, overwrite=overwrite) as output:
            output.claim(folder=True)
    assert names(tmp_path) == ["o.zarr"]
    assert names(store) == ["zarr.json"]


@pytest.mark.parametrize("link", [os.symlink, os.link, None])
def test_an_output_that_is_an_input(tmp_path, link):
    given, output = tmp_path / "in.txt", tmp_path / "o.txt"
    given.write_text("mine")
    if link is None:
        output = given
    else:
        link(given, output)
    with pytest.raises(InputError, match=r"would be written over the input .*in\.txt; name another output"):
        made(output, {}, write("new"), [given], overwrite=True)
    with pytest.raises(InputError, match="would be written over the input"):
        check_output(output, [tmp_path])  # a folder that is read
    assert given.read_text() == "mine"


def test_a_sidecar_that_is_an_input(tmp_path):
    given = tmp_path / "o.txt.json"
    given.write_text("{}")
    with pytest.raises(InputError, match=r"o\.txt\.json: would be written over the input"):
        check_output(tmp_path / "o.txt", [given])


def test_links_stay_links(tmp_path):
    (tmp_path / "big").mkdir()
    target, link = tmp_path / "big" / "real.txt", tmp_path / "o.txt"
    link.symlink_to("big/real.txt")
    made(link, {"run": 1}, write("one"))
    with replacing(link) as temporary:
        temporary.write_text("two")
    assert link.is_symlink()
    assert target.read_text() == "two"
    assert names(tmp_path / "big") == ["real.txt"]


HOLDS = """
import sys, time
from datasets_dart.outputs import held
with held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_and_a_killed_one_is_forgotten(tmp_path):
    output = tmp_path / "o.txt"
    command = [sys.executable, "-c", HOLDS, str(output)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        process.stdout.readline()
        with pytest.raises(InputError, match=r"o\.txt: another process is writing this output"):
            made(output, {}, write("new"))
        process.kill()
        process.wait()
    assert len(names(tmp_path)) == 2  # its lock file and its folder to write into
    made(output, {}, write("new"))
    assert names(tmp_path) == ["o.txt", "o.txt.json"]


@whole_folder("about.json", "given")
def folder_of(output, given, text="text"):
    output.mkdir()
    write_text(output / "rows.txt", text)
    return {"text": text}


def test_folders_appear_whole(tmp_path):
    given, folder = tmp_path / "in.txt", tmp_path / "rows"
    given.write_text("mine")
    about = folder_of(folder, given)
    assert folder_of(folder, given, text="text") == about
    for changed in (given, folder / "rows.txt"):
        changed.write_text("other")
        with pytest.raises(InputError, match="rows: already exists; name a new or empty folder"):
            folder_of(folder, given)
    assert names(tmp_path) == ["in.txt", "rows"]


def test_folders_known_by_their_bytes(tmp_path):
    def act(text):
        def fill(path):
            path.mkdir()
            (path / "a.txt").write_text(text)

        return fill

    folder = tmp_path / "model"
    made_folder(folder, act("one"), [])
    made_folder(folder, act("one"), [])
    with pytest.raises(InputError, match="model: already exists; name a new or empty folder"):
        made_folder(folder, act("two"), [])
    assert (folder / "a.txt").read_text() == "one"
    assert names(tmp_path) == ["model"]
