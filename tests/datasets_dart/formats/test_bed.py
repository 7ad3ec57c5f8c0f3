import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_dart.formats.bed import centred_start, read_intervals
from datasets_dart.splits import SPLITS, assign_splits, read_splits

ROWS = st.lists(st.tuples(st.sampled_from(["chr1", "chrX", "HLA*01"]), st.integers(0, 10**12), st.integers(1, 10**6)))
NOT_ROWS = st.sampled_from(["", "# comment", "track name=a", "browser position chr1:1-2", "   "])


def read(path, **options):
    rows = []
    for _, chunk in read_intervals(path, **options):
        rows += zip(chunk.chrom, chunk.start.tolist(), chunk.end.tolist(), chunk.line.tolist(), strict=True)
    return rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rows=ROWS, between=st.lists(NOT_ROWS), separator=st.sampled_from("\t "), end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 5), zipped=st.booleans(), last=st.booleans(),
)  # fmt: skip
def test_any_file_is_read_in_chunks_that_can_be_read_again(tmp_path, rows, between, separator, end, size, zipped, last):
    lines = [
        (separator.join((chrom, str(start), str(start + n), "x y")), (chrom, start, start + n))
        for chrom, start, n in rows
    ]
    for place, text in enumerate(between):
        lines.insert(2 * place, (text, None))
    text = end.join(line for line, _ in lines) + (end if last else "")
    path = tmp_path / "some.bed"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    expected = [(*row, number) for number, (_, row) in enumerate(lines, 1) if row]
    assert read(path, rows=size) == expected
    for position, chunk in read_intervals(path, rows=size):
        again, same = next(read_intervals(path, position, rows=size))
        assert again == position
        assert same.line.tolist() == chunk.line.tolist()
        assert position.row == expected.index((chunk.chrom[0], chunk.start[0], chunk.end[0], chunk.line[0]))


def test_other_columns_come_along(tmp_path):
    path = tmp_path / "a.bed"
    path.write_text("a b\tchr1\t+\t5\t9\n")
    ((_, chunk),) = read_intervals(path, columns=(1, 3, 4), extra=(0, 2))
    assert chunk.extra == [("a b", "+")]
    assert (chunk.chrom.tolist(), chunk.start.tolist(), chunk.end.tolist()) == (["chr1"], [5], [9])


def test_damaged_gzip_names_the_line(tmp_path):
    path = tmp_path / "a.bed.gz"
    path.write_bytes(gzip.compress(b"chr1\t1\t2\n" * 3)[:-9])
    with pytest.raises(ValueError, match=r"a\.bed\.gz: damaged gzip data in line 4"):
        read(path)


@given(st.integers(0, 10**9), st.integers(1, 10**5), st.integers(1, 10**5))
def test_windows_are_centred(start, width, length):
    window = int(centred_start(np.array([start]), np.array([start + width]), length)[0])
    left, right = start - window, (window + length) - (start + width)
    assert right - left in (0, 1)
    if width <= length:
        assert left == (length - width) // 2


def test_published_chromosomes():
    names = np.array(["chr1", "chr6", "chr5", "chrX", "chrM", "chr21", "5", "chr5_alt"], dtype=object)
    zeros = np.zeros(len(names), dtype=np.int64)
    assert assign_splits(read_splits("paper"), names, zeros, zeros + 9).tolist() == [0, 1, 2, 0, -1, 1, -1, -1]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=12), st.integers(0, 200), st.integers(1, 40))
def test_blocks_contain_or_leave_out(tmp_path_factory, pieces, start, length):
    painted, rows = [], []
    for width, split in pieces:  # 3 is a gap
        if split < 3:
            rows.append(f"c\t{len(painted)}\t{len(painted) + width}\t{SPLITS[split]}\n")
        painted += [split] * width
    path = tmp_path_factory.mktemp("blocks") / "blocks.bed"
    path.write_text("other\t0\t1\ttest\n" + "".join(reversed(rows)))
    here = set((painted + [3] * 300)[start : start + length])
    expected = here.pop() if len(here) == 1 else 3
    got = assign_splits(read_splits(path), np.array(["c"], dtype=object), np.array([start]), np.array([start + length]))
    assert got.tolist() == [expected if expected < 3 else -1]
