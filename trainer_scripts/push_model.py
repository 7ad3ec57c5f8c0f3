"""Models to the Hub: what is checked of a folder before it is uploaded."""

import json
from pathlib import Path, PurePath

import yaml
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.repocard import RepoCard

from datasets_dart.errors import InputError
from datasets_dart.formats.documents import parse_yaml
from modeling_hyenadna import HyenaDNAConfig
from modeling_hyenadna.export_hub_code import AUTO_MAP, CONFIG, with_hub_code

REQUIRED = ("license", "pipeline_tag", "library_name", "tags")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib")
RESULTS, STATES = ".eval_results", "checkpoints"
TEXTS = (".json", ".jsonl", ".yaml", ".yml", ".md", ".txt", ".bed", ".csv", ".tsv", ".py")


def check_card(path: Path, required: tuple[str, ...] = REQUIRED) -> RepoCard:
    """The card in `path`, with its metadata parsed.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if huggingface_hub cannot parse it, or metadata are missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("---"):
            parse_yaml(text.split("---", 2)[1], path)
        card = ModelCard(text, ignore_metadata_errors=False)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    metadata = card.data.to_dict()
    if missing := [name for name in required if not metadata.get(name)]:
        raise InputError(f"{path}: its metadata have no {', '.join(missing)}")
    return card


def check_model_folder(folder: Path) -> None:
    """Raise FileNotFoundError or ValueError saying why `folder` should not go to the Hub as a model."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder / CONFIG}: no such file")
    check_card(folder / "README.md")
    for path in (folder / name for name in files_in(folder) if is_uploaded(name)):
        if path.suffix in PICKLES:
            raise InputError(f"{path}: a pickle, which others would have to trust; convert it to safetensors")
        if path.suffix in TEXTS and (
            place := local_path_in(path.read_text(encoding="utf-8", errors="replace"), folder)
        ):
            raise InputError(f"{path}: names {place}, a place on this machine; take it out before others can read it")


def is_uploaded(name: PurePath) -> bool:
    """Whether a file of a model's folder is for others: no state of a training, no cache, hidden only if of results."""
    hidden = any(part.startswith((".", "__pycache__")) for part in name.parts)
    return name.parts[0] == RESULTS or not (hidden or name.parts[0] == STATES)


def files_in(folder: Path) -> list[PurePath]:
    """The files in and below a folder."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def local_path_in(text: str, folder: Path) -> str | None:
    """The home or working folder, or the one that `folder` is in, if a text names it."""
    places = {Path.home(), Path.cwd(), folder.resolve().parent}
    return next((f"{place}/" for place in map(str, places) if len(place) > 1 and f"{place}/" in text), None)


def is_native(folder: Path) -> bool:
    """Whether a folder holds a HyenaDNA model that names no code of its own, or the code that this package exports."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return config.get("model_type") == HyenaDNAConfig.model_type and config.get("auto_map") in (None, {}, AUTO_MAP)


def operations_of(folder: Path, code: bool) -> list[CommitOperationAdd]:
    """The files of a model's folder to upload and, with `code`, the Hub code, which config.json then names."""
    written = with_hub_code(folder / CONFIG) if code else {}
    files: dict[str, str | bytes] = {name: text.encode() for name, text in written.items()}
    for name in files_in(folder):
        if is_uploaded(name):
            files.setdefault(name.as_posix(), str(folder / name))
    return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in sorted(files.items())]


def push_model(
    folder: Path,
    repo_id: str,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    code: bool = True,
) -> str:
    """Upload a model's folder, hidden `.eval_results` included, to a repository that is made if need be.

    With `code`, a HyenaDNA model goes up with the Python files that load it where this package is not imported
    (modeling_hyenadna/export_hub_code.py). The folder itself is left as it is.

    Returns:
        The address of the commit, or of the pull request.

    Raises:
        FileNotFoundError, ValueError: if the folder is not fit to be pushed, or the Hub refuses.
        ConnectionError: if the Hub cannot be reached.
    """
    check_model_folder(folder)
    operations = operations_of(folder, code and is_native(folder))
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo_id=repo_id,
            operations=operations,
            revision=None if create_pr else revision,
            create_pr=create_pr,
            commit_message=f"Upload {folder.resolve().name}",
        )
    except HfHubHTTPError as error:
        raise InputError(f"{repo_id}: the Hub refused: {error}") from None
    except Exception as error:
        # huggingface_hub lets the errors of its HTTP client through, which are no OSErrors.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
            raise
        raise ConnectionError(f"{api.endpoint} cannot be reached: {error}") from None
    return commit.pr_url or commit.commit_url
