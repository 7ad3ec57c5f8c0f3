"""The cache of compiled parts: only what was compiled here is loaded, and a compiler that fails is said."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from modeling_hyenadna.long_conv import build, cpu_backend
from modeling_hyenadna.long_conv.build import cached, loaded

CC = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(CC is None, reason="no C compiler")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A library that answers 42, and one that makes the file `ran` beside itself when it is loaded."""
    folder = tmp_path_factory.mktemp("libraries")
    sources = {
        "good": "int answer(void) { return 42; }",
        "planted": "#include <stdio.h>\n__attribute__((constructor)) static void run(void)"
        f' {{ fclose(fopen("{folder}/ran", "w")); }}\nint answer(void) {{ return 13; }}',
    }
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
        subprocess.run([CC, "-shared", "-fPIC", "-o", folder / f"{name}.so", folder / f"{name}.c"], check=True)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYENADNA_CACHE", str(tmp_path / "cache"))
    build._private_folder.cache_clear()
    return tmp_path / "cache" / "long_conv"


class Compiler:
    """Copies the good library, and counts how often."""

    def __init__(self, libraries):
        self.library, self.calls = libraries / "good.so", 0

    def __call__(self, target):
        self.calls += 1
        shutil.copyfile(self.library, target)

    def build(self):
        return cached("test", (), ("settings",), self)

    def answer(self):
        return loaded(self.build).answer()


@pytest.fixture
def compiler(libraries):
    (libraries / "ran").unlink(missing_ok=True)
    yield Compiler(libraries)
    assert not (libraries / "ran").exists(), "a planted library ran"


@needs_compiler
def test_it_is_compiled_once_into_a_folder_of_the_users_own(cache, compiler):
    before = os.umask(0o002)
    try:
        assert [compiler.answer(), compiler.answer(), compiler.calls] == [42, 42, 1]
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".sha256", ".so"]


def planted(library, libraries):
    shutil.copyfile(libraries / "planted.so", library)


def planted_link(library, libraries):
    library.unlink()
    library.symlink_to(libraries / "planted.so")


def cut_short(library, libraries):
    with library.open("r+b") as file:
        file.truncate(library.stat().st_size // 2)


def emptied(library, libraries):
    library.write_bytes(b"")


def without_digest(library, libraries):
    planted(library, libraries)
    library.with_suffix(".sha256").unlink()


def with_linked_digest(library, libraries):
    planted(library, libraries)
    library.with_suffix(".sha256").unlink()
    other = libraries / "digest"
    other.write_text(hashlib.sha256(library.read_bytes()).hexdigest())
    library.with_suffix(".sha256").symlink_to(other)


@needs_compiler
@pytest.mark.parametrize(
    "damage",
    [planted, planted_link, cut_short, emptied, without_digest, with_linked_digest],
    ids=lambda own: own.__name__,
)
def test_another_library_in_its_place_is_compiled_again(cache, compiler, libraries, damage):
    damage(compiler.build(), libraries)
    assert (compiler.answer(), compiler.calls) == (42, 2)
    assert (compiler.answer(), compiler.calls) == (42, 2)
    assert (libraries / "planted.so").read_bytes() != (libraries / "good.so").read_bytes()


@needs_compiler
def test_a_library_that_does_not_load_is_compiled_again(cache, compiler):
    library = compiler.library
    compiler.library = Path(__file__)  # no library at all
    compiler.build()
    compiler.library = library
    assert (compiler.answer(), compiler.calls) == (42, 2)


@needs_compiler
def test_a_link_in_place_of_the_lock_is_not_followed(cache, compiler, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    build.own_folder(cache)
    lock = cache / Path(compiler.build()).with_suffix(".lock").name
    for path in cache.iterdir():
        path.unlink()
    lock.symlink_to(mine)
    assert compiler.answer() == 42
    assert mine.read_text() == "mine"
    assert not lock.is_symlink()


@needs_compiler
def test_a_folder_that_others_could_write_to_is_emptied(cache, compiler, libraries):
    library = compiler.build()
    planted(library, libraries)
    library.with_suffix(".sha256").write_text(hashlib.sha256(library.read_bytes()).hexdigest())
    cache.chmod(0o777)
    assert (compiler.answer(), compiler.calls) == (42, 2)
    assert cache.stat().st_mode & 0o777 == 0o700


def shared(cache, monkeypatch):
    cache.parent.mkdir()
    cache.parent.chmod(0o777)
    return f"{cache} is not used as a cache .everybody can write to {cache.parent}"


def of_another_user(cache, monkeypatch):
    build.own_folder(cache)
    status = os.stat(cache)
    monkeypatch.setattr(build, "_trusted", lambda own: not os.path.samestat(own, status))
    return "it belongs to another user"


def a_link(cache, monkeypatch):
    cache.parent.mkdir()
    (cache.parent / "elsewhere").mkdir()
    cache.symlink_to(cache.parent / "elsewhere")
    return "not used as a cache"


def a_file(cache, monkeypatch):
    cache.parent.write_text("")
    return "File exists|Not a directory"


def unwritable(cache, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(build, "own_folder", refuse)  # tests may run as root, who can write anywhere
    return "Permission denied"


@needs_compiler
@pytest.mark.parametrize("how", [shared, of_another_user, a_link, a_file, unwritable], ids=lambda own: own.__name__)
def test_a_cache_that_is_not_the_users_own_is_not_used(cache, compiler, libraries, monkeypatch, how):
    """A folder of this process instead, said once; what lies in the other is neither loaded nor touched."""
    reason = how(cache, monkeypatch)
    before = sorted(cache.parent.rglob("*")) if cache.parent.is_dir() else []
    with pytest.warns(RuntimeWarning, match=reason) as said:
        assert [compiler.answer(), compiler.answer(), compiler.calls] == [42, 42, 1]
    assert len(said) == 1
    assert (sorted(cache.parent.rglob("*")) if cache.parent.is_dir() else []) == before
    assert build._private_folder().stat().st_mode & 0o777 == 0o700


COMPILERS = {
    "that writes nothing": ("echo version 1", "wrote no library|No such file|failed"),
    "that fails without a word": ('case $* in *--version*) echo "version 1";; *) exit 1;; esac', "does not say why"),
    "that is silent": ("exit 0", "does not name its version"),
    "that fails at once": ("exit 3", "does not say why"),
    "that writes what is not text": (r"printf '\377\n'; case $* in *--version*) ;; *) exit 1;; esac", "failed"),
    "that writes no library": ('for last; do :; done; echo version 1; echo "nothing" > "$5"', "failed|not available"),
}


@pytest.mark.parametrize("what", COMPILERS)
def test_a_compiler(cache, tmp_path, monkeypatch, what):
    """Torch takes over, which is said in one warning."""
    program, reason = COMPILERS[what]
    (tmp_path / "c++").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    with pytest.warns(RuntimeWarning, match="C\\+\\+ long convolution is not available") as said:
        assert cpu_backend.library.__wrapped__() is None
    assert re.search(reason, str(said[-1].message)), said[-1].message
