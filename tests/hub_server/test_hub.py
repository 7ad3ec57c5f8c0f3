"""Push to the Hub and pull from it, against the server in hub_server.py."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import (
    HfApi,
    ModelCard,
    SpaceCard,
    constants,
    hf_hub_download,
    parse_eval_result_entries,
    snapshot_download,
)
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from datasets_dart.samples import cpg_islands_chrx
from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNATokenizer
from modeling_hyenadna.export_hub_code import AUTO_MAP
from trainer_scripts.cli import hyenadna
from trainer_scripts.push_model import check_model_folder, push_model

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
EVAL_RESULTS = """
- dataset: {id: owner/dart-eval, task_id: regulatory_elements}
  value: 0.845
  date: "2026-11-21"
  notes: zero_shot_likelihood
"""
DEMO = ROOT / "model_cards/hyenadna-tiny-1k-demo"
REPO = "owner/hyenadna-tiny-1k-demo"

spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
hub_server = importlib.util.module_from_spec(spec)
sys.modules["hub_server"] = hub_server
spec.loader.exec_module(hub_server)
TOKEN = hub_server.TOKEN
# Of huggingface_hub itself, on uploading large files.
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")


@pytest.fixture
def hub():
    with hub_server.HubServer() as server:
        yield server


@pytest.fixture
def api(hub, monkeypatch, tmp_path):
    """A client of `hub` in this process, whatever the environment says of Xet and of working offline."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    huggingface_hub.utils.disable_progress_bars()
    return HfApi(endpoint=hub.url, token=TOKEN)


ANOTHER = b"---\nlicense: apache-2.0\n---\n# Another card\n"


def environment(hub, tmp_path, **more):
    """What a user sets to work with another Hub."""
    names = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
             "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    return {**os.environ, **names, **more}


def run(command, hub, tmp_path, **more):
    done = subprocess.run(command, env=environment(hub, tmp_path, **more), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(program, hub, tmp_path, **more):
    return run([sys.executable, "-W", "ignore", "-c", program], hub, tmp_path, **more)


def pushed(api, folder=DEMO, repo_id=REPO, **options):
    api.create_repo(repo_id, exist_ok=True, **options)
    return api.upload_folder(repo_id=repo_id, folder_path=folder, ignore_patterns=["*.jsonl", "*.png"])


def test_files_arrive_as_they_are_and_large_ones_once(hub, api):
    pushed(api)
    for name, content in hub.files(REPO).items():
        if name != ".gitattributes":
            assert content == (DEMO / name).read_bytes()
    assert hub.repositories["models", REPO].commits[api.model_info(REPO).sha][0]["model.safetensors"].lfs
    uploads = [path for method, path in hub.requests if method == "PUT"]
    assert len(uploads) == 1
    pushed(api, repo_id="owner/again")  # the same weights are known by their digest
    assert [path for method, path in hub.requests if method == "PUT"] == uploads


def test_download_follows_the_redirect_and_is_cached(hub, api, tmp_path):
    sha = pushed(api).oid
    path = Path(api.hf_hub_download(REPO, "model.safetensors"))
    assert path.read_bytes() == (DEMO / "model.safetensors").read_bytes()
    assert path.parent.name == sha
    assert hub.downloads("model.safetensors") == 1  # of the storage; the redirect was a HEAD
    api.hf_hub_download(REPO, "model.safetensors")
    assert hub.downloads("model.safetensors") == 1


def test_cut_download_resumes_where_it_broke_off(hub, api, monkeypatch):
    pushed(api)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # written at once; ten million as it is
    hub.cut["model.safetensors"] = 700_000
    path = Path(api.hf_hub_download(REPO, "model.safetensors"))
    assert path.read_bytes() == (DEMO / "model.safetensors").read_bytes()
    ((name, start),) = hub.ranges
    assert name == "model.safetensors"
    assert 0 < start <= 700_000


def test_changed_remote_file_is_fetched_again_and_the_others_are_not(hub, api, tmp_path):
    pushed(api)
    first = snapshot_download(REPO, endpoint=hub.url)
    api.upload_file(repo_id=REPO, path_or_fileobj=ANOTHER, path_in_repo="README.md")
    before = hub.downloads("config.json"), hub.downloads("model.safetensors")
    second = snapshot_download(REPO, endpoint=hub.url)
    assert first != second
    assert (Path(second) / "README.md").read_bytes() == ANOTHER
    assert (Path(first) / "README.md").read_bytes() == (DEMO / "README.md").read_bytes()
    assert (hub.downloads("config.json"), hub.downloads("model.safetensors")) == before


def test_rate_limit_is_waited_for(hub, api):
    pushed(api)
    hub.rate_limited = 2
    entries = list(api.list_repo_tree(REPO, recursive=True))
    assert {"README.md", "config.json", "model.safetensors"} <= {entry.path for entry in entries}
    hub.rate_limited = 1
    with pytest.raises(HfHubHTTPError, match="429 Too Many Requests"):
        api.model_info(REPO)


def test_private_repositories_look_absent_to_others(hub, api):
    pushed(api, private=True)
    assert api.model_info(REPO).private
    stranger = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError, match="401"):
        stranger.model_info(REPO)
    with pytest.raises(RepositoryNotFoundError) as refused:
        stranger.hf_hub_download(REPO, "config.json")
    assert not isinstance(refused.value, GatedRepoError)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token="hf_wrong").whoami()


