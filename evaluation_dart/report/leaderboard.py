"""The data of the leaderboard, a static page: data.js, made from records and from published figures."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.formats.documents import read_json
from evaluation_dart.comparison import Pair, Side, paired, same_rows
from evaluation_dart.controls import chance, control_kind, expected_controls
from evaluation_dart.pretraining import in_words
from evaluation_dart.records import RESULTS, Record, load_record
from evaluation_dart.report.tables import data_name, headline, records_below, sound_metrics, up_to_date
from evaluation_dart.tasks import TASKS

CONTROLS = "controls.json"  # beside a record's results.json
DIFFERENCES = "differences.json"  # beside it too: paired differences from other records there
# Of published figures by where they were read; the page shows the words.
SOURCES = ("paper table", "authors' notebook", "authors' code", "read off a plot", "quoted")
# From the specification of the benchmark's models.
PARAMETERS = {
    "Caduceus": 7_700_000,
    "DNABERT-2": 117_000_000,
    "GENA-LM": 336_000_000,
    "HyenaDNA": 6_600_000,
    "Mistral-DNA": 1_600_000_000,
    "Nucleotide Transformer v2": 498_000_000,
}
# The repositories on the Hub that the benchmark's code loads them from.
HUB = {
    "Caduceus": "kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
    "DNABERT-2": "zhihan1996/DNABERT-2-117M",
    "GENA-LM": "AIRI-Institute/gena-lm-bert-large-t2t",
    "HyenaDNA": "LongSafari/hyenadna-large-1m-seqlen-hf",
    "Mistral-DNA": "RaphaelMourad/Mistral-DNA-v1-1.6B-hg38",
    "Nucleotide Transformer v2": "InstaDeepAI/nucleotide-transformer-v2-500m-multi-species",
}
MODEL_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
MADE_HERE = ("local", "ab-initio", "track")  # owners of models that are on no Hub


def build(folder: str | os.PathLike[str], records: Iterable[Path] = ()) -> tuple[int, list[str]]:
    """Copy the results.json of `records` (validated by the caller) into `folder`/records, with the metrics of permuted
    labels (`CONTROLS`) and the paired differences between them (`DIFFERENCES`) beside it, then write `folder`/data.js
    from all that lie there; returns the number of rows, and why files there were skipped or records not compared.

    Raises:
        FileNotFoundError: if `folder` is no leaderboard. InputError: naming a file and a value that cannot be shown.
    """
    folder = Path(folder)
    rows = published_rows(folder / "published.json")
    new = [up_to_date(load_record(path)) for path in records]
    for record in new:
        place = place_of(folder, record)
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / RESULTS, json.dumps(record.content, indent=2) + "\n")
        write_text(place / CONTROLS, controls_text(record))
    apart = add_differences(folder, new)
    there = any((folder / "records").rglob(RESULTS))
    own, skipped = records_below([folder / "records"]) if there else ([], [])
    runs = [run for run in own if run.kind == "task"]
    rows += [
        board_row(run.content, f"{run.folder.relative_to(folder).as_posix()}/{RESULTS}", permuted_of(run.folder))
        | {"data": data}
        for run, data in zip(runs, names_of_data(runs), strict=True)
    ]
    titles = {name: f"{task.number}: {task.title}" for name, task in TASKS.items()}
    expected = {
        name: {setting: expected_controls(name, setting) for setting in task.settings} for name, task in TASKS.items()
    }
    data = script(titles, "TITLES") + script(expected, "CONTROLS") + script(rows)
    data += script([apart for run in own for apart in differences_of(run.folder)], "DIFFERENCES")
    with replacing(folder / "data.js") as unfinished:
        unfinished.write_text(data, encoding="utf-8")
    return len(rows), skipped + apart


def names_of_data(records: Sequence[Record]) -> list[str]:
    """What the data of each record are called, as a board is of one data set: where several have one name, with the
    file of the first input that distinguishes them, else the beginning of the fingerprint."""
    named: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in records:
        named.setdefault((record.task, record.setting, data_name(record.content)), {}).setdefault(
            inputs_of(record), record
        )

    def file_of(record: Record, name: str) -> str:
        return str(record.dataset.get("inputs", {}).get(name, "")).partition(" sha256:")[0]

    def name_of(record: Record) -> str:
        name = data_name(record.content)
        others = list(named[record.task, record.setting, name].values())
        if len(others) == 1:
            return name
        inputs = record.dataset.get("inputs", {})
        files = (file_of(record, own) for own in inputs if len({file_of(of, own) for of in others}) == len(others))
        return f"{name}, of {next(files, record.dataset['fingerprint'][:8])}"

    return [name_of(record) for record in records]


def inputs_of(record: Record) -> str:
    """What two records on the same data have in common."""
    return json.dumps(record.dataset.get("inputs") or record.dataset["fingerprint"], sort_keys=True)


def controls_text(record: Record) -> str:
    """What `CONTROLS` holds of a record: each metric's mean, least and largest over permutations of the labels."""
    permuted = {name: own._asdict() for name, own in chance(record).items()}
    return json.dumps({"labels_permuted": permuted}, indent=1) + "\n"


