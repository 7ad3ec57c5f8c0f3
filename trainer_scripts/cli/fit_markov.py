"""The command `hyenadna fit-markov`: a Markov model of the same bases that `pretrain` draws its windows from."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import typer

from trainer_scripts.messages import result

# The words go to the parser of `pretrain`, whose options for the data are these.
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@dataclass
class MarkovArguments:
    """What is fitted."""

    order: int = field(metadata={"help": "bases of context; the file serves all lower orders, too"})
    output: str = field(metadata={"help": "safetensors file to write"})
    strength: float = field(default=16.0, metadata={"help": "weight of the next lower order, in observations"})
    seed: int = field(default=2222, metadata={"help": "that of the pretraining run"})
    overwrite: bool = field(default=False, metadata={"help": "replace what is there"})


def option_parser() -> Any:
    """The parser of the command's options, an HfArgumentParser."""
    from transformers import HfArgumentParser

    from trainer_scripts.pretraining_data import DataArguments

    kinds: Any = (DataArguments, MarkovArguments)
    return HfArgumentParser(kinds, prog="hyenadna fit-markov", description=fit_markov.__doc__)


def fit_markov(context: typer.Context) -> None:
    """Fit a Markov model to the bases that `pretrain` draws its windows from.

    Options that choose the data are those of `pretrain`; with the same seed the same blocks are held out.

    hyenadna fit-markov --genome hg19.chrX.fa.gz --exclude held_out.bed --exclude-margin 10000 --order 7 \\
        --output markov.safetensors
    """
    from datasets_dart.errors import InputError
    from datasets_dart.outputs import described, made
    from evaluation_dart.models.markov import MarkovModel
    from trainer_scripts.pretraining_data import read_genome, training_and_validation_regions

    data, arguments = option_parser().parse_args_into_dataclasses(context.args)
    inputs = [value for value in asdict(data).values() if isinstance(value, str) and Path(value).is_file()]
    choices = {name: described(value) for name, value in (asdict(data) | asdict(arguments)).items() if name != "output"}
    choices.pop("overwrite")

    def write(path: Path) -> dict[str, Any]:
        if data.soft_masked == "ignore":
            raise InputError("soft_masked ignore: a Markov model predicts what it reads; choose keep or unknown")
        genome = read_genome(data)
        regions = training_and_validation_regions(genome, data, arguments.seed)
        stretches = (genome.codes[start:end] for start, end in regions.train.tolist())
        model = MarkovModel.fit(stretches, arguments.order, arguments.strength, data.both_strands)
        if not (bases := int(model.counts[0].sum())):
            raise InputError(f"{data.genome}: no known base is left to train on")
        model.save(path)
        return {"order": model.order, "bases": bases}

    made_of = {"kind": "markov", "choices": choices}
    about = {"output": arguments.output} | made(arguments.output, made_of, write, inputs, overwrite=arguments.overwrite)
    result(about, f"{arguments.output}: orders 0 to {about['order']}, {about['bases']:,} bases counted")
