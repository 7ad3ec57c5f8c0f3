"""The five tasks from a folder of their public inputs: which files there are to be, and what a dataset is made of.

A dataset is named by its task, with what it is of where a task has several: variant_effects/caQTLs. The folder is the
one that `datasets_dart.downloads` fills; what only Synapse has lies in it as Synapse names it. Intermediate files of
task 3 are written to its subfolder steps, and are read where they are there.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import get_session

from datasets_dart.downloads import TOKEN, Download, fetch_inputs, read_table
from datasets_dart.element_files import (
    Written,
    write_consensus_windows,
    write_count_matrix,
    write_differential_elements,
    write_selected_elements,
)
from datasets_dart.errors import InputError
from datasets_dart.outputs import described, made, made_together

CELLS = ("GM12878", "H1ESC", "HEPG2", "IMR90", "K562")
LABELLED = "peaks_by_cell_label_unique_dataloader_format.tsv"
DIFFERENTIAL = "diff_acc_peaks.csv"
STEPS = "steps"


class Needed(NamedTuple):
    """One file or folder of the public inputs.

    Attributes:
        tasks: that read it. state: "there"; "download"; "token", where Synapse's token is set; "by hand"; or
            "optional", of what stands in for others.
        size: bytes, as far as the file or its server says.
    """

    download: Download
    tasks: tuple[str, ...]
    state: str
    size: int | None


def needed_files(folder: Path, tasks: Sequence[str], ask: bool = True) -> list[Needed]:
    """What the tasks' datasets are made of, each file once, in the order of the table.

    Args:
        folder: where it is, or goes. ask: the servers, for the sizes of what is not there.
    """
    rows: dict[str, list[Download]] = {}
    for task in tasks:
        for row in read_table(task):
            rows.setdefault(row.file, []).append(row)
    return [needed_file(own, folder, ask) for own in rows.values()]


def needed_file(rows: Sequence[Download], folder: Path, ask: bool) -> Needed:
    """A file of the table, which several tasks may need."""
    row, path = rows[0], folder / rows[0].file
    tasks = tuple(dict.fromkeys(own.task for own in rows))
    if path.exists():
        return Needed(row, tasks, "there", path.stat().st_size if path.is_file() else None)
    if row.needed == "no":
        return Needed(row, tasks, "optional", None)
    if row.checksum == "folder" or (row.synapse and not os.environ.get(TOKEN)):
        return Needed(row, tasks, "by hand", None)
    if row.synapse:
        return Needed(row, tasks, "token", None)
    return Needed(row, tasks, "download", remote_size(row.source) if ask else None)


def remote_size(url: str) -> int | None:
    """Bytes of a file, as its server says; None where it does not, or cannot be reached."""
    try:
        response = get_session().head(url, headers={"Accept-Encoding": "identity"}, follow_redirects=True)
        response.raise_for_status()
        return int(response.headers["Content-Length"])
    except (HfHubHTTPError, HTTPError, OSError, KeyError, ValueError):
        return None


def fetch_needed(needed: Sequence[Needed], folder: Path) -> Iterator[str]:
    """Fetch what can be fetched, going on past what fails; yields a line for people for each file."""
    for file in needed:
        if file.state == "there":
            yield f"{folder / file.download.file}: is there"
        elif file.state == "by hand":
            yield f"{folder / file.download.file}: by hand, from {file.download.address} ({file.download.note})"
        elif file.state != "optional":
            try:
                for path, sha256 in fetch_inputs([file.download], folder).items():
                    yield f"{path}: sha256 {sha256}"
            except (InputError, OSError) as error:
                yield f"{folder / file.download.file}: not fetched: {' '.join(str(error).split())}"


def dataset_names(tasks: Sequence[str] | None = None) -> list[str]:
    """Names of the datasets that the public inputs make, of some tasks or all."""
    return [name for name in DATASETS if tasks is None or task_of(name) in tasks]


def task_of(dataset: str) -> str:
    """The task that a dataset is of."""
    return dataset.partition("/")[0]


def inputs_of(dataset: str, folder: Path, protocol: str = "fixed", num_proc: int = 1) -> dict[str, Any]:
    """The inputs of `load_dart` that make a dataset from the files in a folder; task 3's steps are done on the way.

    Raises:
        InputError: for an unknown dataset, or saying which files lack, and where they are.
        MissingExtra: for task 3 from reads without pydeseq2.
    """
    if dataset not in DATASETS:
        raise InputError(f"{dataset}: no dataset of the public inputs; there are {', '.join(DATASETS)}")
    return DATASETS[dataset](folder, protocol=protocol, num_proc=num_proc)


def files_of(task: str, folder: Path, roles: Mapping[str, str]) -> dict[str, Any]:
    """Files by the input that each is, of a task whose inputs are single files.

    Args:
        roles: the input by the role that the table of downloads has for the file.
    """
    rows = {row.role: row for row in read_table(task)}
    lacking = [rows[role] for role in roles if not (folder / rows[role].file).exists()]
    if lacking:
        raise InputError("; ".join(f"{folder / row.file} is not there: {row.address}" for row in lacking))
    return {name: str(folder / rows[role].file) for role, name in roles.items()}


def of_single_files(task: str, roles: Mapping[str, str], folder: Path, **choices: Any) -> dict[str, Any]:
    """A dataset whose inputs are single files, without steps between."""
    return files_of(task, folder, roles)


def first_below(folder: Path, *names: str) -> Path | None:
    """The first file below a folder that has one of the names (patterns of `rglob`), in the order of the names."""
    found = (path for name in names for path in sorted(folder.rglob(name)) if path.is_file())
    return next(found, None)


def cell_type_elements(folder: Path, protocol: str, num_proc: int) -> dict[str, Any]:
    """Task 3: by the original's labelled table; by DESeq2's results; from peaks and reads; or by peaks alone."""
    task = "cell_type_elements"
    inputs = files_of(task, folder, {"genome": "genome"})
    steps = folder / STEPS / task / protocol
    if table := first_below(folder, LABELLED):
        return inputs | {"elements": str(table)}
    if results := tables_of_cells(folder):
        select = partial(write_selected_elements, results, protocol=protocol)
        return inputs | {"elements": selected(select, "select", list(results.values()), steps, protocol)}
    peaks = peaks_of_cells(folder)
    if reads := reads_of_samples(folder):
        counts = counted_reads(peaks, reads, inputs["genome"], steps, protocol, num_proc)
        select = partial(write_differential_elements, [counts], num_proc=num_proc, protocol=protocol)
        return inputs | {"elements": selected(select, "differential", [counts], steps, protocol)}
    return inputs | {"peaks": peaks}


def tables_of_cells(folder: Path) -> dict[str, str]:
    """DESeq2's results of each cell line, as Synapse has them, {cell line}/diff_acc_peaks.csv; {} where any lacks."""
    found = {cell: first_below(folder, f"{cell}/**/{DIFFERENTIAL}", f"{cell}*{DIFFERENTIAL}") for cell in CELLS}
    return {} if None in found.values() else {cell: str(path) for cell, path in found.items()}


