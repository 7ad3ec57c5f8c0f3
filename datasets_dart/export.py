"""A task's rows as a dataset repository: Parquet shards, a card, eval.yaml; and its upload to the Hub."""

import math
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData, HfApi

from datasets_dart.base import CITATION
from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from datasets_dart.formats.documents import read_yaml_mapping, yaml_text
from datasets_dart.formats.text import markdown_code, one_line
from datasets_dart.outputs import LOCK, locked, made_folder, sweep_folder

SHARD_BYTES = 500_000_000  # of Arrow data in a Parquet file, as `push_to_hub` has it
CARD, EVAL = "README.md", "eval.yaml"
CARDS = Path(__file__).parent / "cards"
FRAMEWORK = "hyenadna-dart"


def export_parquet(
    rows: DatasetDict,
    folder: str | os.PathLike[str],
    task: str,
    protocol: str,
    shard_bytes: int = SHARD_BYTES,
    part: str = "",
) -> list[Path]:
    """Write the splits of a task into a dataset repository that plain `load_dataset(folder)` reads; returns its files.

    The task is one configuration of the repository, named after it (and after `part`, where a task has several
    datasets; "-paper" added in that protocol): other configurations that the folder already has stay. Shards are
    `{configuration}/{split}-00000-of-00001.parquet`.

    Raises ValueError where the folder has other files of this configuration, or is another repository.
    """
    folder = Path(folder)
    config_name = "-".join(name for name in (task, part, protocol if protocol != "fixed" else "") if name)
    target = folder / config_name

    def write(writing: Path) -> None:
        writing.mkdir()
        for split, part in rows.items():
            _write_shards(part, writing, split, shard_bytes)

    with locked(folder / LOCK, folder):
        sweep_folder(folder)
        data = _card_data(folder / CARD)
        content = _eval_content(folder / EVAL)
        made_folder(target, write, [])
        files = sorted(target.iterdir())
        _describe(rows, folder, task, config_name, data, content, files)
    return [folder / CARD, folder / EVAL, *files]


def _describe(
    rows: DatasetDict,
    folder: Path,
    task: str,
    config_name: str,
    data: DatasetCardData,
    content: dict[str, Any],
    files: list[Path],
) -> None:
    """Write the card and eval.yaml of a repository that has a new configuration."""
    info = _dataset_info(rows, config_name, sum(path.stat().st_size for path in files))
    DatasetInfosDict({config_name: info}).to_dataset_card_data(data)
    patterns = [{"split": split, "path": f"{config_name}/{split}-*"} for split in rows]
    MetadataConfigs({config_name: {"data_files": patterns}}).to_dataset_card_data(data)
    _write_card(folder, data, config_name, card_section(task, rows, config_name))
    _write_eval(folder / EVAL, content, config_name, list(rows))


def _write_shards(part: Dataset, folder: Path, split: str, shard_bytes: int) -> None:
    shards = max(1, math.ceil(part.data.nbytes / shard_bytes))
    for index in range(shards):
        path = folder / f"{split}-{index:05d}-of-{shards:05d}.parquet"
        part.shard(shards, index, contiguous=True).to_parquet(path)


def _dataset_info(rows: DatasetDict, config_name: str, download_size: int) -> DatasetInfo:
    sizes = {
        split: SplitInfo(split, num_bytes=part.data.nbytes, num_examples=len(part)) for split, part in rows.items()
    }
    return DatasetInfo(
        config_name=config_name,
        features=next(iter(rows.values())).features,
        splits=SplitDict(sizes),
        download_size=download_size,
        dataset_size=sum(size.num_bytes for size in sizes.values()),
    )


def _card_data(path: Path) -> DatasetCardData:
    """Metadata of the card that is there, or of a new one."""
    if not path.exists():
        return DatasetCardData(
            license="other",
            license_name="sources",
            pretty_name="DART-Eval, rebuilt",
            tags=["biology", "genomics", "dna", "dart-eval"],
        )
    card: Any = DatasetCard.load(path)
    if "dart-eval" not in (card.data.tags or []):
        raise InputError(f"{path}: is the card of another dataset; name another folder")
    data: DatasetCardData = card.data
    return data


