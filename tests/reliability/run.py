"""Stop every command before every one of its file operations, and write what came of it.

python tests/reliability/run.py                       all trials; goes on where it was stopped; docs/reliability.md
python tests/reliability/run.py --sample 60 --seed 1  so many trials at random, and no page
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
PAGE, LOG = ROOT / "docs" / "reliability.md", "trials.jsonl"


def main() -> int:
    """Run the trials; the exit status is 1 if one of them went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many trials, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", nargs="*", default=[], help="commands by name")
    parser.add_argument("--fault", nargs="*", default=[], help="faults by name")
    parser.add_argument("--most", type=int, help="of a command and a fault so many trials, of kills twice as many")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "reliability", help="folder of what is done")
    parser.add_argument("--page", action="store_true", help="write the page of what is done, and try nothing")
    arguments = parser.parse_args()
    if arguments.page:
        PAGE.write_text(page(list(read_done(arguments.results).values())), encoding="utf-8")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    os.environ |= {
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "HYENADNA_CACHE": os.environ.get("HYENADNA_CACHE", str(Path.home() / ".cache" / "hyenadna")),
    }
    try:
        from fault_commands import COMMANDS
        from fault_trials import warm_up

        warm_up()
        chosen = [command for command in COMMANDS if not arguments.only or command.name in arguments.only]
        if arguments.sample:
            return sampled(chosen, folder, arguments.sample, arguments.seed)
        return everything(chosen, folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sampled(commands: list, folder: Path, number: int, seed: int) -> int:
    """Some trials of some commands, drawn at random."""
    from fault_trials import Stage, trials_of

    draw, wrong = random.Random(seed), []
    few = draw.sample(commands, min(len(commands), max(1, number // 6)))
    for command in few:
        stage = Stage(command, folder / str(commands.index(command)))
        for fault, n in draw.sample(trials_of(stage), max(1, number // len(few))):
            trial = stage.trial(fault, n)
            if trial.why:
                wrong.append(trial)
                print(*trial, sep=" | ", flush=True)
    print(f"{number} trials, {len(wrong)} wrong")
    return bool(wrong)


def everything(commands: list, folder: Path, arguments: argparse.Namespace) -> int:
    """All trials that are not done yet; the page."""
    from fault_trials import Stage, trials_of

    arguments.results.mkdir(parents=True, exist_ok=True)
    done = read_done(arguments.results)
    with (arguments.results / LOG).open("a") as file:
        for number, command in enumerate(commands):
            try:
                stage = Stage(command, folder / str(number))
            except AssertionError as error:
                print(f"{command.name} | cannot be tried | {error}", flush=True)
                continue
            todo = chosen_trials(trials_of(stage), arguments)
            print(f"{command.name}: {len(stage.operations)} operations, {len(todo)} trials", flush=True)
            for fault, n in todo:
                if (command.name, fault, n) in done:
                    continue
                trial = stage.trial(fault, n)
                entry = trial._asdict() | {"commit": commit(), "operation": operation(stage, n)}
                entry["operations"] = len(stage.operations)
                done[command.name, fault, n] = entry
                file.write(json.dumps(entry) + "\n")
                file.flush()
                if trial.why:
                    print(*trial, operation(stage, n), sep=" | ", flush=True)
            shutil.rmtree(stage.root, ignore_errors=True)
            if not arguments.only and not arguments.fault:
                PAGE.write_text(page(list(done.values())), encoding="utf-8")
    wrong = [own for own in done.values() if own["why"]]
    print(f"{len(done)} trials, {len(wrong)} wrong")
    return bool(wrong)


def read_done(folder: Path) -> dict[tuple[str, str, int], dict]:
    """The trials that were done, by command, fault and n."""
    log = folder / LOG
    entries = map(json.loads, log.read_text().splitlines() if log.exists() else [])
    return {(own["command"], own["fault"], own["n"]): own for own in entries}


def chosen_trials(trials: list[tuple[str, int]], arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """The trials of the faults asked for, of each at most so many."""
    found = []
    for fault in dict.fromkeys(fault for fault, _ in trials):
        own = [trial for trial in trials if trial[0] == fault]
        if arguments.fault and fault not in arguments.fault:
            continue
        most = arguments.most and arguments.most * (2 if fault.startswith("kill") else 1)
        step = max(1, -(-len(own) // most)) if most else 1
        found += own[::step]
    return found


def operation(stage: object, n: int) -> str:
    """What the n-th operation of an uninterrupted run was."""
    names = stage.operations  # type: ignore[attr-defined]
    return names[n - 1].partition(" ")[2].replace(str(stage.work), "") if n <= len(names) else ""  # type: ignore[attr-defined]


def commit() -> str:
    """The commit that is tried."""
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip()


def page(done: list[dict]) -> str:
    """docs/reliability.md."""
    from fault_commands import COMMANDS

    faults = list(dict.fromkeys(own["fault"] for own in done))
    right = Counter((own["command"], own["fault"]) for own in done if not own["why"])
    tried = Counter((own["command"], own["fault"]) for own in done)
    commands = list(dict.fromkeys(own["command"] for own in done))
    operations = {own["command"]: own["operations"] for own in done}
    rows = [f"| command | operations | {' | '.join(faults)} |", f"| --- | ---: |{' ---: |' * len(faults)}"]
    for name in commands:
        cells = [f"{right[name, fault]} of {tried[name, fault]}" if tried[name, fault] else "" for fault in faults]
        rows.append(f"| {name} | {operations[name]} | {' | '.join(cells)} |")
    if missing := [command.name for command in COMMANDS if command.name not in commands]:
        rows.append(f"\nNot tried in this run: {', '.join(missing)}.")
    commits = ", ".join(dict.fromkeys(own["commit"] for own in done))
    head = HEAD.format(
        tried=f"{len(done):,}", right=f"{right.total():,}", commits=commits, date=datetime.now(UTC).date().isoformat()
    )
    wrong = [
        f"* {own['command']}, {own['fault']}, operation {own['n']}: {own['why'][:200]}" for own in done if own["why"]
    ]
    return head + "\n".join(rows) + "\n" + ("\n## What went wrong\n\n" + "\n".join(wrong) + "\n" if wrong else "")


HEAD = """\
# Reliability

What every command does with what is there:

* An output appears when it is whole. Beside it lies `OUTPUT.json`, with the SHA-256 of each of its files; of a folder
  they are in its own record (`dataset.json`, `results.json`).
* The same line goes on with a run that was stopped, and is a success on one that is finished. An output that was cut
  short or changed since is an error that says what to delete.
* A file that no run wrote is replaced only with `--overwrite`; a folder or a zarr store never; an input never, also
  through a link. An output that is a link is written to where the link leads.
* One process writes an output at a time; a second one says so. Several processes of `accelerate launch` are one run.

## What was tried

`make reliability` stops every command of the README before each of its file operations, gives the same line again, and
compares every file with those of a run that was left alone, byte for byte but for times. Written by that command.

**{right} of {tried} trials came out right** (commit {commits}; {date}). The table says how many file operations a
command does, and how many trials came out right; where there are fewer trials than operations, they are evenly spread
(`make reliability` without MOST tries every one).

* kill: SIGKILL before the n-th operation; then the same line again: exit status 0, the same bytes (of a training, the
  same weights), and nothing left behind. "Another output there": the finished output of another run is in
  the way.
* terminate, interrupt: SIGTERM (143) and SIGINT (130): no traceback, no unfinished file.
* no space: from the n-th operation on, the disk is full; no room: no file can be longer than 8, 16, 32, ... bytes.
  Exit status 1, one line.
* read-only: nothing can be written in the folder.
* twice: the same line in a second process while the first stands before its n-th operation: it says that another
  process is writing, or finds the output finished.

"""

if __name__ == "__main__":
    sys.exit(main())
