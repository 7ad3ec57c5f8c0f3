"""Files of scored variants: VCF, TSV and Parquet, written from the input's records and the parts of their scores."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pysam

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.fasta import Genome
from datasets_dart.formats.text import vcf_quoted
from datasets_dart.formats.vcf import Header, Record, Summary, read_records
from evaluation_dart.shards import shards_of

log = logging.getLogger(__name__)

SUFFIXES = (".vcf.gz", ".tsv", ".tsv.gz", ".parquet")
SCHEMA = pa.schema(
    [
        ("chrom", pa.string()),
        ("position", pa.int64()),
        ("id", pa.string()),
        ("ref", pa.string()),
        ("alt", pa.string()),
        ("score", pa.float64()),
        ("ref_score", pa.float64()),
        ("alt_score", pa.float64()),
        ("status", pa.string()),
    ]
)
TABIX_LIMIT = 1 << 29  # bp of a contig that a .tbi can hold; longer ones need a .csi
BGZF_END = 28  # bytes of the empty block that ends a bgzip file
ROWS_AT_ONCE = 1 << 16


class AlleleScore(NamedTuple):
    """Of an alternative allele: NaN where there is none, and `status` says why."""

    score: float
    reference: float
    alternative: float
    status: str


class Named(NamedTuple):
    """What INFO keys are called, and what they say of themselves."""

    name: str
    described: str
    distance: bool  # there is no score of REF and ALT themselves

    def keys(self) -> dict[str, tuple[str, str]]:
        """Key -> type and description."""
        allele = {} if self.distance else {
            f"{self.name}_REF": ("Float", f"Score of the window with REF, {self.described}"),
            f"{self.name}_ALT": ("Float", f"Score of the window with ALT, {self.described}"),
        }  # fmt: skip
        what = "Distance of ALT from REF" if self.distance else "ALT - REF"
        return {
            self.name: ("Float", f"{what}, {self.described}"),
            **allele,
            f"{self.name}_STATUS": ("String", "Why an allele has no score; or swapped: the genome has ALT; or ok"),
        }


def output_suffix(output: Path) -> str:
    """Raises ValueError for a name that says no known format, or where a folder is in the way."""
    for suffix in SUFFIXES:
        if output.name.endswith(suffix) and output.name != suffix:
            if output.is_dir():
                raise InputError(f"{output}: is a folder, not a file")
            return suffix
    raise InputError(f"{output}: name an output that ends with {', '.join(SUFFIXES)}")


def scored_records(path: Path, parts: Path) -> Iterator[tuple[Record, list[AlleleScore]]]:
    """Records of a VCF beside the scores of their alternative alleles, from the parts; one part in memory at a time."""
    names = ["record", "score", "ref_score", "alt_score", "status"]
    tables = (pq.read_table(part, columns=names) for part in shards_of(parts))
    rows = (row for table in tables for row in zip(*(table[name].to_pylist() for name in names), strict=True))
    for number, record in enumerate(read_records(path)):
        scores = [next(rows, (None,)) for _ in record.alternatives]
        if any(owner != number for owner, *_ in scores):
            raise InputError(f"{parts}: not the scores of {path}; remove this folder and run again")
        yield record, [AlleleScore(*values) for _, *values in scores]


def write_scores(
    output: Path, vcf: Path, parts: Path, header: Header, named: Named, genome: Genome, found: Summary
) -> Counter[str]:
    """Write the output by its suffix, with its index; returns how many alleles have which status."""
    suffix, contigs = output_suffix(output), found.contigs
    lengths = [header.contigs[name] for name in contigs if name in header.contigs]
    longest = max([found.last, *lengths, *(genome.contigs[name] for name in contigs.values() if name)])
    records = scored_records(vcf, parts)
    if suffix == ".parquet":
        _write_parquet(output, records)
    elif suffix == ".vcf.gz":
        changed = (with_info(record, scores, named) for record, scores in records)
        _write_bgzip(output, "vcf", longest, chain(header_lines(header, named, genome, contigs), changed))
    elif suffix == ".tsv.gz":
        _write_bgzip(output, "table", longest, _table_lines(records))
    else:
        with replacing(output) as temporary, temporary.open("wb") as file:
            file.writelines(line + b"\n" for line in _table_lines(records))
    statuses = (pq.read_table(part, columns=["status"])["status"].to_pylist() for part in shards_of(parts))
    return Counter(status for own in statuses for status in own)


def header_lines(header: Header, named: Named, genome: Genome, contigs: dict[str, str | None]) -> Iterator[bytes]:
    """The input's header; lines of contigs that it does not declare, and of what is added, before its last one."""
    yield from header.meta
    declared = b"\n".join(header.meta)
    for name, of_genome in contigs.items():
        if b"##contig=<ID=" + name.encode() + b"," not in declared.replace(b">", b","):
            length = f",length={genome.contigs[of_genome]}" if of_genome else ""
            yield f"##contig=<ID={name}{length}>".encode()
    for key, (kind, description) in named.keys().items():
        yield f"##INFO=<ID={key},Number=A,Type={kind},Description={vcf_quoted(description)}>".encode()
    yield header.columns


