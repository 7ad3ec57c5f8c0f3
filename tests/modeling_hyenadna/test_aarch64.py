"""The C++ operator on NEON: built by the cross compiler, run by qemu, against the definition in float64."""

import shutil
import subprocess
from pathlib import Path

import pytest

from modeling_hyenadna.long_conv import cpu_backend
from modeling_hyenadna.long_conv.build import CSRC
from modeling_hyenadna.long_conv.fft_plan import right_angle_length

PROGRAM = Path(__file__).with_name("operator_on_aarch64.cpp")
COMPILER = shutil.which("aarch64-linux-gnu-g++")
QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
# One point, one level with odd factors, two levels, outputs beyond the transform; whole vectors and a rest
SHAPES = [(1, 1, 1), (2, 3, 17), (1, 5, 97), (2, 6, 130), (1, 4, 1026), (1, 17, 960), (1, 3, 2050)]


@pytest.mark.skipif(COMPILER is None, reason="aarch64-linux-gnu-g++ is not installed")
@pytest.mark.skipif(QEMU is None, reason="qemu-aarch64 is not installed")
def test_neon_gives_what_the_definition_gives(tmp_path):
    library, program = tmp_path / "operator.so", tmp_path / "program"
    cpu_backend.compile_library(COMPILER, "aarch64", library)
    assert (
        "fmla"
        in subprocess.run(
            ["aarch64-linux-gnu-objdump", "-d", tmp_path / "portable.o"], capture_output=True, text=True, check=True
        ).stdout
    )  # vectors of four floats, multiplied and added in one instruction
    # Loaded from beside the program; linked without the undefined symbols of a static build
    command = [COMPILER, *cpu_backend.COMMON_FLAGS, "-O1", f"-I{CSRC}", PROGRAM, library, "-o", program]
    subprocess.run([*command, f"-Wl,-rpath,{tmp_path}", "-fopenmp"], check=True)
    lines = "".join(f"{b} {d} {length} {right_angle_length(length)}\n" for b, d, length in SHAPES)
    done = subprocess.run(
        [QEMU, "-L", "/usr/aarch64-linux-gnu", program], input=lines, capture_output=True, text=True, check=True
    )
    errors = [list(map(float, line.split())) for line in done.stdout.splitlines()]
    assert [len(own) for own in errors] == [7] * len(SHAPES)
    assert max(max(own) for own in errors) < 2e-6