def reads_of_samples(folder: Path) -> dict[str, str]:
    """Alignments or fragments by sample, {cell line}_{name}: files reads/{cell line}_{name}.bam (or .bed.gz)."""
    files = sorted(path for path in (folder / "reads").glob("*") if path.name.endswith((".bam", ".bed", ".bed.gz")))
    return {path.name.partition(".")[0]: str(path) for path in files}


def peaks_of_cells(folder: Path) -> dict[str, str]:
    """The narrowPeak file of each cell line."""
    rows = {row.role.removeprefix("peaks "): row for row in read_table("cell_type_elements") if " " in row.role}
    found: dict[str, str] = {}
    lacking = []
    for cell, row in rows.items():
        path = folder / row.file
        file = first_below(path, "*peak*.bed*", "*.narrowPeak*") if path.is_dir() else path
        if file is None or not file.exists():
            lacking.append(f"{path} is not there: {row.address} ({row.note})")
        else:
            found[cell] = str(file)
    if lacking:
        raise InputError(
            f"neither {LABELLED} nor {DIFFERENTIAL} of {', '.join(CELLS)} is below {folder}, "
            f"and of the peaks: {'; '.join(lacking)}"
        )
    return found


def counted_reads(
    peaks: Mapping[str, str], reads: Mapping[str, str], genome: str, steps: Path, protocol: str, num_proc: int
) -> Path:
    """The table of reads in the consensus windows, which is made, with the windows, unless it is there."""
    windows, counts = steps / "windows.tsv", steps / "counts.csv"

    def step(output: Path, name: str, files: Sequence[Any], write: Callable[[Path], Written]) -> None:
        def counted(path: Path) -> dict[str, Any]:
            file = write(path)
            return {"rows": file.rows, "left_out": dict(file.left_out)}

        about = {"step": name, "inputs": [described(path) for path in files], "protocol": protocol}
        made(output, about, counted, files)

    steps.mkdir(parents=True, exist_ok=True)
    step(
        windows,
        "consensus",
        [*peaks.values(), genome],
        lambda path: write_consensus_windows(peaks, genome, path, protocol=protocol),
    )
    step(
        counts,
        "counts",
        [*reads.values(), windows, genome],
        lambda path: write_count_matrix(reads, windows, path, genome, num_proc, protocol),
    )
    return counts


