"""`python -m studies.fetch`, from a local server: every form, resumed, checked, refused; and the table it reads."""

import gzip
import hashlib
import io
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pysam
import pytest
from huggingface_hub import constants

from studies import fetch as program
from studies.fetch import Input, fetch, inputs_table, read_inputs
from studies.pages import ROOT

TABLE = b"Element\tRelease\tvalue\nHNF4A\tGRCh37\t1\nHNF4A\tGRCh38\t2\nTERT\tGRCh37\t3\nHNF4A\tGRCh37\t4\n"
TEXT = b"sequence,label\n" + b"ACGT,1\n" * 50_000


def archive():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("package/motifs.meme", TEXT)
    return content.getvalue()


# By form: what the server has, and the decompressed content of the file that is made of it.
FORMS = {
    "file": (TEXT, TEXT),
    "text": (TEXT, TEXT),
    "member package/motifs.meme": (archive(), TEXT),
    "rows Element=HNF4A Release=GRCh37": (
        gzip.compress(TABLE),
        b"Element\tRelease\tvalue\nHNF4A\tGRCh37\t1\nHNF4A\tGRCh37\t4\n",
    ),
    "fasta chr20 4": (gzip.compress(b">20 of GRCh37\nacgtn\nNAC\nG\n"), b">chr20\nACGT\nNNAC\nG\n"),
}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        content = [*FORMS.values()][int(self.path.strip("/"))][0]
        first = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        self.server.asked.append((self.path, first))
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        stop = self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[first:stop])
        self.close_connection = True

    def log_message(self, *arguments):
        pass


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.asked, server.breaks = [], []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # what a broken connection may lose
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    for number, (form, (served, content)) in enumerate(FORMS.items()):
        name = f"part/{number}" + ("" if form == "file" else ".gz")
        source = f"http://127.0.0.1:{server.server_port}/{number}"
        rows.append(Input(name, source, f"sha256:{sha256(served)}", form, sha256(content), "MIT", ""))
    server.table = tmp_path / "inputs.tsv"
    monkeypatch.setattr(program, "TABLE", server.table)
    write_table(server.table, rows)
    yield server
    server.shutdown()
    server.server_close()


def write_table(path, rows):
    path.write_text("".join("\t".join(row) + "\n" for row in (Input._fields, *rows)))


def test_every_form_is_fetched_once_and_a_broken_download_goes_on(server, tmp_path, capsys):
    folder = tmp_path / "data"
    fetch(folder, dry_run=True)
    assert capsys.readouterr().out.count("from http://127.0.0.1") == len(FORMS)
    assert not folder.exists()
    assert server.asked == []

    server.breaks = [100_000, *[0] * 9]  # a broken connection, then one that brings nothing
    with pytest.raises(OSError, match=r"/0: .*100000 bytes are kept, run again"):
        fetch(folder)
    server.asked.clear()
    server.breaks.clear()
    fetch(folder)
    assert server.asked == [("/0", 100_000), *((f"/{number}", 0) for number in range(1, len(FORMS)))]
    for number, (form, (_, content)) in enumerate(FORMS.items()):
        path = folder / f"part/{number}{'' if form == 'file' else '.gz'}"
        assert (path.read_bytes() if form == "file" else gzip.decompress(path.read_bytes())) == content
    with pysam.FastaFile(str(folder / "part/4.gz")) as genome:  # in blocks: readable at any position
        assert genome.fetch("chr20", 4, 8) == "NNAC"
    left = {path.name for path in (folder / "part").iterdir()}
    assert left == {"0", "1.gz", "2.gz", "3.gz", "4.gz", "4.gz.fai", "4.gz.gzi"}

    server.asked.clear()
    capsys.readouterr()
    fetch(folder)
    assert capsys.readouterr().out.splitlines() == [f"{row.file}: there" for row in read_inputs()]
    assert server.asked == []


def test_other_bytes_are_refused(server, tmp_path):
    rows = read_inputs()
    write_table(server.table, [rows[1]._replace(checksum=f"sha256:{'0' * 64}")])
    with pytest.raises(ValueError, match=f"sha256 is {sha256(TEXT)}, but 0000"):
        fetch(tmp_path)
    write_table(server.table, [rows[3]._replace(content="0" * 64)])
    with pytest.raises(ValueError, match=r"3\.gz made of it has SHA-256 [0-9a-f]{64}, not 0000"):
        fetch(tmp_path)
    assert [*(tmp_path / "part").iterdir()] == []
    (tmp_path / "part/1.gz").write_bytes(gzip.compress(b"something else"))
    write_table(server.table, rows)
    with pytest.raises(ValueError, match=r"part/1\.gz: SHA-256 of its content is .* remove it"):
        fetch(tmp_path)


def test_what_is_made_by_hand_is_named_after_all_else_is_there(server, tmp_path):
    by_hand = Input("lifted.tsv.gz", "https://example.org/rows", "", "by hand", sha256(TABLE), "MIT", "rows, lifted")
    write_table(server.table, [by_hand, *read_inputs()])
    with pytest.raises(ValueError, match=r"to be made by hand: .*lifted\.tsv\.gz from https://\S+ \(rows, lifted\)"):
        fetch(tmp_path)
    assert len([*(tmp_path / "part").iterdir()]) == len(FORMS)
    (tmp_path / "lifted.tsv.gz").write_bytes(gzip.compress(TABLE))
    fetch(tmp_path)


def test_the_command_names_a_fault_in_one_line(tmp_path):
    target = tmp_path / "benchmarks" / "GUE_tf_0_dev.csv.gz"
    target.parent.mkdir()
    target.write_bytes(gzip.compress(b"x"))
    command = [sys.executable, "-m", "studies.fetch", str(tmp_path), "--dry-run"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "GUE_tf_0_dev.csv.gz: SHA-256 of its content is" in run.stderr


def test_the_table_is_complete_and_the_page_shows_it():
    rows = read_inputs()
    assert len({row.file for row in rows}) == len(rows)
    for row in rows:
        assert re.fullmatch("[0-9a-f]{64}", row.content)
        assert row.source.startswith("https://")
        assert row.licence
        assert row.note if row.form == "by hand" else row.checksum
        if "raw.githubusercontent.com" in row.source:
            assert re.search("/[0-9a-f]{40}/", row.source)  # an address whose content cannot change
    page = (ROOT / "studies/README.md").read_text()
    for cells in inputs_table():
        assert f"| {' | '.join(cells)} |" in page


def test_the_programs_read_nothing_else():
    """Every file of the folder that a program names is in the table."""
    known = {row.file for row in read_inputs()}
    named = set()
    for path in (ROOT / "studies").glob("*.py"):
        named |= set(
            re.findall(r"\"((?:genomes|intervals|motifs|variants|benchmarks)/[\w.-]+\.\w+)\"", path.read_text())
        )
    assert named
    assert named <= known | {"benchmarks/results"}
