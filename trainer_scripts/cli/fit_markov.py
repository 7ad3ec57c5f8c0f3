"""Fit a Markov model to the same bases that `pretrain` draws its windows from.

    python -m trainer_scripts.cli.fit_markov --genome hg19.chrX.fa.gz --exclude held_out.bed --exclude_margin 10000 \\
        --order 7 --output markov.safetensors

The flags of `pretrain` that choose the data mean the same here; with the same --seed the same blocks are held out.
"""

import sys
from dataclasses import dataclass, field

from evaluation_dart.models.markov import MarkovModel
from trainer_scripts.pretrain import argument_parser
from trainer_scripts.pretraining_data import DataArguments, read_genome, training_and_validation_regions


@dataclass
class MarkovArguments:
    order: int = field(metadata={"help": "bases of context; the file serves all lower orders, too"})
    output: str = field(metadata={"help": "safetensors file to write"})
    strength: float = field(default=16.0, metadata={"help": "weight of the next lower order, in observations"})
    seed: int = field(default=2222, metadata={"help": "that of the pretraining run"})


def main() -> None:
    parser = argument_parser((DataArguments, MarkovArguments), "fit_markov", __doc__)
    try:
        data, arguments = parser.parse_args_into_dataclasses()
        genome = read_genome(data)
        regions, _ = training_and_validation_regions(genome, data, arguments.seed)
        stretches = (genome.codes[start:end] for start, end in regions.tolist())
        model = MarkovModel.fit(stretches, arguments.order, arguments.strength, data.both_strands)
        model.save(arguments.output)
    except (ValueError, OSError) as error:
        sys.exit(f"fit_markov: {error}")
    print(f"{arguments.output}: orders 0 to {model.order}, {model.counts[0].sum():,} bases counted")


if __name__ == "__main__":
    main()