def selected(select: Callable[[Path], Any], step: str, files: Sequence[str | Path], steps: Path, protocol: str) -> str:
    """The elements of one cell line each, beside their zero-shot subset top.bed; made unless they are there.

    Args:
        select: writes both into a folder. step: its name. files: that it reads.
    """
    steps.mkdir(parents=True, exist_ok=True)
    outputs = [steps / "elements.bed", steps / "top.bed"]
    with TemporaryDirectory(dir=steps, prefix=".selected") as scratch:

        def copied(name: str, path: Path) -> dict[str, Any]:
            if not (Path(scratch) / name).exists():
                select(Path(scratch))
            shutil.copy(Path(scratch) / name, path)
            return {}

        writes = {output: partial(copied, output.name) for output in outputs}
        about = {"step": step, "inputs": [described(path) for path in files], "protocol": protocol}
        made_together(writes, about, files)
    return str(outputs[0])


def chromatin_activity(folder: Path, protocol: str, num_proc: int) -> dict[str, Any]:
    """Task 4: the tables and tracks of each cell line, under the names that Synapse has."""
    inputs = files_of("chromatin_activity", folder, {"genome": "genome"})
    row = next(row for row in read_table("chromatin_activity") if row.role == "peaks")
    own = folder / row.file
    names = {
        "peaks": "{}_peaks.bed",
        "nonpeaks": "{}_nonpeaks.bed",
        "idr": "cell_line_idr_peaks/{}.bed",
        "signal": "{}_unstranded.bw",
    }
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for cell in CELLS:
        files = {name: first_below(own, pattern.format(cell)) for name, pattern in names.items()}
        if files["signal"] is not None:
            for name, path in files.items():
                if path is not None:
                    found[name][cell] = str(path)
    if not found["signal"] or not (found["peaks"] or found["nonpeaks"]):
        wanted = ", ".join(pattern.format("CELL") for pattern in names.values())
        raise InputError(f"{own} has no {wanted}: {row.address} ({row.note})")
    return inputs | {name: by_cell for name, by_cell in found.items() if by_cell}


DATASETS: dict[str, Callable[..., dict[str, Any]]] = {
    "regulatory_elements": partial(
        of_single_files, "regulatory_elements", {"genome": "genome", "elements": "elements"}
    ),
    "motif_footprinting": partial(
        of_single_files, "motif_footprinting", {"genome": "genome", "motifs": "motifs", "elements": "elements"}
    ),
    "cell_type_elements": cell_type_elements,
    "chromatin_activity": chromatin_activity,
    "variant_effects/caQTLs": partial(
        of_single_files, "variant_effects", {"genome": "genome", "variants (caQTLs)": "variants"}
    ),
    "variant_effects/dsQTLs": partial(
        of_single_files, "variant_effects", {"genome (dsQTLs)": "genome", "variants (dsQTLs)": "variants"}
    ),
}
