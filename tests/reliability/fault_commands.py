"""The commands of README.md, each as a small instance that takes a second or two, and the inputs that they read."""

import gzip
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyBigWig

FIXTURES = Path(__file__).parents[1] / "fixtures"
SMALL = FIXTURES / "model" / "small_d32_l2_s130"
LONGER = FIXTURES / "model" / "tiny1k_d128_l2_s1026"
LIGHTNING = FIXTURES / "lightning_ckpt"
MARKOV = Path(__file__).parents[2] / "model_cards" / "markov-chrX" / "markov.safetensors"
CONTIGS = {"chr1": 12_000, "chr6": 4_000, "chr5": 4_000}  # train, validation and test of the paper's split


class Command(NamedTuple):
    """A line of a command, in a folder with the inputs.

    Attributes:
        before: lines that come first. other: words of another run into the same place, whose finished output is in the
            way in a part of the trials; () where there is none.
        kept: patterns of hidden names that a run that was stopped may keep, to go on from.
    """

    name: str
    line: str
    before: tuple[str, ...] = ()
    other: str = ""
    kept: tuple[str, ...] = ()


RUN = "dart-eval run --task regulatory_elements --genome in/g.fa --elements in/r.bed --device cpu"
TRAINED = "--set num_train_epochs=1 --set batch_size=16 --set learning_rate=1e-3 --window 64 --budget small"
DATASET = "hyenadna dataset --regions in/r.bed --genome in/g.fa --window 40 --validation chr6 --test chr5 --output rows"
SCORE = "hyenadna score --variants in/v.vcf --genome in/g.fa --model in/model --window 60 --device cpu --part 8"
EMBED = "hyenadna embed --regions in/few.bed --genome in/g.fa --model in/model --device cpu --part 8"
FINETUNE = (
    "finetune --task gue/toy --data in/gue --model in/model --output o --num-train-epochs 2 --batch-size 16 "
    "--save-steps 2 --device cpu --max-length 60"
)
PRETRAIN = (
    "pretrain --genome in/g.fa --d-model 16 --n-layer 1 --context 32 --validation-block 1000 --validation-windows 4 "
    "--max-steps 4 --per-device-train-batch-size 2 --warmup-steps 1 --logging-steps 1 --eval-steps 2 --save-steps 2 "
    "--output o"
)
PARTS = (".*.parts-*", ".*.parts-*/*")
SHARDS = ("*/.shards-*", "*/.shards-*/*")

COMMANDS = [
    Command("score to VCF", f"{SCORE} --output o.vcf.gz", other=f"{SCORE} --recipe dart-eval --output o.vcf.gz"),
    Command("score to TSV", f"{SCORE} --output o.tsv", other=f"{SCORE} --recipe dart-eval --output o.tsv"),
    Command("score to Parquet", f"{SCORE} --output o.parquet", other=f"{SCORE} --strand mean --output o.parquet"),
    Command("embed to Parquet", f"{EMBED} --output o.parquet", other=f"{EMBED} --pooling max --output o.parquet"),
    Command("embed to Zarr", f"{EMBED} --output o.zarr", other=f"{EMBED} --layer 0 --output o.zarr"),
    Command(
        "mutagenesis",
        "hyenadna mutagenesis --model in/model --genome in/g.fa --region chr1:101-106 --window 60 --device cpu "
        "--output o.tsv --logo o.png",
        other="hyenadna mutagenesis --model in/model --genome in/g.fa --region chr1:101-103 --window 60 --device cpu "
        "--output o.tsv --logo o.png",
    ),
    Command(
        "generate",
        "hyenadna generate --model in/model --number 4 --length 20 --reference in/g.fa --device cpu --output o.fa.gz",
        other="hyenadna generate --model in/model --number 2 --length 20 --device cpu --output o.fa.gz",
    ),
    Command("dataset", DATASET),
    Command(
        "train",
        "hyenadna train --data rows --model in/model --num-train-epochs 1 --no-logo --device cpu --output o",
        before=(DATASET,),
    ),
    Command("convert", "hyenadna convert in/weights.ckpt --config in/config.json --output o"),
    Command("convert to the official layout", "hyenadna convert --to-official in/model --output o"),
    Command(
        "fit-markov",
        "hyenadna fit-markov --genome in/g.fa --validation-block 1000 --order 3 --output o.safetensors",
        other="hyenadna fit-markov --genome in/g.fa --validation-block 1000 --order 2 --output o.safetensors",
    ),
    Command("export-hub-code", "hyenadna export-hub-code in/model"),
    Command("demo", f"hyenadna demo --model {LONGER} --markov {MARKOV} --output o --limit 4"),
    Command("run, zero-shot", f"{RUN} --model in/model --window 64 --limit 12 --output o"),
    Command(
        "run, fine-tuned",
        f"{RUN} --model in/model --setting finetuned {TRAINED} --splits in/splits.bed --training t --output o",
    ),
    Command(
        "run, from scratch",
        f"{RUN} --model kmers:3 --setting ab_initio --window 64 --splits in/splits.bed --training t --output o",
    ),
    Command("suite", "dart-eval suite --config in/suite.yaml --output o"),
    Command(
        "report",
        "dart-eval report runs --output o",
        before=(f"{RUN} --model in/model --window 64 --limit 12 --output runs",),
    ),
    Command(
        "prepare to Parquet",
        "dart-eval prepare --task regulatory_elements --genome in/g.fa --elements in/r.bed --to parquet --output o",
    ),
    Command("prepare-step windows", "dart-eval prepare-step windows in/r.bed --output o.tsv"),
    Command(
        "prepare-peaks consensus",
        "dart-eval prepare-peaks consensus A=in/p.narrowPeak B=in/p.narrowPeak --genome in/g.fa --width 100 "
        "--output o.tsv",
    ),
    Command("check", "dart-eval check in/gue/toy --no-seqleak --output o.parquet"),
    Command("pretrain", PRETRAIN),
    Command("finetune", FINETUNE),
    Command(
        "in_context",
        "in_context --method few_shot --task gue/toy --data in/gue --model in/model --output o --shots 1 "
        "--tuning-rows 32 --batch-size 8 --max-length 20 --device cpu",
    ),
    Command("perplexity", "perplexity --genome in/g.fa --model in/model --length 64 --windows 4 --output o.json"),
]


