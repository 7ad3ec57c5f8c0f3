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
INPUTS = Path("results/demo/inputs")  # which the demo leaves
REGIONS = 60
SPLITS = "from datasets_dart.samples import cpg_islands_chrx; print(cpg_islands_chrx()['splits'])"
# Command lines, with the demo's files for the words in capitals.
COMMANDS = {
    "demo": "hyenadna demo --limit 20",
    "score": "hyenadna score --variants VARIANTS --genome GENOME --model MODEL --output scores.tsv",
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
    "hyenadna score --variants VARIANTS --genome GENOME --model MODEL --output s.tsv --plot s.png": "plot",
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
        names = {"MODEL": "model", "GENOME": "genome.fa.gz", "ELEMENTS": "elements.bed", "VARIANTS": "variants.vcf"}
        words = {word: str(INPUTS / name) for word, name in names.items()}
        words["SPLITS"] = run([str(python), "-c", SPLITS], work).stdout.strip()
        seconds = {}
        for name, line in COMMANDS.items():
            start = time.perf_counter()
            run([words.get(word, word) for word in line.split()], work)
            seconds[name] = round(time.perf_counter() - start, 1)
            print(f"{name}: {seconds[name]} s")
            if name == "demo":
                write_regions(work)
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


def write_regions(work: Path) -> None:
    """regions.bed: some of the demo's elements, with made-up labels."""
    lines = (work / INPUTS / "elements.bed").read_text(encoding="utf-8").splitlines()[:REGIONS]
    labelled = ("\t".join([*line.split("\t")[:3], ("first", "second")[row % 2]]) for row, line in enumerate(lines))
    (work / "regions.bed").write_text("\n".join(labelled) + "\n", encoding="utf-8")


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
