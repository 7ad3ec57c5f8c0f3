"""Pipes on the command line: read once, as files are, and nothing of them is left."""

import os
import threading
from pathlib import Path

import pytest

from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from trainer_scripts.options import run
from trainer_scripts.pipes import pipes_copied

TEXT = b"chr1\t10\t60\n" * 20_000  # more than a pipe holds


@pytest.fixture
def piped():
    """A function that gives the path of a pipe in which a text comes."""
    open_ends = []

    def piped(text: bytes) -> str:
        read, write = os.pipe()
        open_ends.append(read)

        def fill() -> None:
            with os.fdopen(write, "wb") as file:
                file.write(text)

        threading.Thread(target=fill, daemon=True).start()
        return f"/dev/fd/{read}"

    yield piped
    for end in open_ends:
        os.close(end)


def ended(words, main) -> int | str | None:
    with pytest.raises(SystemExit) as done:
        run(lambda words: (main(words), exit(0)), "prog", words)
    return done.value.code


def test_every_form_is_read(piped, tmp_path, monkeypatch):
    named = tmp_path / "in.bed"
    os.mkfifo(named)
    threading.Thread(target=lambda: named.write_bytes(TEXT), daemon=True).start()
    stream = os.open(tmp_path / "stdin", os.O_RDWR | os.O_CREAT)
    os.write(stream, b"from stdin")
    kept = os.dup(0)
    os.lseek(stream, 0, os.SEEK_SET)
    os.dup2(stream, 0)
    monkeypatch.chdir(tmp_path)
    first, second = piped(TEXT), piped(b"x")
    seen: list[Path] = []

    def main(words):
        assert words[0] == "--variants"
        assert words[4:] == ["--output", first, "--name", "no=pipe"]
        for word, text in ((words[1], TEXT), (words[2], b"x"), (words[3], TEXT)):
            path = Path(word.rpartition("=")[2])
            assert input_file(path).read_bytes() == path.read_bytes() == text  # as often as one likes
            seen.append(path)

    words = ["--variants", first, f"--elements=K562={second}", "in.bed", "--output", first, "--name", "no=pipe"]
    try:
        assert ended(words, main) == 0
        assert ended(["--variants", "-"], lambda words: seen.append(Path(words[1]))) == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert [path.name for path in seen] == ["pipe", "pipe", "in.bed", "stdin"]
    assert not any(path.exists() or path.parent.exists() for path in seen)


def test_a_pipe_that_is_named_twice_is_read_once(piped):
    pipe = piped(b"once")
    with pipes_copied(["--a", pipe, "--b", pipe]) as words:
        assert words[1] == words[3]
        assert Path(words[1]).read_bytes() == b"once"


def test_a_pipe_after_an_output_is_an_input(piped):
    pipe = piped(b"x")
    with pipes_copied(["windows", "--output", "out.tsv", pipe]) as words:
        assert words[:3] == ["windows", "--output", "out.tsv"]
        assert Path(words[3]).read_bytes() == b"x"
    with pipes_copied([f"--output={pipe}", "--output_dir", pipe]) as words:
        assert words == [f"--output={pipe}", "--output_dir", pipe]


def test_errors_name_the_pipe_and_not_its_copy(piped, capsys, monkeypatch):
    pipe = piped(b"")
    assert ended(["--variants", pipe], lambda words: input_file(words[1])) == 1
    assert capsys.readouterr().err == f"prog: {pipe}: the file is empty\n"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ended(["--variants", pipe], print) == 1
    assert capsys.readouterr().err.startswith(f"prog: {pipe}: is a pipe, which several processes cannot read")


def test_copies_go_when_a_program_is_interrupted(piped):
    seen: list[Path] = []

    def main(words):
        seen.append(Path(words[1]))
        assert seen[0].exists()
        raise KeyboardInterrupt

    assert ended(["--variants", piped(b"x")], main) == 130
    assert not seen[0].exists()


def test_the_library_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "in.bed")
    for path in (tmp_path / "in.bed", "/dev/null"):
        with pytest.raises(InputError, match=f"^{path}: is a pipe or a device"):
            input_file(path)