def permuted_of(folder: Path) -> dict[str, Any]:
    """The metrics with labels permuted that lie beside a record; none where there are none."""
    path = folder / CONTROLS
    if not path.is_file():
        return {}
    try:
        found = read_json(path, finite=True)["labels_permuted"]
        return {name: {end: float(own[end]) for end in ("value", "low", "high")} for name, own in found.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not metrics with labels permuted: {error!r}"[:300]) from None


def place_of(folder: Path, record: Record) -> Path:
    """Where a record lies in a leaderboard."""
    return folder / "records" / str(record.fingerprint)[:12]


def add_differences(folder: Path, records: Sequence[Record]) -> list[str]:
    """Write `DIFFERENCES` beside the records of tasks: of each pair on the same rows, once, beside the first; returns
    why others were not compared."""
    left_out = []
    groups: dict[str, dict[str, Record]] = {}
    for record in records:
        if record.kind == "task":
            groups.setdefault(same_rows(record), {})[record.fingerprint[:12]] = record
    for group in groups.values():
        known: dict[Any, Any] = {}
        tables: dict[Path, Any] = {}
        found: dict[str, dict[str, Any]] = {}
        for first, second in combinations(sorted(group), 2):
            a, b = (Side(name, (group[name],)) for name in (first, second))
            try:
                own = differences_in(paired(a, b, None, known, tables))
            except InputError as error:
                left_out.append(f"not compared: {error}")
            else:
                found.setdefault(first, {})[second] = own
        for first, others in found.items():
            path = place_of(folder, group[first]) / DIFFERENCES
            before = read_json(path, finite=True) if path.is_file() else {}
            write_text(path, json.dumps({**before, **others}, indent=1) + "\n")
    return left_out


def differences_in(pair: Pair) -> dict[str, Any]:
    """The differences of a pair by metric: value, low, high, p, n and method, as the page shows them."""
    return {
        name: {
            "value": own.difference,
            "low": own.low,
            "high": own.high,
            "p": own.p,
            "n": own.n,
            "method": own.method,
        }
        for name, own in pair.metrics.items()
    }


def differences_of(folder: Path) -> list[dict[str, Any]]:
    """The paired differences that lie beside a record, from other records that are still on the board."""
    path = folder / DIFFERENCES
    if not path.is_file():
        return []
    found = read_json(path, finite=True)
    if not isinstance(found, dict) or not all(isinstance(own, dict) for own in found.values()):
        raise InputError(f"{path}: not differences by record")
    there = (name for name in found if (folder.parent / name / RESULTS).is_file())
    return [{"first": folder.name, "second": name, "metrics": found[name]} for name in there]


def hub_address(model: str, revision: str = "") -> str | None:
    """The page of a model on the Hub, at its commit where that is known; None of a model that is not there."""
    name = HUB.get(model, model)
    if not MODEL_ID.fullmatch(name) or name.partition("/")[0] in MADE_HERE:
        return None
    return f"https://huggingface.co/{name}" + (f"/tree/{revision}" if COMMIT.fullmatch(revision) else "")


def script(content: Any, name: str = "ROWS") -> str:
    """Content as a JavaScript assignment. No value can end the script or start a tag: `<`, `>`, `&` are escaped."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.{name} = {text};\n"


def published_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of published.json: groups of figures that share task, setting, protocol, data and source."""
    groups = read_json(path, finite=True)
    try:
        return [row for group in groups for row in _group_rows(path, group)]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not groups of published figures: {error!r}"[:300]) from None


def _group_rows(path: Path, group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of one group."""
    if group["source"] not in SOURCES:
        raise InputError(f"{path}: source is {group['source']!r}, not one of {', '.join(SOURCES)}")
    shared = {key: group[key] for key in ("task", "setting", "protocol", "data", "context", "source", "headline")}
    counts, where = group.get("n", {}), origin(group)
    for model, values in group["models"].items():
        metrics = {
            name: {"value": value, "low": None, "high": None, "n": counts.get(name), "higher_is_better": True}
            for name, value in zip(group["metrics"], values, strict=True)
        }
        known = group.get("parameters", {}).get(model, PARAMETERS.get(model))
        about = {"model": model, "revision": "", "parameters": known, "recipe": group.get("recipe", "")}
        about["hub"] = hub_address(model)
        about |= {
            "control": "",
            "permuted": {},
            "baseline": model in group.get("baselines", ()),
            "date": group.get("date", ""),
        }
        yield shared | about | where | {"metrics": metrics}


def origin(group: Mapping[str, Any]) -> dict[str, str]:
    """Where a group was read: a file of a repository at a commit, or what the group itself says (`where`, `link`)."""
    if "file" not in group:
        return {"where": group["where"], "link": group["link"]}
    repository, commit, file = group["repository"], group["commit"], group["file"]
    cell = f", cell {group['cell']}" if "cell" in group else ""
    note = f"; {group['note']}" if "note" in group else ""
    where = f"{repository}, branch {group['branch']}, commit {commit[:7]}, {file.rpartition('/')[2]}{cell}{note}"
    return {"where": where, "link": f"https://github.com/{repository}/blob/{commit}/{file}"}


def board_row(
    record: Mapping[str, Any], link: str | None = None, permuted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A record as a row of the leaderboard.

    Args:
        link: address of the record itself. permuted: its metrics with labels permuted, as CONTROLS has them.
    """
    model = record["model"]
    return {
        "task": record["task"],
        "setting": record["setting"],
        "model": model["id"],
        "revision": model["revision"],
        "hub": None if control_kind(record) else hub_address(str(model["id"]), str(model["revision"])),
        "parameters": model.get("parameters"),
        "context": record["recipe"].get("window"),
        "protocol": record["protocol"],
        "recipe": record["recipe"].get("name", ""),
        "data": data_name(record),
        "baseline": is_baseline(record),
        "control": control_kind(record),
        "pretraining": in_words(record),
        "source": "run",
        "date": record["date"][:10],
        "headline": headline(record),
        "metrics": {
            name: {key: metric[key] for key in ("value", "low", "high", "n", "higher_is_better", "method", "iid")}
            for name, metric in sound_metrics(record).items()
        },
        "permuted": dict(permuted or {}),
        "link": link,
    }


def is_baseline(record: Mapping[str, Any]) -> bool:
    """Whether a record is there for comparison only: no network, random weights, or no pretraining."""
    return record["setting"] == "ab_initio" or "parameters" not in record["model"] or bool(control_kind(record))
