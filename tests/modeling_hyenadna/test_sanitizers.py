"""The C++ operator under AddressSanitizer and UndefinedBehaviorSanitizer: no report, and the same results.

The sanitized build runs in a process of its own, into which the sanitizers' libraries are preloaded, so that torch's
memory is watched, too.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modeling_hyenadna.long_conv import cpu_backend
from modeling_hyenadna.long_conv.build import CSRC

PROGRAM = Path(__file__).with_name("operator_results.py")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1")
COMPILER = shutil.which("g++")


def runtime(name: str) -> str:
    """The path of a library of the compiler's; skips the test where it has none."""
    path = subprocess.run([COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
    if not os.path.isabs(path.strip()):
        pytest.skip(f"the compiler has no {name}")
    return path.strip()


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | environment | {"PYTHONPATH": os.getcwd()}
    return subprocess.run([sys.executable, *map(str, command)], env=environment, capture_output=True, text=True)


def results(library: Path, output: Path, **environment: str) -> dict[str, list[torch.Tensor]]:
    done = run(PROGRAM, library, output, **environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(output, weights_only=True)


def best_build() -> str:
    """The best build that this processor can run."""
    return cpu_backend.library().hyena_build_name(len(cpu_backend.BUILDS) - 1).decode()


def compiled(folder: Path, *flags: str) -> Path:
    builds = cpu_backend.X86_BUILDS if platform.machine() == "x86_64" else {"portable": ("-DHYENA_LANES=4",)}
    dispatch = [CSRC / "cpu_dispatch.cpp"]
    if best_build() == "avx2":  # AVX-512's lanes and passes, of which the compiler makes AVX2's instructions
        builds = builds | {"avx512": (builds["avx512"][0], *builds["avx2"][1:], "-Wno-psabi")}
        dispatch.append("-D__builtin_cpu_supports(what)=true")
    sources = {name: [*own, f"-DHYENA_ARCH={name}", CSRC / "cpu_build.cpp"] for name, own in builds.items()}
    sources["dispatch"] = dispatch
    command = [COMPILER, *cpu_backend.COMMON_FLAGS, "-O1", "-fopenmp", *flags, "-c"]
    running = [
        subprocess.Popen([*command, *arguments, "-o", folder / f"{name}.o"]) for name, arguments in sources.items()
    ]
    assert [process.wait() for process in running] == [0] * len(running)
    target = folder / "operator.so"
    objects = [folder / f"{name}.o" for name in sources]
    subprocess.run([COMPILER, "-shared", "-fopenmp", *flags, "-o", target, *objects], check=True)
    return target


# An output whose last position lies beyond its memory.
OVERFLOW = """
import sys, torch
from modeling_hyenadna.long_conv import cpu_backend
from tests.modeling_hyenadna.operator_results import load
cpu_backend.library = lambda: load(sys.argv[1])
v, k, skip = torch.randn(1, 1, 64), torch.randn(1, 64), torch.randn(1)
cpu_backend._run("forward", v.shape, v=v, k=k, skip=skip, y=torch.empty(1, 1, 63))
"""


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The sanitized build, and the environment that its process needs."""
    if COMPILER is None or sys.platform != "linux":
        pytest.skip("g++ and its sanitizers, on Linux")
    preloaded = f"{runtime('libasan.so')} {runtime('libubsan.so')}"
    return compiled(tmp_path_factory.mktemp("sanitized"), *SANITIZE), {
        "ASAN_OPTIONS": "detect_leaks=0",
        "LD_PRELOAD": preloaded,
    }


def test_no_report_and_the_same_results(sanitized, tmp_path):
    library, environment = sanitized
    watched = results(library, tmp_path / "sanitized.pt", **environment)
    ordinary = results(cpu_backend.build(), tmp_path / "ordinary.pt")
    shapes = {"avx512"} if best_build() == "avx2" else set()
    assert watched.keys() == ordinary.keys() | shapes
    for name in watched:
        for ours, theirs in zip(watched[name], ordinary.get(name, ordinary[best_build()]), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_memory_of_torch_is_watched(sanitized):
    library, environment = sanitized
    done = run("-c", OVERFLOW, library, **environment)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
