"""Print setup.cfg's lowest versions as constraints for pip: `name==version` for every requirement with a `>=`.

python .github/lowest.py > lowest.txt
pip install --constraint lowest.txt --editable '.[dev]'
"""

import configparser
import re
from pathlib import Path

REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*>=\s*([0-9][0-9A-Za-z.]*)", re.MULTILINE)


def lowest(setup: Path) -> dict[str, str]:
    """The lowest version of each requirement that names one, those of extras included."""
    config = configparser.RawConfigParser()
    config.read(setup, encoding="utf-8")
    stated = [config["options"]["install_requires"], *dict(config["options.extras_require"]).values()]
    return dict(match for text in stated for match in REQUIREMENT.findall(text))


if __name__ == "__main__":
    for name, version in sorted(lowest(Path(__file__).parents[1] / "setup.cfg").items()):
        print(f"{name}=={version}")
