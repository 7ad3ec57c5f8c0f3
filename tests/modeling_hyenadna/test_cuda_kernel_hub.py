"""The Kernel Hub layout of the CUDA kernels: its files, and loading a build of it through `kernels`."""

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import torch

from modeling_hyenadna.long_conv import cuda_backend
from modeling_hyenadna.long_conv.build import CSRC
from modeling_hyenadna.long_conv.plain_backend import long_conv_plain

PROJECT = Path(__file__).parents[2] / "hub_kernels" / "long-conv"
# What kernel-builder generates: a module that torch can load, whose operators' name is its own.
REGISTRATION = """
#pragma once
#include <Python.h>
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TORCH_LIBRARY_EXPAND(name, module) TORCH_LIBRARY(name, module)
#define REGISTER_EXTENSION(name)                                                          \\
  PyMODINIT_FUNC JOIN(PyInit_, name)() {                                                   \\
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ops", nullptr, 0, nullptr}; \\
    return PyModule_Create(&module);                                                       \\
  }
"""
OPERATORS = """
import torch
from . import _long_conv_on_host
ops = torch.ops._long_conv_on_host
"""


@pytest.fixture
def project(tmp_path):
    specification = importlib.util.spec_from_file_location("lay_out", PROJECT / "lay_out.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.lay_out(tmp_path / "long-conv")
    return tmp_path / "long-conv"


def test_layout_is_complete(project):
    build = tomllib.loads((project / "build.toml").read_text())
    name = build["general"]["name"].replace("-", "_")
    assert (project / "torch-ext" / name / "__init__.py").is_file()
    assert build["general"]["hub"]["repo-id"] == cuda_backend.KERNEL_REPOSITORY
    assert build["general"]["version"] == cuda_backend.KERNEL_VERSION
    listed = [*build["torch"]["src"], *build["kernel"]["long_conv"]["src"]]
    assert all((project / source).is_file() for source in listed)
    # kernel-builder sees the files that are listed, no others
    assert {Path(source).name for source in listed if source.startswith("csrc")} == set(cuda_backend.SOURCES)


def test_build_file_is_valid(project):
    kernels = pytest.importorskip("kernels._rust", reason="kernels is not installed")
    assert [str(backend) for backend in kernels.Build.open(project).general.backends] == ["cuda"]


def test_layout_refuses_a_folder_that_exists(project):
    run = subprocess.run([sys.executable, PROJECT / "lay_out.py", project], capture_output=True, text=True)
    assert run.returncode != 0
    assert "FileExistsError" in run.stderr


def build_on_host(project: Path, variant: Path) -> None:
    """What kernel-builder would, but with the kernels' host emulation in place of cuda.cu."""
    variant.mkdir(parents=True)
    shutil.copy(project / "torch-ext" / "long_conv" / "__init__.py", variant)
    (variant / "_ops.py").write_text(OPERATORS)
    backend = {"type": "cpu"}
    metadata = {"id": "_long_conv_cpu_host", "name": "long-conv", "version": 1, "license": "Apache-2.0"}
    (variant / "metadata.json").write_text(json.dumps(metadata | {"python-depends": [], "backend": backend}))
    (project / "registration.h").write_text(REGISTRATION)
    root = Path(torch.__file__).parent
    includes = [project, root / "include", root / "include/torch/csrc/api/include", sysconfig.get_paths()["include"]]
    command = ["g++", "-std=c++20", "-O1", "-fPIC", "-shared", "-Wno-unknown-pragmas"]
    command += ["-DTORCH_EXTENSION_NAME=_long_conv_on_host", *(f"-I{folder}" for folder in includes)]
    command += ["-o", str(variant / "_long_conv_on_host.abi3.so"), str(project / "torch-ext/torch_binding.cpp")]
    subprocess.run([*command, str(CSRC / "gpu_emulation.cpp"), f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10"], check=True)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="the variant's name is Linux's")
@pytest.mark.skipif(torch.version.cuda is not None, reason="kernels would look for a CUDA build")
def test_loads_through_kernels(project, monkeypatch):
    pytest.importorskip("kernels", reason="kernels is not installed")
    version = "".join(torch.__version__.split(".")[:2])
    build_on_host(project, project / "build" / f"torch{version}-cxx11-cpu-x86_64-linux")
    monkeypatch.setenv("LOCAL_KERNELS", f"{cuda_backend.KERNEL_REPOSITORY}={project}")

    loaded = cuda_backend._from_kernel_hub()
    assert loaded.hyena_gpu_error(1) == b"too much shared memory"
    monkeypatch.setattr(cuda_backend, "library", lambda: loaded)
    monkeypatch.setattr(
        cuda_backend, "properties", lambda _: cuda_backend.Device(232_448, processors=2, memory=80 << 30)
    )
    v, gate_in, gate_out = torch.randn(3, 2, 5, 130).unbind()
    k, skip = torch.randn(5, 130), torch.randn(5)
    expected = long_conv_plain(*(tensor.double() for tensor in (v, k, skip, gate_in, gate_out)))
    value = cuda_backend.forward(v, k, skip, gate_in, gate_out)
    torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_hub_that_cannot_serve_is_one_warning(monkeypatch):
    """Neither prebuilt, nor nvcc, nor a repository: torch's FFTs, with the reasons."""
    kernels = pytest.importorskip("kernels", reason="kernels is not installed")

    def refuse(*_, **__):
        raise ValueError("not a trusted publisher")

    monkeypatch.setattr(kernels, "get_kernel", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda_backend.shutil, "which", lambda _: None)
    with pytest.warns(RuntimeWarning, match="no nvcc found; Kernel Hub: not a trusted publisher"):
        assert cuda_backend.library.__wrapped__() is None
