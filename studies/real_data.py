"""All five tasks end to end on a folder of real data that is not DART-Eval's: intervals, variants and tracks of hg19
chr20 and chr22, and a piece of hg38 chr22 (docs/real_data.md says what they are).

    python -m studies.real_data --data real-data --output results/real_data
    python -m studies.tables --take results/real_data
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from evaluation_dart.records import read_record
from evaluation_dart.run import evaluate
from evaluation_dart.scoring.likelihoods import RECIPES
from modeling_hyenadna import HyenaDNAConfig, HyenaDNAForCausalLM, HyenaDNATokenizer
from studies.program import run_program
from studies.real_inputs import (
    DEMO,
    MARKOV,
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
from trainer_scripts.cli.dart_eval import described_inputs, load_scorer, print_metrics, run

Run = tuple[str, Path, dict[str, Any]]  # suffix of the folder, model, options of the run


def run_dsqtl_pairs(data: Path, output: Path) -> None:
    """Which allele is more accessible: the direction, as all effects are 1."""
    pairs = dsqtl_pairs(data)
    files = {level: data / f"benchmarks/dsqtl_degner2012_{level}.100bp.fa.gz" for level in ("low", "high")}
    for suffix, model, recipe in (
        ("", DEMO, "dart-eval"),
        ("-whole-alleles", DEMO, "biofoundation"),
        ("-whole-alleles", MARKOV, "biofoundation"),
    ):
        load = {"revision": None, "device": "cpu", "dtype": "float32"}
        scorer, described = load_scorer(str(model), "zero_shot_likelihood", load)
        folder = evaluate(
            scorer,
            pairs,
            "variant_effects",
            "zero_shot_likelihood",
            RECIPES[recipe],
            output / f"dsqtl-pairs{suffix}",
            split="test",
            protocol="fixed",
            model=described,
            inputs=described_inputs(**files),
        )
        print_metrics(read_record(folder))


def untrained(work: Path) -> Path:
    """The demo checkpoint's architecture with random weights, to see what training does."""
    folder = work / "hyenadna-tiny-1k-untrained"
    torch.manual_seed(0)
    HyenaDNAForCausalLM(HyenaDNAConfig.from_pretrained(DEMO)).save_pretrained(folder)
    HyenaDNATokenizer.from_pretrained(DEMO).save_pretrained(folder)
    return folder


def real_data(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/, motifs/ and variants/")],
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results/real_data"),
    only: Annotated[str, typer.Option(help="run only what has this in its name")] = "",
) -> None:
    """Run every task on real data that is not DART-Eval's; what is done already is not done again.

    python -m studies.real_data --data real-data
    """
    work = output / "inputs"
    work.mkdir(parents=True, exist_ok=True)
    random_weights = untrained(work)
    likelihood: dict[str, Any] = {"setting": "zero_shot_likelihood"}
    embedding: dict[str, Any] = {"setting": "zero_shot_embedding"}
    clustering: dict[str, Any] = {"setting": "clustering"}
    cut = likelihood | {"window": WINDOW}
    variant_runs: list[Run] = [
        ("", DEMO, cut),
        ("-whole-alleles", DEMO, cut | {"recipe": "biofoundation"}),
        ("-whole-alleles", MARKOV, cut | {"recipe": "biofoundation"}),
        ("-traitgym", DEMO, cut | {"recipe": "traitgym"}),
        ("", DEMO, embedding | {"window": WINDOW}),
    ]
    motifs = data / "motifs/H12CORE_meme_format.meme.gz"
    element_runs: list[Run] = [("", model, likelihood) for model in (DEMO, random_weights, MARKOV)]
    cell_type_runs: list[Run] = [("", model, clustering) for model in (DEMO, random_weights, motifs)]
    lifted_runs: list[Run] = [("", model, cut) for model in (DEMO, MARKOV)]
    motif_runs: list[Run] = [("", DEMO, embedding), ("", DEMO, likelihood), ("", MARKOV, likelihood)]
    plan: list[tuple[str, str, Any, list[Run]]] = [
        ("elements", "regulatory_elements", element_inputs, element_runs),
        ("cell-types", "cell_type_elements", cell_type_inputs, cell_type_runs),
        ("mutagenesis-HNF4A", "variant_effects", mutagenesis_inputs, variant_runs),
        ("dsqtl", "variant_effects", dsqtl_inputs, variant_runs),
        ("activity-piece", "chromatin_activity", piece_activity_inputs, [("", DEMO, cut)]),
        ("activity-lifted", "chromatin_activity", lifted_activity_inputs, lifted_runs),
        ("motifs", "motif_footprinting", motif_inputs, motif_runs),
    ]
    for name, task, prepare, runs in plan:
        if only in name:
            inputs = prepare(data, work)
            for suffix, model, options in runs:
                print(f"{name}{suffix}: {model.name}, {options['setting']}", flush=True)
                run(model=str(model), task=task, output=output / f"{name}{suffix}", **inputs, **options)
    if only in "dsqtl-pairs":
        run_dsqtl_pairs(data, output)


if __name__ == "__main__":
    run_program(real_data)
