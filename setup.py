"""The compiled library of a wheel for one kind of machine, and the README for PyPI; all else is in setup.cfg.

`HYENADNA_WHEEL_MACHINE=x86_64` (or aarch64, with CXX its cross compiler) makes such a wheel, where torch is installed:
`make wheels`. Without it the wheel is pure Python, and compiles the library on first use.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

MACHINE = os.environ.get("HYENADNA_WHEEL_MACHINE")
MACOS = "macosx_11_0"  # the oldest that torch's own wheels run on
LIBRARIES = "modeling_hyenadna/long_conv/lib"


def readme() -> str:
    """README.md without what only a checkout has: pictures, and links to other files (their text stays)."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[[^]]*\]\((?!https?:)[^)]*\)\n+", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


class WithLibrary(build_py):
    """The packages, with the CPU library of `MACHINE`."""

    def run(self) -> None:
        """Copy the packages and compile."""
        shutil.rmtree(Path(self.build_lib) / LIBRARIES, ignore_errors=True)  # of a wheel before
        super().run()
        if not MACHINE:
            return
        sys.path.insert(0, str(Path(__file__).parent))
        from modeling_hyenadna.long_conv.cpu_backend import compile_library, in_wheel

        folder = Path(self.build_lib) / LIBRARIES
        folder.mkdir()
        compile_library(os.environ.get("CXX") or "c++", MACHINE, folder / in_wheel(MACHINE).name)
        for path in folder.glob("*.o"):
            path.unlink()


class OfMachine(Distribution):
    """Where it has the library, what it installs is of one kind of machine."""

    def has_ext_modules(self) -> bool:
        """Whether that is so."""
        return bool(MACHINE)


class ForMachine(bdist_wheel):
    """A wheel for any Python 3 on Linux machines of one kind, or on Macs."""

    def finalize_options(self) -> None:
        """Name the platform."""
        super().finalize_options()
        if MACHINE:
            self.plat_name = f"{'linux' if sys.platform == 'linux' else MACOS}_{MACHINE}"

    def get_tag(self) -> tuple[str, str, str]:
        """py3: the library is loaded by ctypes."""
        return ("py3", "none", super().get_tag()[2])


setup(
    distclass=OfMachine,
    cmdclass={"build_py": WithLibrary, "bdist_wheel": ForMachine},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
