"""Fetching inputs from local servers: resumed, checked, refused; Synapse through synapseclient."""

import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from datasets_dart import downloads
from datasets_dart.downloads import Download, fetch, fetch_inputs, fetch_synapse, read_table
from evaluation_dart.tasks import dart_eval_tasks

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
HANDLE = {
    "id": "77",
    "fileName": "Afr.CaQTLS.tsv",
    "contentMd5": MD5,
    "contentSize": len(CONTENT),
    "concreteType": "org.sagebionetworks.repo.model.file.S3FileHandle",
    "storageLocationId": 1,
}


class Server(BaseHTTPRequestHandler):
    """ENCODE's, UCSC's and Synapse's answers, as far as one file needs them."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        if self.path.endswith("?format=json"):
            return self.reply(json.dumps({"accession": "x", "md5sum": self.server.md5}).encode())
        if self.path.endswith("md5sum.txt"):
            return self.reply(f"{'0' * 32}  other.gz\n{self.server.md5}  file.gz\n".encode())
        if self.path.endswith("missing.gz"):
            return self.send_error(404)
        if not self.path.endswith("file.gz"):
            return self.reply(json.dumps({"ownerId": "1", "userName": "someone"}).encode())
        first = 0
        if self.headers["Range"] and self.server.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            if first >= len(CONTENT):
                return self.send_error(416)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(CONTENT) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        stop = self.server.breaks.pop(0) if self.server.breaks else len(CONTENT)
        self.wfile.write(CONTENT[first:stop])
        self.close_connection = True
        return None

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, None, self.headers["Authorization"]))
        entity = {"id": "syn1", "name": "Afr.CaQTLS.tsv", "dataFileHandleId": "77", "versionNumber": 1, "etag": "e"}
        entity["concreteType"] = "org.sagebionetworks.repo.model.FileEntity"
        answer = {
            "entity": entity,
            "entityType": "file",
            "fileHandles": [HANDLE],
            "annotations": {**entity, "annotations": {}},
        }
        answer["restrictionInformation"] = {"hasUnmetAccessRequirement": False, "restrictionDetails": []}
        if self.path.endswith("fileHandle/batch"):
            address = f"{self.server.address}/file.gz"
            answer = {"requestedFiles": [{"fileHandleId": "77", "fileHandle": HANDLE, "preSignedURL": address}]}
        self.reply(json.dumps(answer).encode())

    def reply(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.asked, server.breaks, server.ranges, server.md5 = [], [], True, MD5
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # what a broken connection may lose
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        monkeypatch.delenv(downloads.TOKEN, raising=False)
        yield server
        server.shutdown()


def ranges(server):
    return [asked[1] for asked in server.asked if asked[0].endswith("file.gz")]


def test_a_download_goes_on_where_it_broke_off(server, tmp_path):
    path = tmp_path / "inputs" / "file.gz"
    server.breaks = [300_000, *[0] * 9]  # a broken connection, then one that brings nothing
    with pytest.raises(OSError, match=r"/file\.gz: .*; 300000 bytes are kept, run again"):
        fetch(f"{server.address}/file.gz", path, f"md5:{MD5}")
    assert not path.exists()
    server.breaks = [600_000]  # another, which is taken up again at once
    server.asked.clear()
    assert fetch(f"{server.address}/file.gz", path, f"sha256:{SHA256}") == SHA256
    assert ranges(server) == ["bytes=300000-", "bytes=600000-"]
    assert path.read_bytes() == CONTENT
    assert [found.name for found in path.parent.iterdir()] == ["file.gz"]
    server.asked.clear()
    assert fetch(f"{server.address}/file.gz", path, f"md5:{MD5}") == SHA256
    assert server.asked == []


def test_two_at_once_both_end_right(server, tmp_path):
    path = tmp_path / "file.gz"
    server.breaks = [300_000]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda _: fetch(f"{server.address}/file.gz", path, f"md5:{MD5}"), range(2))
        assert list(found) == [SHA256, SHA256]
    assert path.read_bytes() == CONTENT
    assert [found.name for found in tmp_path.iterdir()] == ["file.gz"]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    (tmp_path / ".file.gz.part").write_bytes(b"other" * 1000)
    assert fetch(f"{server.address}/file.gz", tmp_path / "file.gz") == SHA256
    assert ranges(server) == ["bytes=5000-"]


def test_a_part_that_is_whole_or_too_long(server, tmp_path):
    part, path = tmp_path / ".file.gz.part", tmp_path / "file.gz"
    part.write_bytes(CONTENT)
    assert fetch(f"{server.address}/file.gz", path, f"md5:{MD5}") == SHA256
    assert server.asked == []
    path.unlink()
    part.write_bytes(CONTENT + b"more")
    assert fetch(f"{server.address}/file.gz", path, f"md5:{MD5}") == SHA256
    assert ranges(server) == [f"bytes={len(CONTENT) + 4}-", None]


@pytest.mark.parametrize("checksum", ["encode", "md5sum.txt"])
def test_digests_are_asked_for_where_the_file_is(server, tmp_path, checksum):
    address = f"{server.address}/files/ENCFF000AAA/@@download/file.gz"
    assert fetch(address, tmp_path / "file.gz", checksum) == SHA256
    record = "/files/ENCFF000AAA/?format=json" if checksum == "encode" else "/files/ENCFF000AAA/@@download/md5sum.txt"
    assert server.asked[0][0] == record
    server.md5 = "f" * 32
    with pytest.raises(ValueError, match=rf"file\.gz: md5 is {MD5}, but f{{32}} was expected; nothing is kept of it"):
        fetch(address, tmp_path / "other.gz", checksum)
    assert [found.name for found in tmp_path.iterdir()] == ["file.gz"]
    with pytest.raises(ValueError, match=rf"file\.gz: md5 is {MD5}, but f{{32}} is that of"):
        fetch(address, tmp_path / "file.gz", checksum)
    server.md5 = "none"
    with pytest.raises(OSError, match=r"has no MD5 of file\.gz"):
        fetch(address, tmp_path / "new.gz", checksum)


def test_what_is_not_there(server, tmp_path):
    with pytest.raises(OSError, match=r"/missing\.gz: .*404"):
        fetch(f"{server.address}/missing.gz", tmp_path / "missing.gz")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/file\.gz: "):
        fetch("http://127.0.0.1:9/file.gz", tmp_path / "file.gz")


def test_without_a_token_it_is_said_which_files_go_where(server, tmp_path):
    rows = [
        Download("t", "variants", "yes", "Afr.CaQTLS.tsv", "syn60756043", "synapse", "unchecked", "caQTLs"),
        Download("t", "peaks", "yes", "peaks", "syn60581041", "folder", "unchecked", "all peaks"),
        Download("t", "genome", "yes", "file.gz", f"{server.address}/file.gz", f"md5:{MD5}", "unchecked", ""),
    ]
    with pytest.raises(ValueError, match="fetch by hand") as refusal:
        fetch_inputs(rows, tmp_path)
    assert f"https://www.synapse.org/Synapse:syn60756043 as {tmp_path / 'Afr.CaQTLS.tsv'} (caQTLs)" in str(
        refusal.value
    )
    assert f"https://www.synapse.org/Synapse:syn60581041 as {tmp_path / 'peaks'} (all peaks)" in str(refusal.value)
    assert "SYNAPSE_AUTH_TOKEN" in str(refusal.value)
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    (tmp_path / "Afr.CaQTLS.tsv").write_text("x")
    (tmp_path / "peaks").mkdir()
    assert fetch_inputs(rows, tmp_path)[tmp_path / "file.gz"] == SHA256


def test_synapse_files_come_through_synapseclient(server, tmp_path, monkeypatch):
    synapseclient = pytest.importorskip("synapseclient", reason="needs the extra synapse")
    monkeypatch.setenv("HOME", str(tmp_path))
    client = synapseclient.Synapse(
        repoEndpoint=f"{server.address}/repo/v1",
        authEndpoint=f"{server.address}/auth/v1",
        fileHandleEndpoint=f"{server.address}/file/v1",
        portalEndpoint=server.address,
        skip_checks=True,
        silent=True,
        cache_root_dir=str(tmp_path / "cache"),
    )
    client.login(authToken="secret", silent=True)
    row = Download("t", "variants", "yes", "Afr.CaQTLS.tsv", "syn1", "synapse", "unchecked", "caQTLs")
    assert fetch_inputs([row], tmp_path, client=client) == {tmp_path / "Afr.CaQTLS.tsv": SHA256}
    assert (tmp_path / "Afr.CaQTLS.tsv").read_bytes() == CONTENT
    assert "Bearer secret" in {asked[2] for asked in server.asked}
    assert not list(tmp_path.glob(".Afr*"))
    server.shutdown()


class Client:
    """In place of synapseclient's."""

    def get(self, entity, downloadLocation, ifcollision):
        raise RuntimeError(f"403 Client Error: {entity}\nyou may not")


def test_what_synapse_refuses_is_one_line(tmp_path):
    with pytest.raises(OSError, match=r"^Synapse syn1: 403 Client Error: syn1 you may not$"):
        fetch_synapse("syn1", tmp_path / "x.tsv", Client())


def test_the_table():
    rows = read_table()
    assert {row.task for row in rows} == {*dart_eval_tasks(), "genomes"}
    for row in rows:
        assert row.synapse == (row.checksum in ("synapse", "folder"))
        assert row.synapse or row.source.startswith("https://")
        assert re.fullmatch(r"encode|md5sum\.txt|synapse|folder|sha256:[0-9a-f]{64}", row.checksum)
        assert row.status in ("unchecked", "quoted")
        assert row.note
        assert row.needed in ("yes", "no")
    assert [row.file for row in read_table("motif_footprinting")][1:] == [
        "H12CORE_meme_format.meme",
        "ENCFF420VPZ.bed.gz",
    ]
