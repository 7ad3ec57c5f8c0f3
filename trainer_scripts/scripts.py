"""What the training scripts share: a parser made from dataclasses, whose help shows defaults."""

from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from typing import Any

from transformers import HfArgumentParser


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults shown, and the lines to copy left as they are."""


def argument_parser(dataclasses: Any, script: str, description: str | None) -> HfArgumentParser:
    """The parser of a script of this package, from the dataclasses of its arguments."""
    return HfArgumentParser(
        dataclasses,
        prog=f"python -m trainer_scripts.{script}",
        description=description,
        epilog="--debug shows the traceback of an error.",
        formatter_class=HelpFormatter,
    )