def with_info(record: Record, scores: Sequence[AlleleScore], named: Named) -> bytes:
    """The record's line with its scores in INFO, all else as it was."""
    columns, added = record.columns(), []
    if any(not np.isnan(score.score) for score in scores):
        values = zip(*(score[: 1 if named.distance else 3] for score in scores), strict=True)
        for key, own in zip(named.keys(), values, strict=False):
            added.append(f"{key}={','.join(_number(value) or '.' for value in own)}")
    if any(score.status for score in scores):
        added.append(f"{named.name}_STATUS={','.join(score.status or 'ok' for score in scores)}")
    if added:
        columns[7] = b";".join(([] if columns[7] in (b".", b"") else [columns[7]]) + [";".join(added).encode()])
    return b"\t".join(columns)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.8g}"


def _table_rows(records: Iterator[tuple[Record, list[AlleleScore]]]) -> Iterator[tuple[Any, ...]]:
    """Rows of `SCHEMA`, one for each alternative allele."""
    for record, scores in records:
        name = record.columns()[2].decode(errors="replace")
        for allele, score in zip(record.alternatives, scores, strict=True):
            yield (record.chrom, record.position, name, record.reference, allele, *score)


def _table_lines(records: Iterator[tuple[Record, list[AlleleScore]]]) -> Iterator[bytes]:
    yield "\t".join(SCHEMA.names).encode()
    for row in _table_rows(records):
        yield "\t".join(_number(v) if isinstance(v, float) else str(v) for v in row).encode()


def _write_parquet(output: Path, records: Iterator[tuple[Record, list[AlleleScore]]]) -> None:
    rows = _table_rows(records)
    with replacing(output) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            columns = zip(*some, strict=True)
            arrays = [pa.array(own, field.type, from_pandas=True) for own, field in zip(columns, SCHEMA, strict=True)]
            writer.write_table(pa.table(arrays, schema=SCHEMA))


def _write_bgzip(output: Path, kind: str, longest: int, lines: Iterable[bytes]) -> None:
    """Write lines to a bgzip file, which is indexed and renamed to `output` at the end.

    htslib reports a full disk for some writes only: the end-of-file block says whether all of it is there.
    """
    with replacing(output) as temporary:
        _write_blocks(temporary, lines)
        with temporary.open("rb") as written:
            written.seek(-min(BGZF_END, temporary.stat().st_size), 2)
            if not written.read().startswith(b"\x1f\x8b\x08\x04"):
                raise OSError(f"{output}: cannot be written whole; is the disk full?")
        columns = {"preset": "vcf"} if kind == "vcf" else {"seq_col": 0, "start_col": 1, "end_col": 1, "line_skip": 1}
        _index(output, temporary, longest >= TABIX_LIMIT, columns)


def _write_blocks(path: Path, lines: Iterable[bytes]) -> None:
    file, hooks = pysam.BGZFile(str(path), "wb", None), (sys.excepthook, sys.unraisablehook)
    try:
        for line in lines:
            file.write(line + b"\n")
        file.close()
    except BaseException:
        # The destructor closes the file once more, and would print by either way that it cannot.
        sys.excepthook, sys.unraisablehook = lambda *_: None, lambda _: None
        raise
    finally:
        del file
        sys.excepthook, sys.unraisablehook = hooks


def _index(output: Path, temporary: Path, csi: bool, columns: dict[str, Any]) -> None:
    """Index what is to be `output`; where htslib cannot, as of positions beyond 2^31, there is no index, and a word."""
    made = Path(f"{temporary}.{'csi' if csi else 'tbi'}")
    try:
        pysam.tabix_index(str(temporary), force=True, csi=csi, keep_original=True, **columns)
        made.replace(f"{output}{made.suffix}")
    except OSError as error:
        log.warning("%s: has no index: %s", output.name, str(error).replace(str(temporary), output.name))
    finally:
        made.unlink(missing_ok=True)
