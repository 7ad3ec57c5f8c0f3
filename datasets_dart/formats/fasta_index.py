"""Whether the index of a FASTA fits the file as it is now: the .fai of samtools and, of bgzip, the .gzi.

Sequence is found by the offsets and line widths of the index only, so one of another release gives other bases without
a word. It is the file's own if every contig's header comes right before its first base, what follows its last base is
the next header or the end, and lines end where the index says; of bgzip, if every block is where the .gzi says and as
long. That takes two small reads a contig, and one a block.
"""

import gzip
import os
import struct
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

LINE_ENDS = b"\r\n"
LONGEST_HEADER = 1 << 12  # bytes of a header that are looked at
BLOCK_HEAD, BLOCK_TAIL = 18, 4  # bytes: with the size of the block; the size of what it holds (SAM specification 4.1)
EMPTY_BLOCK = 28  # bytes
SAMPLED = 8  # lines of a contig whose ends are looked at

Read = Callable[[int, int], bytes]  # (offset, length) in the text -> bytes


class Contig(NamedTuple):
    """A line of a .fai: bases, byte of the first one, and bases and bytes of a line."""

    name: str
    length: int
    offset: int
    bases: int
    width: int

    def at(self, base: int) -> int:
        """The byte of a base."""
        return self.offset + base // self.bases * self.width + base % self.bases


def fits(fasta: Path, fai: Path, gzi: Path | None) -> bool:
    """Whether the index is there and is that of the file."""
    try:
        contigs = read_fai(fai)
        with fasta.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if gzi is None:
                return contigs_fit(contigs, lambda offset, length: os.pread(file.fileno(), length, offset), size)
            blocks = read_gzi(gzi)
            total = blocks_fit(blocks, file.fileno(), size)
            return total is not None and contigs_fit(contigs, reader(fasta, blocks), total)
    except (OSError, TypeError, ValueError, EOFError, struct.error):
        return False


def read_fai(path: Path) -> list[Contig]:
    """The contigs of a .fai by their place in the file. Raises ValueError for what is none."""
    contigs = []
    for line in path.read_bytes().splitlines():
        name, *numbers = line.decode(errors="surrogateescape").split("\t")
        contig = Contig(name, *map(int, numbers))
        if contig.length < 1 or not 0 < contig.bases < contig.width <= contig.bases + 2 or contig.offset < 1:
            raise ValueError(f"{path}: {line!r}")
        contigs.append(contig)
    if not contigs:
        raise ValueError(f"{path}: no contigs")
    return sorted(contigs, key=lambda contig: contig.offset)


def contigs_fit(contigs: list[Contig], read: Read, size: int) -> bool:
    """Whether headers, ends and lines of the contigs are where the index says in a text of `size` bytes."""
    end = 0  # of the contig before
    for contig in contigs:
        if not end < contig.offset <= size - 1:
            return False
        before = read(max(end, contig.offset - LONGEST_HEADER), min(contig.offset - end, LONGEST_HEADER))
        header = before.rstrip(LINE_ENDS).rsplit(b"\n", 1)[-1].split(None, 1)
        named = header and header[0] == b">" + contig.name.encode(errors="surrogateescape")
        whole = contig.offset - end <= LONGEST_HEADER  # else the header is longer than what is looked at
        if (whole and (not named or before.strip(LINE_ENDS).count(b"\n"))) or before[-1:] != b"\n":
            return False
        if not lines_fit(contig, read):
            return False
        end = contig.at(contig.length - 1) + 1
    return 0 <= size - end <= LONGEST_HEADER and not read(end, size - end).strip(LINE_ENDS)


def lines_fit(contig: Contig, read: Read) -> bool:
    """Whether lines of a contig end where the index says, and hold nothing else than bases before that."""
    lines = -(-contig.length // contig.bases)
    looked_at = {0, lines - 1, *(lines * number // SAMPLED for number in range(SAMPLED))}
    for line in sorted(looked_at):
        bases = min(contig.bases, contig.length - line * contig.bases)
        text = read(contig.offset + line * contig.width, contig.width if bases == contig.bases else bases)
        if any(end in text[:bases] for end in (b"\n", b"\r", b">")) or len(text) < bases:
            return False
        if line < lines - 1 and (text[bases:].strip(LINE_ENDS) or not text.endswith(b"\n")):
            return False
    return True


def read_gzi(path: Path) -> list[tuple[int, int]]:
    """Where blocks start, (byte of the file, byte of the text), the first among them."""
    data = path.read_bytes()
    (number,) = struct.unpack_from("<Q", data)
    if len(data) != 8 + 16 * number:
        raise ValueError(f"{path}: {len(data)} bytes of {number} blocks")
    return [(0, 0), *struct.iter_unpack("<QQ", data[8:])]


def blocks_fit(blocks: list[tuple[int, int]], file: int, size: int) -> int | None:
    """The bytes of the text, if the blocks of a bgzip file of `size` bytes are where the index says; else None."""
    starts = [*blocks, (size, -1)]
    total = 0
    for (start, text), (after, next_text) in pairwise(starts):
        if text != total:
            return None
        while start < after:  # one block, or at the end also the empty one
            head = os.pread(file, BLOCK_HEAD, start)
            if len(head) < BLOCK_HEAD or head[:4] != b"\x1f\x8b\x08\x04" or head[12:14] != b"BC":
                return None
            start += struct.unpack_from("<H", head, 16)[0] + 1
            total += struct.unpack("<I", os.pread(file, BLOCK_TAIL, start - BLOCK_TAIL))[0]
            if next_text >= 0 and start != after:
                return None
        if start != after:
            return None
    return total


def reader(fasta: Path, blocks: list[tuple[int, int]]) -> Read:
    """Bytes of the text of a bgzip file, from the block in which they begin on."""
    texts = [text for _, text in blocks]

    def read(offset: int, length: int) -> bytes:
        start, text = blocks[bisect_right(texts, offset) - 1]
        with fasta.open("rb") as file:
            file.seek(start)
            with gzip.GzipFile(fileobj=file) as unpacked:
                unpacked.seek(offset - text)
                return unpacked.read(length)

    return read
