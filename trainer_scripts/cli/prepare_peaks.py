"""Commands that make the element files of tasks 3 and 4 from peaks and reads, step by step as the original does."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.files import files_by_name
from datasets_dart.outputs import described, made, made_folder
from trainer_scripts.cli.inputs import by_name
from trainer_scripts.cli.options import Genome, Overwrite, ProtocolOption
from trainer_scripts.messages import say

if TYPE_CHECKING:
    from datasets_dart.element_files import Selection, Written

app = typer.Typer(
    help="Element files of tasks 3 and 4 from narrowPeak, BAM and FASTA files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Top = Annotated[int, typer.Option(help="elements of each cell line in the zero-shot subset", min=1)]
Width = Annotated[int, typer.Option(help="bp of a window", min=1000)]


@app.command()
def consensus(
    peaks: Annotated[list[str], typer.Argument(help="narrowPeak of each cell line: CELL=FILE, or FILE named after it")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="table of windows: chrom, start, end")],
    blacklist: Annotated[Path | None, typer.Option(help="BED of regions to keep out of (protocol fixed)")] = None,
    width: Annotated[int, typer.Option(help="bp of a window", min=1)] = 500,
    protocol: ProtocolOption = "fixed",
    overwrite: Overwrite = False,
) -> None:
    """Task 3, step 1: disjoint windows on the summits of all cell lines' peaks, the best q-value first.

    dart-eval prepare-peaks consensus GM12878=ENCFF748UZH.bed K562=ENCFF333TAT.bed --genome hg38.fa --output windows.tsv
    """
    from datasets_dart.element_files import write_consensus_windows

    def write(path: Path) -> "Written":
        return write_consensus_windows(files, genome, path, blacklist, width, protocol)

    files = named(peaks)
    read = [*files.values(), genome, blacklist]
    report(step(output, "consensus", read, write, overwrite, names=[*files], width=width, protocol=protocol))


@app.command()
def counts(
    reads: Annotated[list[str], typer.Argument(help="BAM, or BED of fragments, of each sample: CELL_NAME=FILE")],
    windows: Annotated[Path, typer.Option(help="table of windows, of `consensus`")],
    output: Annotated[Path, typer.Option(help="CSV: peak, then a column a sample")],
    genome: Annotated[Path | None, typer.Option(help="FASTA whose contigs the BAMs must have")] = None,
    num_proc: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    protocol: ProtocolOption = "fixed",
    overwrite: Overwrite = False,
) -> None:
    """Task 3, steps 2 and 3: reads (protocol paper) or fragments (fixed) in each window, a column a sample.

    dart-eval prepare-peaks counts GM12878_1=a.bam GM12878_2=b.bam --windows windows.tsv --output counts.csv
    """
    from datasets_dart.element_files import write_count_matrix

    def write(path: Path) -> "Written":
        return write_count_matrix(files, windows, path, genome, num_proc, protocol)

    files = named(reads)
    read = [*files.values(), windows, genome]
    report(step(output, "counts", read, write, overwrite, names=[*files], protocol=protocol))


@app.command()
def differential(
    tables: Annotated[list[Path], typer.Argument(help="count tables, of `counts`")],
    output: Annotated[Path, typer.Option(help="folder: {cell line}.csv, elements.bed, top.bed")],
    top: Top = 5000,
    num_proc: Annotated[int | None, typer.Option(help="processes, by default one a core", min=1)] = None,
    protocol: ProtocolOption = "fixed",
) -> None:
    """Task 3, steps 4 to 7: DESeq2's model of each cell line against the others, and the elements of only one.

    dart-eval prepare-peaks differential counts.csv --output differential
    """
    from datasets_dart.element_files import write_differential_elements

    def write(folder: Path) -> None:
        found.append(write_differential_elements(tables, folder, top, num_proc, protocol))

    found: list[Selection] = []
    made_folder(output, write, tables)
    selected(found[0], output)


@app.command()
def select(
    tables: Annotated[list[str], typer.Argument(help="DESeq2 results of each cell line: CELL=FILE, or FILE named so")],
    output: Annotated[Path, typer.Option(help="folder: elements.bed, top.bed")],
    top: Top = 5000,
    protocol: ProtocolOption = "fixed",
) -> None:
    """Task 3, steps 5 to 7 from DESeq2 results made elsewhere, such as the original's diff_acc_peaks.csv.

    dart-eval prepare-peaks select GM12878=GM12878/diff_acc_peaks.csv K562=K562/diff_acc_peaks.csv --output elements
    """
    from datasets_dart.element_files import write_selected_elements

    def write(folder: Path) -> None:
        found.append(write_selected_elements(files, folder, top, protocol))

    files = named(tables)
    found: list[Selection] = []
    made_folder(output, write, files.values())
    selected(found[0], output)


@app.command()
def windows(
    peaks: Annotated[Path, typer.Argument(help="narrowPeak")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="the original's table of task 4")],
    width: Width = 2114,
    overwrite: Overwrite = False,
) -> None:
    """Task 4: windows on the summits. The builder takes narrowPeak files too; this writes the original's table of one.

    dart-eval prepare-peaks windows GM12878.narrowPeak --genome hg38.fa --output GM12878_peaks.bed
    """
    from datasets_dart.element_files import write_peak_windows

    def write(path: Path) -> "Written":
        return write_peak_windows(peaks, genome, path, width)

    report(step(output, "windows", [peaks, genome], write, overwrite, width=width))


@app.command()
def negatives(
    peaks: Annotated[Path, typer.Argument(help="narrowPeak, BED or the original's table of task 4")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="the original's table of task 4, of background windows")],
    avoid: Annotated[list[Path] | None, typer.Option(help="further files to keep away from: a blacklist")] = None,
    ratio: Annotated[float, typer.Option(help="background windows a peak", min=0.01)] = 1.0,
    width: Width = 2114,
    stride: Annotated[int, typer.Option(help="bp between candidates", min=1)] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the draws")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Task 4: background windows with the peaks' GC content, contig by contig, away from every peak.

    dart-eval prepare-peaks negatives GM12878_peaks.bed --genome hg38.fa --avoid blacklist.bed --output nonpeaks.bed
    """
    from datasets_dart.element_files import write_negatives

    def write(path: Path) -> "Written":
        return write_negatives(peaks, genome, path, avoid or [], ratio, width, stride, seed)

    read, choices = [peaks, genome, *(avoid or [])], {"ratio": ratio, "width": width, "stride": stride, "seed": seed}
    report(step(output, "negatives", read, write, overwrite, **choices))


