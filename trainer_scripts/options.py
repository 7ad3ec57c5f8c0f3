"""What the commands and the scripts share: options, former names of options and models, one way to run a program."""

import os
import re
import signal
import sys
import threading
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError, MissingExtra
from trainer_scripts.pipes import errors_as_given, pipes_copied

EXPECTED = (InputError, MissingExtra, OSError, MemoryError)
COMPUTING = "Computing"
QUIET, LOG_FILE = "--quiet", "--log-file"
ABOUT = {QUIET: "no progress bars and no notes", LOG_FILE: "add notes, progress and errors to the end of this file"}
COMMON = f"--debug shows the traceback of an error; {QUIET}: {ABOUT[QUIET]}; {LOG_FILE} FILE: {ABOUT[LOG_FILE]}."
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one", rich_help_panel=COMPUTING)
]
Revision = Annotated[
    str | None, typer.Option(help="commit, branch or tag of the model on the Hub", rich_help_panel=COMPUTING)
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="run the Python code in the model's repository", rich_help_panel=COMPUTING
    ),
]

# Former name -> today's, accepted for one version by all commands and scripts. A key is "--option" or, of a model's
# spelling, "--model PATTERN"; a word before it is the only command ("finetune") or setting where that holds.
OLD_NAMES: dict[str, str] = {
    "--fasta": "--genome",
    "--vcf": "--variants",
    "--bed": "--regions",
    "--output-dir": "--output",
    "--half": "--stored-dtype float16",
    "--epochs": "--num-train-epochs",
    "--forward-rows": "--per-device-train-batch-size",
    "--schedule": "--lr-scheduler-type",
    "finetune --warmup": "--warmup-steps",
    "in_context --warmup": "--warmup-steps",
    "--final-learning-rate": "--min-lr-rate",
    "--patience": "--early-stopping-patience",
    "--checkpoint-every": "--save-steps",
    "pretrain --steps": "--max-steps",
    "pretrain --batch-size": "--per-device-train-batch-size",
    "--accumulation": "--gradient-accumulation-steps",
    "--beta2": "--adam-beta2",
    "--log-every": "--logging-steps",
    "--evaluate-every": "--eval-steps",
    "--keep-checkpoints": "--save-total-limit",
    "--activation-checkpointing": "--gradient-checkpointing",
    "--compile": "--torch-compile",
    "perplexity --models": "--model",
    "finetune --model cnn": "network:cnn",
    r"--model (.+\.safetensors)": r"markov:\1",
    r"--model (.+\.meme(\.gz)?)": r"motifs:\1",
    r"--model kmers-([1-8])": r"kmers:\1",
    r"--model gc-content": "gc",
    r"--model (probing-head-like|chrombpnet-like|chrombpnet-counts)": r"network:\1",
    r"ab_initio --model (.+\.(tsv|csv)(\.gz)?|.+\.parquet)": r"table:\1",
    r"ab_initio --model (.*/.*)": r"random:\1",
}
KIND = re.compile("[a-z]+:")


def renamed(words: list[str], command: str = "") -> list[str]:
    """Words of a command line with today's names: `--batch_size` is `--batch-size`, and so on by [`OLD_NAMES`].

    Each former name that is used is reported in one line on standard error, after `command`, such as "hyenadna score".
    """
    joined = " ".join(words)
    setting = re.search(r"--setting[ =](\w+)", joined)
    scopes = ("", f"{command} ", f"{setting[1]} " if setting else "")
    prog = f"{command}: " if command else ""

    def today(old: str, shown: str) -> str | None:
        for key, new in OLD_NAMES.items():
            for scope in scopes:
                if key.startswith(f"{scope}--") and (match := re.fullmatch(key.removeprefix(scope), old)):
                    name = match.expand(new)
                    print(f"{prog}{shown} is now {name}; the former name goes with the next version", file=sys.stderr)
                    return name
        return None

    def model(value: str) -> str:
        if KIND.match(value):
            return value
        path = f"./{value}" if "/" not in value and Path(value).is_dir() else value
        return today(f"--model {path}", value) or value

    found: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if found[-1:] == ["--model"]:
            found.append(model(word))
        elif word.startswith("--"):
            option = option.replace("_", "-")
            name = today(option, option) or option
            value = model(value) if name == "--model" and equals else value
            found += [f"{name}={value}"] if equals else name.split()
        else:
            found.append(word)
    return found


def terminate(*_: object) -> None:
    """A handler of SIGTERM: leave in order, with its exit status."""
    sys.exit(128 + signal.SIGTERM)


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error of safetensors or torch, which have no class for it, says that a file cannot be written."""
    return any(words in str(error) for words in ("I/O error", "PytorchStreamWriter", "inline_container.cc"))


def said_of(error: Exception) -> str:
    """What an error says in one line; of the operating system's, the file first, as in our own, without its number."""
    if isinstance(error, OSError) and error.errno and error.filename and str(error).startswith("[Errno"):
        return f"{os.fsdecode(error.filename)}: {str(error.strerror).lower()}"
    return " ".join(str(error).split())


def check_text(words: list[str]) -> None:
    """Raise InputError naming the first word whose bytes are no UTF-8, as Arrow and JSON take no such names."""
    for word in words:
        if not word.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise InputError(f"{word!a}: is not text in UTF-8; rename the file or folder, or set a locale of UTF-8")


def run(main: Callable[[list[str]], object], prog: str, words: list[str] | None = None) -> None:
    """Run a program on its words (by default those of the process) and leave with its exit status.

    0 is success; 1 a fault of the input or of where it runs, in one line on standard error; 2, by the parser, a line
    that cannot be understood. `--debug` among the words gives the traceback of a fault; a bug always keeps its own.
    SIGINT ends a program with 130 and SIGTERM with 143, without a traceback, and nothing half written is left. Pipes
    are read as files are.
    """
    given = sys.argv[1:] if words is None else words
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, terminate) if in_main_thread else None
    try:
        check_text([*given, os.getcwd()])
        with pipes_copied([word for word in given if word != "--debug"]) as own, errors_as_given():
            main(own)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if "--debug" in given or not (isinstance(error, EXPECTED) or is_of_the_disk(error)):
            raise
        prog += ": not enough memory" if isinstance(error, MemoryError) else ""
        print(f"{prog}:", said_of(error), file=sys.stderr)
        sys.exit(1)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults shown, and the lines to copy left as they are."""


def argument_parser(dataclasses: Any, script: str, description: str | None) -> Any:
    """The HfArgumentParser of a script of this package, from the dataclasses of its arguments.

    Words that it does not know end the program with status 2, as in every command: the class's own way is a traceback,
    or to take them for the beginning of another option.
    """
    from transformers import HfArgumentParser

    class Parser(HfArgumentParser):
        def parse_args_into_dataclasses(
            self, args: Any = None, return_remaining_strings: Any = False, *others: Any, **options: Any
        ) -> Any:
            found = super().parse_args_into_dataclasses(args, True, *others, **options)
            if return_remaining_strings:
                return found
            if found[-1]:
                self.error(f"unrecognized arguments: {' '.join(found[-1])}")
            return found[:-1]

    return Parser(
        dataclasses,
        prog=f"python -m trainer_scripts.{script}",
        description=description,
        epilog=COMMON,
        formatter_class=HelpFormatter,
        allow_abbrev=False,  # --task is no --tasks
    )