def card_section(task: str, rows: DatasetDict, config_name: str) -> str:
    """Text of one configuration: what the task is, what the rows were made of and what was left out, the columns."""
    first = next(iter(rows.values()))
    text = (CARDS / f"{task}.md").read_text(encoding="utf-8").strip()
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in rows.items())
    types = "\n".join(
        f"| {markdown_code(name)} | {getattr(kind, 'dtype', kind)} |" for name, kind in first.features.items()
    )
    said = one_line(" ".join(first.info.description.split()))
    return (
        f"## {config_name}\n\n{text}\n\nRows: {sizes}.{balance(rows)}\n\n> {said}\n\n"
        f"| column | type |\n|---|---|\n{types}\n"
    )


def balance(rows: DatasetDict) -> str:
    """Rows by class in each split, as a sentence; "" where a configuration has no column of classes."""
    counted = []
    for split, part in rows.items():
        kind = part.features.get("label")
        if not (isinstance(kind, ClassLabel) or getattr(kind, "dtype", "") == "bool"):
            return ""
        column = part.select_columns(["label"]).with_format("arrow")[:]["label"]
        counts = {own["values"]: own["counts"] for own in pc.value_counts(column).to_pylist()}
        names = {code: kind.int2str(code) if isinstance(kind, ClassLabel) else str(code).lower() for code in counts}
        each = ", ".join(f"{markdown_code(names[code])} {counts[code]:,}" for code in sorted(counts))
        counted.append(f"{split} {each}")
    return f" By class: {'; '.join(counted)}."


def _write_card(folder: Path, data: DatasetCardData, config_name: str, section: str) -> None:
    path = folder / CARD
    mark = f"<!-- {config_name} -->"
    if path.exists():
        body = re.sub(f"{mark}.*?<!-- end -->\n*", "", DatasetCard.load(path).text, flags=re.DOTALL)
    else:
        body = (CARDS / "repository.md").read_text(encoding="utf-8") + f"\n## Citation\n\n```bibtex\n{CITATION}\n```\n"
    before, heading, after = body.partition("\n## Citation\n")
    body = f"{before.rstrip()}\n\n{mark}\n{section}<!-- end -->\n{heading}{after}"
    write_text(path, str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body.lstrip()}")))


def _eval_content(path: Path) -> dict[str, Any]:
    """What the repository's eval.yaml says, or a new one. Raises InputError for the file of another repository."""
    content: dict[str, Any] = {
        "name": "Tasks of DART-Eval",
        "description": "DNA language models on regulatory DNA, on rows made from the inputs that the card names.",
        "evaluation_framework": FRAMEWORK,
        "tasks": [],
    }
    if path.exists():
        found = read_yaml_mapping(path)
        if found.get("evaluation_framework") != FRAMEWORK:
            raise InputError(f"{path}: is of another dataset; name another folder")
        content = found
    return content


def _write_eval(path: Path, content: dict[str, Any], config_name: str, splits: list[str]) -> None:
    """Tasks of the repository as the Hub's benchmarks declare them: one for each configuration, on its test split."""
    tasks = [task for task in content["tasks"] if task["id"] != config_name]
    split = "test" if "test" in splits else splits[0]
    content["tasks"] = [*tasks, {"id": config_name, "config": config_name, "split": split}]
    write_text(path, yaml_text(content))


def push(folder: str | os.PathLike[str], repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload a folder that `export_parquet` wrote to a dataset repository of the Hub; returns the commit's address.

    The repository is made if it is not there. What the Hub already has is not sent again.

    Raises ValueError where the folder is not such a one, or the repository's name is not owner/name;
    huggingface_hub.errors.HfHubHTTPError where the Hub refuses.
    """
    folder = Path(folder)
    if not (folder / CARD).is_file() or not list(folder.glob("*/*.parquet")):
        raise InputError(f"{folder}: has no {CARD} or no Parquet files; `export_parquet` writes them")
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name:
        raise InputError(f"{repository!r} is not owner/name of a repository")
    api = HfApi(token=token)
    api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
    commit = api.upload_folder(
        repo_id=repository,
        repo_type="dataset",
        folder_path=folder,
        commit_message="Rows made by hyenadna-dart",
        ignore_patterns=[".*", "**/.*"],
    )
    return commit.commit_url
