"""Make the folder of a demo Space that can be pushed, with the package's wheel, which is on no index yet.

python spaces/build.py OWNER/try-hyenadna --wheel dist/hyenadna_dart-0.1.0-py3-none-any.whl --output space
hf upload OWNER/try-hyenadna space --repo-type space
"""

import argparse
import re
import shutil
from pathlib import Path

SOURCE = Path(__file__).parent / "try-hyenadna"
FILES = ("README.md", "answers.py", "app.py", "requirements.txt")
PACKAGE = re.compile(r"^hyenadna-dart(\[\w+\])==.*$", re.MULTILINE)


def build(repository: str, wheel: Path, output: Path) -> None:
    """Copy the Space's files and the wheel, whose address in the Space requirements.txt then names.

    Raises:
        FileExistsError: for a folder that is there. FileNotFoundError: for a wheel that is not. ValueError: for a name
            that is not OWNER/NAME.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository}: a Space is named OWNER/NAME")
    if not wheel.is_file():
        raise FileNotFoundError(f"{wheel}: no such wheel; make wheels builds it")
    output.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(SOURCE / name, output / name)
    shutil.copyfile(wheel, output / wheel.name)
    address = f"https://huggingface.co/spaces/{repository}/resolve/main/{wheel.name}"
    path = output / "requirements.txt"
    path.write_text(PACKAGE.sub(rf"hyenadna-dart\1 @ {address}", path.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="OWNER/NAME of the Space")
    parser.add_argument("--wheel", type=Path, required=True, help="of the package, as make wheels builds it")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    arguments = parser.parse_args()
    try:
        build(arguments.repository, arguments.wheel, arguments.output)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    print(arguments.output)


if __name__ == "__main__":
    main()