def step(
    output: Path,
    name: str,
    inputs: Sequence[Path | str | None],
    write: Callable[[Path], "Written"],
    overwrite: bool,
    **options: Any,
) -> "Written":
    """A step's output, which is made unless it already exists."""
    from datasets_dart.element_files import Written

    def counted(path: Path) -> dict[str, Any]:
        file = write(path)
        return {"rows": file.rows, "left_out": dict(file.left_out)}

    about = {"step": name, "inputs": [described(path) for path in inputs], **options}
    found = made(output, about, counted, inputs, overwrite=overwrite)
    return Written(output, found["rows"], Counter(found["left_out"]))


def named(words: list[str]) -> dict[str, str]:
    """Files by name, from NAME=FILE, or FILE whose name up to the first dot is NAME."""
    return files_by_name(by_name(words), ends=".")


def selected(selection: "Selection", output: Path) -> None:
    """Say what each cell line gained, and what was written."""
    for cell, (gained, sole) in selection.gained.items():
        say(f"{cell}: {gained} elements gained, {sole} of them by no other cell line")
    report(*(file._replace(path=output / Path(file.path).name) for file in selection.files))


def report(*files: "Written") -> None:
    """Say what was written and left out."""
    for file in files:
        say(f"{file.path}: {file.rows} rows")
        for reason, count in file.left_out.items():
            if count:
                say(f"  {count} left out: {reason}")
