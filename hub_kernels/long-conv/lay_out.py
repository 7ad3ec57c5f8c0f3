"""Make the folder that kernel-builder builds and uploads: this one, and the CUDA sources that the package has.

python hub_kernels/long-conv/lay_out.py FOLDER
cd FOLDER && kernel-builder build-and-upload
"""

import argparse
import shutil
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "modeling_hyenadna" / "long_conv"


def lay_out(folder: Path) -> None:
    """Fill `folder`, which must not exist yet.

    Raises:
        FileExistsError: if it does.
        FileNotFoundError: if build.toml names a source that is not there.
    """
    build = tomllib.loads((HERE / "build.toml").read_text(encoding="utf-8"))
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns(Path(__file__).name, "__pycache__"))
    for source in build["kernel"]["long_conv"]["src"]:
        (folder / source).parent.mkdir(exist_ok=True)
        shutil.copy2(SOURCES / source, folder / source)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    lay_out(parser.parse_args().folder)
