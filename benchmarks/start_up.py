"""CPU time of the commands for the least work there is, beside that of importing torch.

    python benchmarks/start_up.py [--rounds 5]

`hyenadna score` of one variant and `hyenadna embed` of one region by the demo model, `dart-eval ls` and `hyenadna
--help`, each in a process of its own with one thread, in turns with `import torch`; medians of CPU seconds. What is
compared is what is beyond torch's import, with the limit that this package has set itself.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from record import parsed, parser, row, write

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "model_cards" / "hyenadna-tiny-1k-demo"
LIMIT = 6.0  # CPU seconds of `score` of one variant, beyond torch's import
BASES = "ACGT" * 500
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr1\t1001\t.\tA\tC\t.\t.\t.\n"


def cpu_seconds(command: list[str]) -> float:
    """Of a command of Python and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    given = parsed(options)
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": name}
        (Path(name) / "genome.fa").write_text(f">chr1\n{BASES}\n")
        (Path(name) / "variants.vcf").write_text(VCF)
        (Path(name) / "regions.bed").write_text("chr1\t500\t1500\n")
        common = ["--genome", f"{name}/genome.fa", "--model", str(MODEL), "--device", "cpu", "--overwrite", "--quiet"]
        score = ["score", "--variants", f"{name}/variants.vcf", "--output", f"{name}/scores.tsv", *common]
        embed = ["embed", "--regions", f"{name}/regions.bed", "--output", f"{name}/vectors.parquet", *common]
        hyenadna, dart_eval = (["-m", f"trainer_scripts.cli.{command}"] for command in ("hyenadna", "dart_eval"))
        peers = {
            "torch": ["-c", "import torch"],
            "score": [*hyenadna, *score],
            "embed": [*hyenadna, *embed],
            "help": [*hyenadna, "--help"],
            "ls": [*dart_eval, "ls"],
        }
        turns = [{peer: cpu_seconds(command) for peer, command in peers.items()} for _ in range(1 + given.rounds)]
    median = {peer: statistics.median(turn[peer] for turn in turns[1:]) for peer in peers}
    torch, limit = median["torch"], f"the limit set; import torch takes {median['torch']:.1f} s more"
    rows = [
        row(
            "CPU time beyond torch's import, hyenadna score of one variant", median["score"] - torch, limit, LIMIT, "s"
        ),
        row("CPU time beyond torch's import, hyenadna embed of one region", median["embed"] - torch, limit, LIMIT, "s"),
        row("CPU time, dart-eval ls", median["ls"], "import torch", torch, "s"),
        row("CPU time, hyenadna --help", median["help"], "import torch", torch, "s"),
    ]
    write("start_up", rows)
