"""Install this machine's wheel from dist/ into an empty environment and use it outside of the checkout.

    make try-wheel

No compiler is to be found there, so that the wheel's own library is what computes; only the base requirements are
installed, so that commands that need an extra must say which. Writes benchmarks/results/wheel.json.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "wheel.json"
INPUTS = """
import gzip, itertools
from datasets_dart.samples import cpg_islands_chrx
from trainer_scripts.demo import MODEL
import pysam
sample = cpg_islands_chrx()
genome = pysam.FastaFile(str(sample["genome"]))
rows = [line.split()[:3] for line in open(sample["elements"]) if not line.startswith("#")][:60]
with open("variants.vcf", "w") as vcf:
    print("##fileformat=VCFv4.2", "#CHROM\\tPOS\\tID\\tREF\\tALT\\tQUAL\\tFILTER\\tINFO", sep="\\n", file=vcf)
    for chrom, start, end in rows[:20]:
        at = (int(start) + int(end)) // 2
        ref = genome.fetch(chrom, at, at + 1).upper()
        print(chrom, at + 1, ".", ref, "ACGT"["ACGT".index(ref) - 1], ".", ".", ".", sep="\\t", file=vcf)
with open("regions.bed", "w") as bed:
    for (chrom, start, end), label in zip(rows, itertools.cycle(["first", "second"])):
        print(chrom, start, end, label, sep="\\t", file=bed)
print(MODEL, *(sample[name] for name in ("genome", "elements", "splits")), sep="\\n")
"""
# What each command line does, with the sample's files for its words in capitals.
COMMANDS = {
    "demo": "hyenadna demo --limit 20",
    "score": "hyenadna score --variants variants.vcf --genome GENOME --model MODEL --output scores.tsv",
    "embed": "hyenadna embed --regions regions.bed --genome GENOME --model MODEL --output vectors.parquet",
    "dataset": "hyenadna dataset --regions regions.bed --label-column 4 --genome GENOME --window 200 --splits random "
    "--output data",
    "train": "hyenadna train --data data --model MODEL --num-train-epochs 1 --no-logo --output trained",
    "evaluate": "dart-eval run --model MODEL --task regulatory_elements --genome GENOME --elements ELEMENTS "
    "--splits SPLITS --limit 20 --output results",
    "report": "dart-eval report results --output report",
}
# What needs an extra, which it must name before it begins: the words of its error.
NEED_EXTRAS = {
    "hyenadna mutagenesis --model MODEL --genome GENOME --regions r.bed --output m.tsv --logo l.png": "attribution",
    "hyenadna score --variants variants.vcf --genome GENOME --model MODEL --output s.tsv --plot s.png": "plot",
    "hyenadna embed --regions regions.bed --genome GENOME --model MODEL --output v.parquet --plot v.png "
    "--plot-method umap": "umap",
    "hyenadna export-onnx MODEL m.onnx --max-length 100": "onnx",
    "hyenadna embed --regions regions.bed --genome GENOME --model MODEL --output v.zarr": "zarr",
    "hyenadna train --data data --model MODEL --method lora --no-logo --output lora": "peft",
}
RUNTIMES = """
import re, torch
from modeling_hyenadna.long_conv import cpu_backend
assert cpu_backend.from_wheel() is not None, "the wheel's library does not load here"
cpu_backend.library()
maps = {line.split()[-1] for line in open("/proc/self/maps") if re.search(r"/lib(g|i|)omp\\S*\\.so", line)}
print(*sorted(maps), sep="\\n")
"""


def main() -> None:
    """Install, run every command, and write what was found."""
    machine = platform.machine()
    (wheel,) = (ROOT / "dist").glob(f"*manylinux*{machine}.whl")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        python = place / "venv" / "bin" / "python"
        empty = megabytes(place / "venv")
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *constraints, wheel], check=True)
        work = place / "work"
        work.mkdir()
        os.environ |= {"PATH": f"{python.parent}:/usr/bin:/bin", "HYENADNA_CACHE": str(place / "cache"), "CXX": "/none"}
        os.environ.pop("PYTHONPATH", None)
        prepared = run([str(python), "-c", INPUTS], work)
        words = dict(zip(("MODEL", "GENOME", "ELEMENTS", "SPLITS"), prepared.stdout.split(), strict=True))
        seconds = {}
        for name, line in COMMANDS.items():
            start = time.perf_counter()
            run([words.get(word, word) for word in line.split()], work)
            seconds[name] = round(time.perf_counter() - start, 1)
            print(f"{name}: {seconds[name]} s")
        for line, extra in NEED_EXTRAS.items():
            refused = run([words.get(word, word) for word in line.split()], work, status=1)
            if f"hyenadna-dart[{extra}]" not in refused.stderr:
                raise SystemExit(f"{line}\ndoes not name the extra {extra}:\n{refused.stderr}")
        runtimes = run([str(python), "-c", RUNTIMES], work).stdout.split()
        if len({re.sub(r".*/", "", path) for path in runtimes}) != 1 or len(runtimes) != 1:
            raise SystemExit(f"not one OpenMP runtime in the process, but {runtimes}")
        record = {
            "date": datetime.now(UTC).date().isoformat(),
            "wheel": wheel.name,
            "wheel_megabytes": round(wheel.stat().st_size / 1e6, 2),
            "installed_megabytes": round(megabytes(place / "venv") - empty),
            "seconds": seconds,
            "extras_named": sorted(NEED_EXTRAS.values()),
            "openmp_runtimes": [Path(path).name for path in runtimes],
        }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


def run(command: list[str], folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`; SystemExit with its output if it ends with another status."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != status:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def megabytes(folder: Path) -> float:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


if __name__ == "__main__":
    main()
