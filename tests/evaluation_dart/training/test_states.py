"""A state to resume from: restored as it was saved or refused, and nothing in it can run."""

import json
import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from datasets_dart.errors import InputError
from evaluation_dart.training.states import (
    DIGESTS,
    check_same_run,
    load_newest_state,
    save_state,
    set_random_numbers,
    write_choices,
)

FILES = ["model.safetensors", "optimizer.bin", "progress.json", "random_numbers_0.json", "random_states_0.pkl", DIGESTS]


def training():
    """A network with an optimiser that has taken a step."""
    torch.manual_seed(1)
    accelerator = Accelerator(device_placement=False, cpu=True)
    network = torch.nn.Linear(3, 2)
    network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters()))
    network(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return accelerator, network, optimizer


def everything(network, optimizer):
    """All numbers that a training goes on from, and the next that are drawn."""
    moments = [value for own in optimizer.state_dict()["state"].values() for value in own.values()]
    drawn = [random.random(), np.random.rand(), torch.rand(1).item()]
    return [tensor.tolist() for tensor in (*network.parameters(), *moments)], drawn


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    accelerator, network, optimizer = training()
    random.seed(5), np.random.seed(6), torch.manual_seed(7)
    save_state(accelerator, folder, 3, {"epoch": 1})
    return folder, everything(network, optimizer)


@pytest.fixture
def state(saved, tmp_path):
    """A copy of the state, and what it must restore."""
    shutil.copytree(saved[0], tmp_path / "states")
    return tmp_path / "states" / "step-00000003", saved[1]


def resumed(state):
    accelerator, network, optimizer = training()
    found = load_newest_state(accelerator, state.parent)
    return found, everything(network, optimizer)


def test_a_state_is_restored(state):
    folder, expected = state
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert resumed(folder) == ((3, {"epoch": 1}), expected)


def damages(content):
    yield "empty", b""
    yield "cut short", content[: len(content) // 2]
    yield "cut short by a byte", content[:-1]
    for place in np.linspace(0, len(content) - 1, 12).astype(int).tolist():
        yield f"byte {place}", content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
    yield "longer", content + b"\0"


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(state, name):
    folder, _ = state
    whole = (folder / name).read_bytes()
    for what, content in damages(whole):
        (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=r"step-00000003: the training cannot go on .*: delete .*step-00000003"):
            pytest.fail(f"{name}, {what}: {resumed(folder)}")
    (folder / name).unlink()
    with pytest.raises(InputError, match="cannot go on"):
        resumed(folder)


class Planted:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old"])
@pytest.mark.parametrize("name", [*FILES, "custom_checkpoint_0.pkl", "pytorch_model.bin"])
def test_planted_pickles_do_not_run(state, tmp_path, name, how):
    """Neither as they are nor with digests made to fit: refused, or the same numbers."""
    folder, expected = state
    planted = Planted(tmp_path / "planted")
    if how == "pickle":
        (folder / name).write_bytes(pickle.dumps(planted))
    else:
        torch.save(planted, folder / name, _use_new_zipfile_serialization=how == "torch")
    if name == "pytorch_model.bin":  # what Accelerate reads where there are no safetensors
        (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot go on"):
        resumed(folder)
    if name != DIGESTS:
        kept = json.loads((folder / DIGESTS).read_text())
        from evaluation_dart.training import states

        (folder / DIGESTS).write_text(json.dumps(states._digests(folder)))
        assert json.loads((folder / DIGESTS).read_text()) != kept
        if name == "random_states_0.pkl":  # which is not what the numbers are taken from
            assert resumed(folder)[1] == expected
        else:
            with pytest.raises(InputError, match="cannot go on"):
                resumed(folder)
    assert not (tmp_path / "planted").exists()


def test_the_state_before_is_taken_once_a_damaged_one_is_deleted(tmp_path):
    accelerator, _, _ = training()
    for step in (1, 2):
        save_state(accelerator, tmp_path, step, {"step": step}, keep=2)
    (tmp_path / "step-00000002" / "optimizer.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"\(optimizer.bin is not as it was saved\): delete .*step-00000002"):
        load_newest_state(accelerator, tmp_path)
    shutil.rmtree(tmp_path / "step-00000002")
    assert load_newest_state(accelerator, tmp_path) == (1, {"step": 1})


def test_files_beside_the_states_are_put_back(tmp_path):
    accelerator, _, _ = training()
    best = tmp_path / "weights.safetensors"
    best.write_bytes(b"best")
    save_state(accelerator, tmp_path / "states", 1, {}, files=[best])
    best.write_bytes(b"of a later epoch, which the kill left without its state")
    assert load_newest_state(accelerator, tmp_path / "states", files=[best]) == (1, {})
    assert best.read_bytes() == b"best"


def test_random_numbers_of_another_device_are_refused():
    with pytest.raises(InputError, match="those of a device 'cuda', and this is 'cpu'"):
        set_random_numbers({"device": "cuda"})


@pytest.mark.parametrize("name", ["training.yaml", "run.json"])
@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "a: &a [1]\nb: *a", "[" * 10_000])
def test_damaged_choices_are_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=str(tmp_path / name)):
        check_same_run(tmp_path / name, {"a": 1}, ())


@pytest.mark.parametrize("off", [None, "", [], False])
def test_a_choice_that_is_off_is_as_one_that_was_not_known(tmp_path, off):
    write_choices(tmp_path / "training.yaml", {"a": 1})
    check_same_run(tmp_path / "training.yaml", {"a": 1, "new": off}, ())
    with pytest.raises(InputError, match="new is None there and 0 here"):
        check_same_run(tmp_path / "training.yaml", {"a": 1, "new": 0}, ())
