"""Dataset repositories: written, read back by plain `load_dataset`, and uploaded to a stand-in for the Hub."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, DatasetDict, disable_progress_bars, get_dataset_config_names, load_dataset
from huggingface_hub import DatasetCard, constants

from datasets_dart import BUILDERS, load_dart
from datasets_dart.export import export_parquet, push

FIXTURES = Path(__file__).parents[1] / "fixtures"
TASK2 = {"motifs": FIXTURES / "task2" / "motifs.meme", "backgrounds": FIXTURES / "task2" / "backgrounds.txt"}
TASK1 = {"genome": FIXTURES / "genome" / "genome.fa", "elements": FIXTURES / "task1" / "ccre.bed"}

disable_progress_bars()


@pytest.fixture
def rows(tmp_path):
    def rows(task, protocol="fixed"):
        inputs = TASK2 if task == "motif_footprinting" else TASK1
        return load_dart(task, protocol=protocol, cache_dir=tmp_path / "cache", **inputs)

    return rows


def read_back(folder, config, tmp_path):
    return load_dataset(str(folder), config, cache_dir=str(tmp_path / "reader"))


def test_plain_load_dataset_reads_what_is_written(rows, tmp_path):
    folder = tmp_path / "dart-eval"
    first, second, paper = rows("motif_footprinting"), rows("regulatory_elements"), rows("motif_footprinting", "paper")
    export_parquet(first, folder, "motif_footprinting", "fixed")
    files = export_parquet(second, folder, "regulatory_elements", "fixed", shard_bytes=20_000)
    export_parquet(paper, folder, "motif_footprinting", "paper")
    names = ["motif_footprinting", "regulatory_elements", "motif_footprinting-paper"]
    assert sorted(get_dataset_config_names(str(folder))) == sorted(names)
    for name, expected in zip(names, (first, second, paper), strict=True):
        data = read_back(folder, name, tmp_path)
        assert set(data) == set(expected)
        for split in expected:
            assert data[split].features == expected[split].features
            assert list(data[split]) == list(expected[split])
    shards = [path.name for path in files if path.name.startswith("test")]
    assert len(shards) > 2
    assert shards[0] == f"test-00000-of-{len(shards):05d}.parquet"
    assert not list(folder.glob(".*"))


def test_the_card_declares_every_configuration(rows, tmp_path):
    folder = tmp_path / "repo"
    export_parquet(rows("motif_footprinting"), folder, "motif_footprinting", "fixed")
    export_parquet(rows("regulatory_elements"), folder, "regulatory_elements", "fixed")
    card = DatasetCard.load(folder / "README.md")
    infos = {info["config_name"]: info for info in card.data.dataset_info}
    assert {split["name"]: split["num_examples"] for split in infos["regulatory_elements"]["splits"]} == {
        "train": 52,
        "validation": 40,
        "test": 122,
    }
    assert {feature["name"] for feature in infos["motif_footprinting"]["features"]} >= {"id", "motif", "sequence"}
    assert {config["config_name"] for config in card.data.configs} == set(infos)
    for text in ("## motif_footprinting", "## regulatory_elements", "Made of: motifs.meme", "@inproceedings{patel2024"):
        assert card.text.count(text) == 1
    content = yaml.safe_load((folder / "eval.yaml").read_text())
    assert content["tasks"] == [
        {"id": name, "config": name, "split": "test"} for name in ("motif_footprinting", "regulatory_elements")
    ]


def test_class_labels_keep_their_names(tmp_path):
    from datasets import ClassLabel, Features, Value

    features = Features({"id": Value("int64"), "label": ClassLabel(names=["GM12878", "K562"])})
    data = DatasetDict({"test": Dataset.from_dict({"id": [0, 1], "label": [1, 0]}, features=features)})
    export_parquet(data, tmp_path / "repo", "cell_type_elements", "fixed")
    assert read_back(tmp_path / "repo", "cell_type_elements", tmp_path)["test"].features == features


def test_every_task_has_a_card():
    from datasets_dart.export import CARDS

    assert {path.stem for path in CARDS.glob("*.md")} == {"repository", *BUILDERS}


def test_another_writing_does_not_overwrite(rows, tmp_path):
    folder, data = tmp_path / "repo", rows("motif_footprinting")
    export_parquet(data, folder, "motif_footprinting", "fixed")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    export_parquet(data, folder, "motif_footprinting", "fixed")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    fewer = DatasetDict({split: part.select(range(1)) for split, part in data.items()})
    with pytest.raises(ValueError, match="motif_footprinting: already exists"):
        export_parquet(fewer, folder, "motif_footprinting", "fixed")
    for path in (folder / "motif_footprinting").iterdir():
        path.unlink()
    (folder / "motif_footprinting").rmdir()
    export_parquet(data, folder, "motif_footprinting", "fixed")
    assert DatasetCard.load(folder / "README.md").text.count("## motif_footprinting") == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("---\ntags: [cats]\n---\n")
    with pytest.raises(ValueError, match=r"README\.md: is the card of another dataset"):
        export_parquet(data, tmp_path / "other", "motif_footprinting", "fixed")


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as one commit of small files needs."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"]))
        address = f"{constants.ENDPOINT}/datasets/me/dart"
        answer: object = {"url": address}
        if self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif self.path.endswith("/commit/main"):
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            answer = {"commitUrl": f"{address}/commit/1", "commitOid": "1" * 40}
        elif self.path == "/api/validate-yaml":
            answer = {"errors": [], "warnings": []}
        self.reply(answer)

    def do_GET(self):
        self.reply({"_id": "1", "id": "me/dart", "sha": "0" * 40, "siblings": []})

    def reply(self, answer):
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked, server.files = [], {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_push_uploads_the_folder(rows, tmp_path, hub):
    folder = tmp_path / "repo"
    files = export_parquet(rows("motif_footprinting"), folder, "motif_footprinting", "fixed")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "junk").write_text("x")
    commit = push(folder, "me/dart", private=True, token="hf_secret")
    assert commit == f"{constants.ENDPOINT}/datasets/me/dart/commit/1"
    assert hub.files == {str(path.relative_to(folder)): path.read_bytes() for path in files}
    assert {token for _, token in hub.asked} == {"Bearer hf_secret"}
    assert hub.asked[0][0] == "/api/repos/create"


def test_push_refuses_other_folders(tmp_path):
    with pytest.raises(ValueError, match=r"has no README\.md or no Parquet files"):
        push(tmp_path, "me/dart")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.parquet").touch()
    (tmp_path / "README.md").touch()
    with pytest.raises(ValueError, match="'dart' is not owner/name"):
        push(tmp_path, "dart")