def test_revisions(hub, api):
    first = pushed(api).oid
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="next")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"{}\n", path_in_repo="config.json", revision="next")
    pull = api.upload_file(repo_id=REPO, path_or_fileobj=b"[]\n", path_in_repo="config.json", create_pr=True)

    def config(revision):
        return Path(api.hf_hub_download(REPO, "config.json", revision=revision)).read_bytes()

    original = (DEMO / "config.json").read_bytes()
    assert [config(name) for name in ("main", "v1", first, "next")] == [original] * 3 + [b"{}\n"]
    assert config("refs/pr/1") == b"[]\n"
    assert pull.pr_url == f"{hub.url}/{REPO}/discussions/1"
    refs = api.list_repo_refs(REPO)
    assert {ref.name for ref in refs.branches} == {"main", "next"}
    assert [ref.name for ref in refs.tags] == ["v1"]


def test_offline_works_from_the_cache_alone(hub, api, monkeypatch):
    pushed(api)
    online = hf_hub_download(REPO, "config.json", endpoint=hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    seen = len(hub.requests)
    assert hf_hub_download(REPO, "config.json", endpoint=hub.url) == online
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download(REPO, "model.safetensors", endpoint=hub.url)
    assert len(hub.requests) == seen


def test_model_is_pushed_and_loaded_back(hub, tmp_path):
    """As a user would: `hyenadna push`, then Auto classes and `hf download`; then offline."""
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder)
    (folder / ".eval_results").mkdir()
    (folder / ".eval_results/dart-eval.yaml").write_text(EVAL_RESULTS)
    out = run([SCRIPTS / "hyenadna", "push", str(folder), REPO], hub, tmp_path)
    assert out.startswith(f"pushed: {hub.url}/{REPO}/commit/")
    assert hub.files(REPO).keys() >= {".eval_results/dart-eval.yaml", "README.md", "model.safetensors"}

    program = f"""
import json
import modeling_hyenadna
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained({REPO!r}), AutoTokenizer.from_pretrained({REPO!r})
logits = model(**tokenizer("ACGTNACGT", return_tensors="pt")).logits
print(json.dumps([type(model).__name__, type(tokenizer).__name__, logits[0, :, 7].tolist()]))
"""
    online = json.loads(python(program, hub, tmp_path))
    inputs = HyenaDNATokenizer.from_pretrained(DEMO)("ACGTNACGT", return_tensors="pt")
    with torch.no_grad():
        expected = HyenaDNAForCausalLM.from_pretrained(DEMO)(**inputs).logits[0, :, 7]
    assert online[:2] == ["HyenaDNAForCausalLM", "HyenaDNATokenizer"]
    torch.testing.assert_close(torch.tensor(online[2]), expected)

    seen = len(hub.requests)
    assert json.loads(python(program, hub, tmp_path, HF_HUB_OFFLINE="1")) == online
    assert len(hub.requests) == seen

    local = tmp_path / "downloaded"
    run([SCRIPTS / "hf", "download", REPO, "--local-dir", str(local)], hub, tmp_path)
    assert (local / "model.safetensors").read_bytes() == (DEMO / "model.safetensors").read_bytes()
    entries = parse_eval_result_entries(yaml.safe_load((local / ".eval_results/dart-eval.yaml").read_text()))
    assert [(entry.task_id, entry.value) for entry in entries] == [("regulatory_elements", 0.845)]


# A process without this package: what a user has who was given the name of a repository only.
WITHOUT_PACKAGE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "modeling_hyenadna":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
from transformers import AutoModelForCausalLM, AutoTokenizer

try:
    AutoModelForCausalLM.from_pretrained(sys.argv[1])
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
for repository in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(repository)
    model = AutoModelForCausalLM.from_pretrained(repository, trust_remote_code=True)
    print("", model(**tokenizer("ACGTNACGT", return_tensors="pt")).logits[0, :, 7].tolist(), sep="\\n")
