"""All five tasks end to end on a folder of real data that is not DART-Eval's: intervals, variants and tracks of hg19
chr20 and chr22, and a piece of hg38 chr22 (docs/real_data.md says what they are).

    python -m studies.real_data --data real-data --output results/real_data
    python -m studies.tables --take results/real_data
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from evaluation_dart import RECIPES, evaluate, load_scorer
from evaluation_dart.inputs import described_inputs
from evaluation_dart.run import evaluate_rows
from evaluation_dart.spec import RunSpec
from studies.real_inputs import (
    DEMO,
    DSQTL_PAIRS,
    KMERS,
    MARKOV,
    RANDOM,
    WINDOW,
    cell_type_inputs,
    dsqtl_inputs,
    dsqtl_pairs,
    element_inputs,
    lifted_activity_inputs,
    motif_inputs,
    mutagenesis_inputs,
    piece_activity_inputs,
)
from trainer_scripts.messages import run_function

Run = tuple[str, str, dict[str, Any]]  # suffix of the folder, model, options of the run


def run_dsqtl_pairs(data: Path, output: Path) -> None:
    """Which allele is more accessible: the direction, as all effects are 1."""
    pairs = dsqtl_pairs(data)
    inputs = described_inputs(**{level: data / path for level, path in DSQTL_PAIRS.items()})
    for suffix, model, recipe in (
        ("", DEMO, "dart-eval"),
        ("", RANDOM, "dart-eval"),
        ("-whole-alleles", DEMO, "whole-alleles"),
        ("-whole-alleles", RANDOM, "whole-alleles"),
        ("-whole-alleles", MARKOV, "whole-alleles"),
    ):
        folder = str(output / f"dsqtl-pairs{suffix}")
        spec = RunSpec(model, "variant_effects", "zero_shot_likelihood", recipe=recipe, output=folder)
        print(evaluate_rows(load_scorer(model, device="cpu"), pairs, spec, RECIPES[recipe], inputs=inputs).folder)


def real_data(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/, motifs/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results/real_data"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
) -> None:
    """Run every task on real data that is not DART-Eval's; what is done already is not done again.

    python -m studies.real_data --data real-data
    """
    work = output / "inputs"
    likelihood: dict[str, Any] = {"setting": "zero_shot_likelihood"}
    embedding: dict[str, Any] = {"setting": "zero_shot_embedding"}
    clustering: dict[str, Any] = {"setting": "clustering"}
    cut = likelihood | {"window": WINDOW}
    variant_runs: list[Run] = [
        ("", DEMO, cut),
        ("", RANDOM, cut),
        ("-whole-alleles", DEMO, cut | {"recipe": "whole-alleles"}),
        ("-whole-alleles", RANDOM, cut | {"recipe": "whole-alleles"}),
        ("-whole-alleles", MARKOV, cut | {"recipe": "whole-alleles"}),
        ("-traitgym", DEMO, cut | {"recipe": "traitgym"}),
        *(("", model, embedding | {"window": WINDOW}) for model in (DEMO, RANDOM, KMERS)),
    ]
    motifs = f"motifs:{data}/motifs/H12CORE_meme_format.meme.gz"
    element_runs: list[Run] = [("", model, likelihood) for model in (DEMO, RANDOM, MARKOV)]
    cell_type_runs: list[Run] = [("", model, clustering) for model in (DEMO, RANDOM, motifs, KMERS)]
    activity_runs: list[Run] = [("", model, cut) for model in (DEMO, RANDOM, MARKOV)]
    motif_runs: list[Run] = [
        *(("", model, embedding) for model in (DEMO, RANDOM, KMERS)),
        *(("", model, likelihood) for model in (DEMO, RANDOM, MARKOV)),
    ]
    plan: list[tuple[str, str, Any, list[Run]]] = [
        ("elements", "regulatory_elements", element_inputs, element_runs),
        ("cell-types", "cell_type_elements", cell_type_inputs, cell_type_runs),
        ("mutagenesis-HNF4A", "variant_effects", mutagenesis_inputs, variant_runs),
        ("dsqtl", "variant_effects", dsqtl_inputs, variant_runs),
        ("activity-piece", "chromatin_activity", piece_activity_inputs, activity_runs),
        ("activity-lifted", "chromatin_activity", lifted_activity_inputs, activity_runs),
        ("motifs", "motif_footprinting", motif_inputs, motif_runs),
    ]
    for name, task, prepare, runs in plan:
        if only in name:
            inputs = prepare(data, work)
            for suffix, model, options in runs:
                print(f"{name}{suffix}: {model}, {options['setting']}", flush=True)
                evaluate(model, task, output=output / f"{name}{suffix}", **inputs, **options)
    if only in "dsqtl-pairs":
        run_dsqtl_pairs(data, output)


if __name__ == "__main__":
    run_function(real_data)
