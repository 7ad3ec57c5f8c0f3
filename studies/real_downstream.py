"""HyenaDNA's kind of downstream task on a folder of real data (docs/downstream.md): promoter and TF sets of GUE, and
GenomicBenchmarks' rows of chr20 and chr22, of which the sequence is there.

    python -m studies.real_downstream --data real-data --output results/real_downstream
    python -m studies.tables --take-downstream results/real_downstream

What is done already is not done again; what was killed goes on. --budget full trains by the paper's recipe.
"""

import os
import shlex
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer

from datasets_dart.files import write_text
from studies.real_inputs import DEMO, GUE, genome, gue_folder, rows_of
from trainer_scripts.finetune import summary
from trainer_scripts.finetune import train as finetune
from trainer_scripts.messages import run_function

GENOMIC_BENCHMARKS = (
    "human_enhancers_cohn",
    "human_enhancers_ensembl",
    "human_ensembl_regulatory",
    "human_nontata_promoters",
    "human_ocr_ensembl",
)
# How each row of a table is trained: what is fine-tuned, and what else is said on the command line.
MODELS: dict[str, list[str]] = {
    "fine-tuned": ["--model", str(DEMO)],
    "from-scratch": ["--model", str(DEMO), "--random_weights", "true"],
    "cnn": ["--model", "network:cnn"],
    "kmers-6": ["--model", "kmers:6"],
    "length": ["--model", "length"],
    # As the paper: pads on the left, up to the longest sequence, are read as tokens and averaged over
    "pads-read": ["--model", str(DEMO), "--masked", "false"],
    # As Trainer on the official port (hyena-dna issue 60): they are read, and the last token, [SEP], is pooled
    "pads-read-last-token": shlex.split(f"--model {DEMO} --masked false --pooling last --special_tokens true"),
}
OF_LENGTH = ("length", "pads-read", "pads-read-last-token")
OF_LENGTHS = [
    f"genomic_benchmarks/{name}"
    for name in ("human_enhancers_ensembl", "human_ensembl_regulatory", "human_ocr_ensembl")
]


def genomic_benchmarks_folder(data: Path, work: Path) -> Path:
    """Published intervals of chr20 and chr22, lifted to hg19, in the published form."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for row in rows_of(data / "intervals/genomic_benchmarks.chr20_chr22.hg38_hg19.tsv.gz"):
        own = lines.setdefault((row["dataset"], row["split"], row["label"]), [])
        place = (row["hg19_chrom"], row["hg19_start"], row["hg19_end"], row["strand"])
        own.append(",".join((str(len(own)), *place)))
    for (name, split, label), own in lines.items():
        target = work / "genomic_benchmarks" / name / split / f"{label}.csv"
        write_text(target, "id,region,start,end,strand\n" + "\n".join(own) + "\n")
    return work / "genomic_benchmarks"


def commands(data: Path, output: Path, budget: str, seeds: Iterable[int]) -> dict[str, list[str]]:
    """Command lines of finetune by the name of the run, task/model/seed."""
    work = output / "inputs"
    inputs = {f"gue/{name}": ["--data", str(gue_folder(data, work))] for name in GUE}
    folder = genomic_benchmarks_folder(data, work)
    for name in GENOMIC_BENCHMARKS:
        inputs[f"genomic_benchmarks/{name}"] = ["--data", str(folder), "--genome", str(genome(data, work))]
    made = {}
    for seed in seeds:
        for task, given in inputs.items():
            for model, words in MODELS.items():
                # Where all sequences are as long, there is nothing to pad; and these show a difference, not a spread.
                if model in OF_LENGTH and (seed or task not in OF_LENGTHS):
                    continue
                if model == "kmers-6" and seed:  # nothing in it is drawn
                    continue
                name = f"{task}/{model}/seed-{seed}"
                place = str(output / "runs" / budget / name)
                made[name] = ["--task", task, *given, *words, "--budget", budget, "--seed", str(seed)]
                made[name] += ["--output", place]
    return made


def train(words: list[str], threads: int) -> str:
    """One run of finetune, and what it says in the end."""
    torch.set_num_threads(threads)
    return summary(finetune(words))


def real_downstream(
    data: Annotated[Path, typer.Option(help="folder with genomes/, intervals/ and benchmarks/")],
    output: Annotated[Path, typer.Option(help="folder of runs")] = Path("results/real_downstream"),
    budget: Annotated[str, typer.Option(help="small: 1,024 rows and 256 steps; full: the paper's recipe")] = "small",
    seeds: Annotated[int, typer.Option(help="seeds 0, 1, ... of each model")] = 3,
    only: Annotated[str, typer.Option(help="run only names with one of these, by commas; a+b: with both")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, which share the cores")] = 1,
) -> None:
    """Fine-tune, train from scratch, and train baselines on the same rows.

    python -m studies.real_downstream --data real-data --jobs 2
    """
    chosen = {
        name: words
        for name, words in commands(data, output, budget, range(seeds)).items()
        if any(all(part in name for part in word.split("+")) for word in only.split(","))
    }
    threads = max(1, (os.cpu_count() or jobs) // jobs)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(train, words, threads): name for name, words in chosen.items()}
        try:
            for done in as_completed(running):
                typer.echo(f"{running[done]}\n{done.result()}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    run_function(real_downstream)
