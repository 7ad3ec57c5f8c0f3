"""Fetch the folder of real data that the programs here read, each file checked against its digest:

    python -m studies.fetch real-data [--dry-run]

Files that are already there are kept, and a download that broke off goes on. inputs.tsv gives for every file its source
and its form: `file`, its bytes; `text`, compressed here; `member NAME`, of a zip archive; `rows COLUMN=VALUE ...`,
of a table; `fasta NAME WIDTH`, one contig in upper case under another name and in other lines; `by hand`, nothing that
can be fetched: the note says how it was made. `checksum` is that of the download, as in datasets_dart.downloads;
`content` is the SHA-256 of the file's decompressed bytes.
"""

import csv
import hashlib
import zipfile
from pathlib import Path
from typing import Annotated, NamedTuple

import pysam
import typer

from datasets_dart import downloads
from datasets_dart.errors import InputError
from datasets_dart.files import open_bytes, replacing
from trainer_scripts.messages import run_function

TABLE = Path(__file__).with_name("inputs.tsv")
BY_HAND = "by hand"


class Input(NamedTuple):
    """A row of inputs.tsv."""

    file: str
    source: str
    checksum: str
    form: str
    content: str
    licence: str
    note: str


def read_inputs() -> list[Input]:
    """Every file of the folder."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [Input(**row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def digest(path: Path) -> str:
    """SHA-256 of the decompressed bytes."""
    with open_bytes(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def converted(download: Path, form: str) -> bytes:
    """The decompressed bytes of the file that a form makes of a download."""
    kind, *words = form.split(" ")
    if kind == "member":
        with zipfile.ZipFile(download) as archive:
            return archive.read(words[0])
    with open_bytes(download) as file:
        content = file.read()
    if kind == "rows":
        header, *table = content.decode().splitlines(keepends=True)
        names = header.rstrip("\n").split("\t")
        wanted = [(names.index(column), value) for column, value in (word.split("=") for word in words)]
        kept = [line for line in table if all(line.rstrip("\n").split("\t")[at] == value for at, value in wanted)]
        return "".join([header, *kept]).encode()
    if kind == "fasta":
        name, width = words[0].encode(), int(words[1])
        bases = b"".join(content.split(b"\n")[1:]).replace(b"\r", b"").upper()
        lines = [bases[start : start + width] for start in range(0, len(bases), width)]
        return b"\n".join([b">" + name, *lines, b""])
    return content


def fetch_input(wanted: Input, path: Path) -> None:
    """Write `path` from its download.

    Raises:
        OSError: if the download breaks off; what came so far is kept for the next attempt.
        InputError: if the download or what is made of it has another digest.
    """
    if wanted.form == "file":
        downloads.fetch(wanted.source, path, wanted.checksum)
        return
    download = path.with_name(f".{path.name}.download")
    downloads.fetch(wanted.source, download, wanted.checksum)
    content = converted(download, wanted.form)
    if (found := hashlib.sha256(content).hexdigest()) != wanted.content:
        download.unlink()
        raise InputError(f"{wanted.source}: {path.name} made of it has SHA-256 {found}, not {wanted.content}")
    # In blocks, so that a genome can be read at any position.
    with replacing(path) as unfinished, pysam.BGZFile(str(unfinished), "wb", None) as file:
        file.write(content)
    download.unlink()


def fetch(
    folder: Annotated[Path, typer.Argument(help="folder of real data; it is made if need be")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what there is to do")] = False,
) -> None:
    """Fetch and check every input of the studies.

    python -m studies.fetch real-data
    """
    by_hand = []
    for wanted in read_inputs():
        path = folder / wanted.file
        there = path.exists()
        if there and (found := digest(path)) != wanted.content:
            raise InputError(f"{path}: SHA-256 of its content is {found}, not {wanted.content}; remove it")
        if wanted.form == BY_HAND and not there:
            by_hand.append(f"{path} from {wanted.source} ({wanted.note})")
        what = "there" if there else BY_HAND if wanted.form == BY_HAND else f"from {wanted.source}"
        print(f"{wanted.file}: {what}", flush=True)
        if not (there or dry_run or wanted.form == BY_HAND):
            fetch_input(wanted, path)
    if by_hand and not dry_run:
        raise InputError(f"to be made by hand: {'; '.join(by_hand)}")


def inputs_table() -> list[list[str]]:
    """Rows for a page: file, where it comes from, licence, SHA-256 of its content."""
    return [
        [each.file, f"<{each.source}>" + (f"; {each.note}" if each.note else ""), each.licence, f"`{each.content}`"]
        for each in read_inputs()
    ]


if __name__ == "__main__":
    run_function(fetch)