"""


def test_pushed_models_carry_their_code(hub, api, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("*.jsonl", "*.png"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("trainer_scripts.push_model.HfApi", lambda: api)
    push_model(folder, "owner/by-command")
    for repo_id in ("owner/no-code", "owner/by-model"):  # the second for its card, which this server asks for
        monkeypatch.setattr("sys.argv", ["hyenadna", "push", str(folder), repo_id, "--no-code"])
        with pytest.raises(SystemExit, match="0"):
            hyenadna.main()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    by_model = f"""
from modeling_hyenadna import HyenaDNAForCausalLM, HyenaDNATokenizer

model = HyenaDNAForCausalLM.from_pretrained({str(folder)!r})
model.push_to_hub("owner/by-model")
HyenaDNATokenizer.from_pretrained({str(folder)!r}).push_to_hub("owner/by-model")
assert model.config.auto_map == {{}}
"""
    python(by_model, hub, tmp_path)
    carrying = ("owner/by-command", "owner/by-model")
    assert all(json.loads(hub.files(repo_id)["config.json"])["auto_map"] == AUTO_MAP for repo_id in carrying)
    inputs = HyenaDNATokenizer.from_pretrained(DEMO)("ACGTNACGT", return_tensors="pt")
    with torch.no_grad():
        expected = HyenaDNAForCausalLM.from_pretrained(DEMO)(**inputs).logits[0, :, 7]
    said = run([sys.executable, "-W", "ignore", "-c", WITHOUT_PACKAGE, *carrying], hub, tmp_path)
    found = [json.loads(line) for line in said.splitlines() if line.startswith("[")]  # beside transformers' questions
    assert len(found) == len(carrying)
    for logits in found:
        torch.testing.assert_close(torch.tensor(logits), expected, atol=1e-4, rtol=0)
    plain = hub.files("owner/no-code")
    assert plain["config.json"] == (folder / "config.json").read_bytes()
    assert not [name for name in plain if name.endswith(".py")]


def test_official_layout_loads_natively_without_trust(hub, api, tmp_path):
    """A repository as LongSafari's: auto_map in both configs, Python files beside; none of them is fetched or run."""
    golden = ROOT / "tests/fixtures/model/tiny1k_d128_l2_s1026"
    folder = tmp_path / "official"
    shutil.copytree(golden, folder)
    for name in ("modeling_hyena.py", "configuration_hyena.py", "tokenization_hyena.py"):
        (folder / name).write_text("raise SystemExit('remote code was run')\n")
    repo_id = "LongSafari/hyenadna-tiny-1k-seqlen-hf"
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=folder)
    assert "auto_map" in json.loads(hub.files(repo_id)["config.json"])
    assert "auto_map" in json.loads(hub.files(repo_id)["tokenizer_config.json"])
    out = python(
        f"""
import modeling_hyenadna
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

expected = load_file({str(golden / "expected.safetensors")!r})
tokenizer = AutoTokenizer.from_pretrained({repo_id!r})
for auto in (AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification):
    model = auto.from_pretrained({repo_id!r}).eval()
    if auto is AutoModelForCausalLM:
        logits = model(expected["short.input_ids"]).logits
        print(type(model).__module__, (logits - expected["short.logits"]).abs().max().item() < 2e-4)
print(type(tokenizer).__module__, tokenizer("ACGTN")["input_ids"])
""",
        hub,
        tmp_path,
    )
    assert out.splitlines() == [
        "modeling_hyenadna.modeling_hyenadna True",
        "modeling_hyenadna.tokenization_hyenadna [7, 8, 9, 10, 11, 1]",
    ]
    assert not any(path.endswith(".py") for method, path in hub.requests if method == "GET")


def test_dataset_is_pushed_and_loaded_back(hub, tmp_path):
    folder = tmp_path / "dart-eval"
    python(
        f"""
from datasets_dart import load_dart
from datasets_dart.export import export_parquet, push
from datasets_dart.samples import cpg_islands_chrx

rows = load_dart("regulatory_elements", **cpg_islands_chrx(), cache_dir={str(tmp_path / "cache")!r})
export_parquet(rows, {str(folder)!r}, "regulatory_elements", "fixed")
push({str(folder)!r}, "owner/dart-eval")
""",
        hub,
        tmp_path,
    )
    files = hub.files("owner/dart-eval", "datasets")
    assert yaml.safe_load(files["eval.yaml"])["tasks"][0]["config"] == "regulatory_elements"
    program = """
from datasets import load_dataset
rows = load_dataset("owner/dart-eval", "regulatory_elements", split="test")
print(len(rows), rows[0]["sequence"][:8], rows.column_names)
"""
    online = python(program, hub, tmp_path)
    assert online.startswith("451 ")
    seen = len(hub.requests)
    assert python(program, hub, tmp_path, HF_HUB_OFFLINE="1") == online
    assert len(hub.requests) == seen