def write_inputs(folder: Path) -> None:
    """The inputs of all commands, in `folder`/in."""
    rng, place = np.random.default_rng(0), folder / "in"
    place.mkdir(parents=True)
    peaks, labelled, fasta, bases = [], [], [], {}
    for chrom, length in CONTIGS.items():
        own = rng.choice(np.frombuffer(b"ACGT", np.uint8), length, p=[0.35, 0.15, 0.15, 0.35])
        for number, start in enumerate(range(300, length - 300, 250)):
            if number % 2:
                own[start : start + 12] = ord("G")
                peaks.append(f"{chrom}\t{start - 20}\t{start + 32}\t.\t0\t.\t1\t9\t{number}\t26")
            labelled.append(f"{chrom}\t{start - 20}\t{start + 32}\t{'on' if number % 2 else 'off'}")
        bases[chrom] = own.tobytes().decode()
        lines = "\n".join(bases[chrom][at : at + 60] for at in range(0, length, 60))
        fasta.append(f">{chrom}\n{lines}\n")
    texts = {
        "g.fa": "".join(fasta),
        "p.narrowPeak": "\n".join(peaks) + "\n",
        "r.bed": "\n".join(labelled) + "\n",
        "few.bed": "\n".join(labelled[:20]) + "\n",
        "splits.bed": "chr1\t0\t12000\ttrain\nchr6\t0\t4000\tvalidation\nchr5\t0\t4000\ttest\n",
        "v.vcf": vcf(bases),
        "suite.yaml": SUITE,
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    with pyBigWig.open(str(place / "signal.bw"), "w") as track:
        track.addHeader([*CONTIGS.items()])
        track.addEntries("chr1", 0, values=np.ones(1000).tolist(), span=1, step=1)
    shutil.copytree(SMALL, place / "model", ignore=shutil.ignore_patterns("expected*", "seqcls*"))
    shutil.copytree(place / "model", place / "again")
    for name in ("weights.ckpt", "config.json"):
        shutil.copy(LIGHTNING / name, place / name)
    (place / "gue" / "toy").mkdir(parents=True)
    for split, rows in (("train", 48), ("dev", 16), ("test", 24)):
        own = []
        for row in range(rows):
            weights = np.array([[6, 1, 1, 6], [1, 6, 6, 1]][row % 2]) / 14
            own.append("".join(rng.choice(list("ACGT"), int(rng.integers(15, 21)), p=weights)) + f",{row % 2}")
        (place / "gue" / "toy" / f"{split}.csv").write_text("sequence,label\n" + "\n".join(own) + "\n")


SUITE = """\
models: [in/model, in/again]
tasks: [regulatory_elements]
settings: [zero_shot_likelihood]
genome: in/g.fa
elements: in/r.bed
window: 64
limit: 8
device: cpu
"""


def vcf(bases: dict[str, str]) -> str:
    """Records out of order, one of them with a REF that is not the genome's."""
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for chrom, position in [("chr6", 200), *(("chr1", at) for at in range(100, 1500, 100)), ("chr5", 50)]:
        reference = bases[chrom][position - 1]
        alternative = next(base for base in "ACGT" if base != reference)
        lines.append(f"{chrom}\t{position}\t.\t{reference}\t{alternative}\t.\t.\t.")
    wrong = next(base for base in "ACGT" if base != bases["chr1"][1999])
    other = next(base for base in "ACGT" if base not in (wrong, bases["chr1"][1999]))
    return "\n".join([*lines, f"chr1\t2000\t.\t{wrong}\t{other}\t.\t.\t."]) + "\n"


def unpacked(data: bytes) -> bytes:
    """What a gzip file holds; anything else as it is."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