def test_every_card_passes_the_hubs_validation(hub, api, monkeypatch):
    """By huggingface_hub's own call; what the Hub checks beyond the server here is not known."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    cards = sorted((ROOT / "model_cards").glob("*/README.md"))
    assert len(cards) == 9
    for path in cards:
        ModelCard.load(path).validate()
    SpaceCard.load(ROOT / "leaderboard/README.md").validate()
    assert hub.requests == [("POST", "/api/validate-yaml")] * 10
    with pytest.raises(ValueError, match="license is missing"):
        ModelCard("---\ntags: [dna]\n---\n").validate()


def test_results_of_a_model_are_read_from_its_repository(hub, api):
    pushed(api)
    api.upload_file(repo_id=REPO, path_or_fileobj=EVAL_RESULTS.encode(), path_in_repo=".eval_results/dart-eval.yaml")
    (entry,) = api.model_info(REPO, expand=["evalResults"]).eval_results
    assert (entry.dataset_id, entry.task_id, entry.value) == ("owner/dart-eval", "regulatory_elements", 0.845)


def test_what_is_not_fit_to_be_pushed_is_refused(hub, api, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        check_model_folder(tmp_path)
    for name in ("config.json", "README.md"):
        shutil.copy(DEMO / name, tmp_path)
    check_model_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: a pickle"):
        check_model_folder(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "run.json").write_text(json.dumps({"genome": str(Path.home() / "me" / "g.fa")}))
    with pytest.raises(ValueError, match=rf"run\.json: names {Path.home()}/, a place on this machine"):
        check_model_folder(tmp_path)
    (tmp_path / "run.json").unlink()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "optimizer.bin").write_bytes(b"")  # is not uploaded
    (tmp_path / ".env").write_text(str(Path.home() / "me"))
    check_model_folder(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: &a [x]\ntags: *a\n---\n")
    with pytest.raises(ValueError, match=r"README\.md:3: .*alias"):
        check_model_folder(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags: [dna]\n---\n")
    with pytest.raises(ValueError, match=r"README\.md: its metadata have no pipeline_tag, library_name"):
        check_model_folder(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(ValueError, match=r"README\.md: "):
        check_model_folder(tmp_path)


def test_errors_of_the_hub_are_one_line(hub, api, monkeypatch, capsys):
    def push(endpoint, token):
        monkeypatch.setattr("trainer_scripts.push_model.HfApi", lambda: HfApi(endpoint=endpoint, token=token))
        monkeypatch.setattr("sys.argv", ["hyenadna", "push", str(DEMO), REPO])
        with pytest.raises(SystemExit) as done:
            hyenadna.main()
        err = capsys.readouterr().err
        assert (done.value.code, err.count("\n")) == (1, 1)
        return err

    assert push(hub.url, "hf_wrong").startswith(f"hyenadna: {REPO}: the Hub refused: Client error '401")
    assert push("http://127.0.0.1:9", TOKEN).startswith("hyenadna: http://127.0.0.1:9 cannot be reached: ")


def test_readme_lines_run_as_printed(hub, tmp_path):
    """The block of README's section on the Hub, as a new user would type it."""
    section = (ROOT / "README.md").read_text().partition("## On the Hub\n")[2].partition("\n## ")[0]
    block = section.partition("```bash\n")[2].partition("```")[0].replace("\\\n", "")
    lines = [re.sub(r"\bme/", "owner/", line.replace("me__", "owner__")) for line in block.splitlines() if line]
    assert len(lines) == 11
    sample = cpg_islands_chrx()
    shutil.copytree(DEMO, tmp_path / "my-model")
    shutil.copytree(ROOT / "leaderboard", tmp_path / "leaderboard")
    shutil.copy(sample["genome"], tmp_path / "genome.fa.gz")
    (tmp_path / "elements.bed").write_text("".join(Path(sample["elements"]).read_text().splitlines(True)[:20]))
    shutil.copy(sample["splits"], tmp_path / "splits.bed")
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        if line.startswith("dart-eval run"):
            line += " --splits splits.bed"  # the paper has none of chrX to test on
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment(hub, tmp_path, PATH=path), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    model = hub.files("owner/my-model")
    assert {"modeling_hyenadna.py", "README.md", "model.safetensors", ".eval_results/dart-eval.yaml"} <= set(model)
    (entry,) = parse_eval_result_entries(yaml.safe_load(model[".eval_results/dart-eval.yaml"]))
    tasks = yaml.safe_load(hub.files("owner/my-data", "datasets")["eval.yaml"])["tasks"]
    assert entry.dataset_id == "owner/my-data"
    assert entry.task_id in {task["id"] for task in tasks}
    assert "data/train-00000-of-00001.parquet" in hub.files("owner/my-results", "datasets")
    assert b"owner/my-model" in hub.files("owner/my-board", "spaces")["data.js"]
