"""Models on the same rows: differences of their metrics, paired row by row, with intervals and tests."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from datasets_dart.errors import InputError
from datasets_dart.formats.text import one_line
from datasets_dart.progress import counted
from evaluation_dart.records import (
    RESULTS,
    Record,
    blocks_named,
    choices_of,
    estimates_of,
    load_record,
    row_keys,
    row_names,
)
from evaluation_dart.report.tables import headline, records_below, shown_table
from evaluation_dart.seeds import means_of
from evaluation_dart.statistics import estimates, significance
from evaluation_dart.statistics.estimates import Estimate
from evaluation_dart.tasks import TASKS

POWER = 0.8  # of the smallest difference that is said to be detectable
SIGNIFICANCE = 0.05
# Metrics that are means over the rows: of their differences, signs are turned by blocks
MEANS = ("accuracy", "mean_diff", "brier")
OF_ROWS = ("label", "labels", "chrom", "start")  # in predictions of no task of the benchmark
# Columns of predictions that are a model's, and what others of them begin with
SCORES = {"score", "control_score", "score1", "score2", "distance", "prediction", "control_loss", "repeat_loss"}
SCORES |= {"conserved_sum", "other_sum", "status"}
BY_NUMBER = ("cluster_", "loss_")
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("setting", pa.string()),
        ("protocol", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("metric", pa.string()),
        ("a", pa.float64()),
        ("b", pa.float64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("p_holm_over_pairs", pa.float64()),
        ("p_bh_over_table", pa.float64()),
        ("detectable_at_80_power", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
    ]
)


@dataclass(frozen=True)
class Difference:
    """How much a metric of one model is above that of another, on the rows that both have.

    Attributes:
        difference: a's value less b's.
        low: the lower end of its 95 % interval; None where `method` says why.
        high: the upper end.
        p: of the hypothesis that there is no difference, two-sided; None where `method` says why.
        n: rows in common.
        method: how interval and p were made.
        a: the first model's value.
        b: the second model's value.
        detectable: the least true difference that such a comparison finds with a power of 80 % (p < 0.05).
        p_holm: p corrected by Holm's method for all pairs of models in this metric, task and setting.
        p_bh: p corrected by Benjamini and Hochberg's method for all rows of the table.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    method: str
    a: float
    b: float
    detectable: float | None = None
    p_holm: float | None = None
    p_bh: float | None = None


@dataclass(frozen=True)
class Side:
    """One of two models in a comparison: a record, or several that differ in their seed only."""

    label: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """One of the records, by which all are described."""
        return self.records[0]


@dataclass(frozen=True)
class Pair:
    """Two models on one task and setting.

    Attributes:
        a: the first model, with its records.
        b: the second.
        metrics: differences by the metric's name.
        undefined: why other metrics have no difference, by name.
        rows: rows in common.
        only_a: rows that only a has.
        only_b: rows that only b has.
    """

    a: Side
    b: Side
    metrics: Mapping[str, Difference]
    undefined: Mapping[str, str]
    rows: int
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes:
        pairs: of models, task by task.
        left_out: what was not compared, and why.
    """

    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...] = ()

    @property
    def only(self) -> Pair:
        """The pair, where there is one only.

        Raises:
            InputError: where there are several.
        """
        if len(self.pairs) != 1:
            raise InputError(f"{len(self.pairs)} pairs were compared: see pairs, or table")
        return self.pairs[0]

    @property
    def metrics(self) -> Mapping[str, Difference]:
        """The differences of the only pair, by the metric's name."""
        return self.only.metrics

    @property
    def rows(self) -> int:
        """Rows that both models of the only pair have."""
        return self.only.rows

    @property
    def only_a(self) -> int:
        """Rows that only a has, of the only pair."""
        return self.only.only_a

    @property
    def only_b(self) -> int:
        """Rows that only b has, of the only pair."""
        return self.only.only_b

    @property
    def table(self) -> pa.Table:
        """A row for each metric of each pair, with the columns of `SCHEMA`; without a difference only `method`."""
        rows = []
        for pair in self.pairs:
            about = {name: getattr(pair.a.first, name) for name in ("task", "setting", "protocol")}
            about |= {"model_a": pair.a.label, "model_b": pair.b.label}
            if pair.a.first.setting != pair.b.first.setting:
                about["setting"] += f" - {pair.b.first.setting}"
            for name, own in pair.metrics.items():
                corrected = {"p_holm_over_pairs": own.p_holm, "p_bh_over_table": own.p_bh}
                rows.append(
                    about | {"metric": name, "detectable_at_80_power": own.detectable} | corrected | asdict(own)
                )
            rows += [about | {"metric": name, "method": why} for name, why in pair.undefined.items()]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def __str__(self) -> str:
        """The differences as a table, of several pairs those of the metric to look at; and what was not compared."""
        if len(self.pairs) != 1:
            return "\n".join([self.shown(headlines=True), *self.left_out])
        pair = self.pairs[0]
        sides = [f"{name}: {one_line(own.label)} ({', '.join(str(record.folder) for record in own.records)})"
                 for name, own in (("a", pair.a), ("b", pair.b))]  # fmt: skip
        counts = f"{pair.rows:,} rows in common; only in a: {pair.only_a:,}, only in b: {pair.only_b:,}"
        missing = [f"{name}: {why}" for name, why in pair.undefined.items()]
        return "\n".join([*sides, counts, self.shown(headlines=False), *missing, *self.left_out])

    def shown(self, headlines: bool) -> str:
        """Rows of `table` as text; headlines: only those of the metrics to look at."""
        wanted = {
            (pair.a.label, pair.b.label, pair.a.first.task, pair.a.first.setting): headline(pair.a.first.content)
            for pair in self.pairs
        }
        rows = [row for row in self.table.to_pylist() if row["difference"] is not None]
        if headlines:
            own = ("model_a", "model_b", "task")
            rows = [
                row
                for row in rows
                if wanted[*(row[name] for name in own), row["setting"].partition(" - ")[0]] == row["metric"]
            ]
        names = ["metric", "a", "b", "difference", "low", "high", "p", "p_bh_over_table", "detectable_at_80_power", "n"]
        if headlines:
            names = ["task", "setting", "model_a", "model_b", *names]
            names.insert(names.index("p") + 1, "p_holm_over_pairs")
        methods: dict[str, list[str]] = {}
        for row in rows:
            metrics = methods.setdefault(row["method"], [])
            metrics += [row["metric"]] * (row["metric"] not in metrics)
        ways = [f"{', '.join(metrics)}: {method}" for method, metrics in methods.items()]
        return "\n".join([shown_table(rows, names), *ways])


def compare(*given: Record | str | os.PathLike[str], blocks: str | None = None) -> Comparison:
    """Differences of the metrics of two or more models, over the rows that both of a pair have.

        compare(record_a, record_b).metrics["accuracy"].p
        print(compare("results/org__a", "results/org__b", "results/org__c"))

    Two records of one task and protocol are compared with one another, whatever their settings. Of folders, all
    records in or below them: those of one task, setting, protocol, split and data, in all pairs; those that differ in
    their seed only are one model, the mean over its seeds.

    Intervals are of the paired difference, by leaving out blocks of rows that are alike; p-values by turning the signs
    of whole blocks where a metric is a mean over rows, else by Student's t of that difference.

    Args:
        given: records, or folders with records in or below them.
        blocks: which rows are alike, see `evaluation_dart.tasks.base.blocks_of`; None: as the records have it.

    Raises:
        InputError: for records of different tasks or protocols, fewer than two to compare, no row in common, or rows of
            one name that differ.
    """
    left_out: list[str] = []
    single = [own if isinstance(own, Record) else record_at(Path(own)) for own in given]
    if len(single) > 1 and all(own is not None for own in single):
        records = [own for own in single if own is not None]
        for name in ("task", "protocol"):
            if len(values := list(dict.fromkeys(getattr(own, name) for own in records))) > 1:
                raise InputError(f"the records differ in {name} ({' and '.join(values)}) and cannot be compared")
        groups = [labelled([(own,) for own in records])]
    else:
        groups, left_out = matched(given)
    return compared(groups, left_out, blocks)


def compared(groups: Sequence[Sequence[Side]], left_out: Iterable[str] = (), blocks: str | None = None) -> Comparison:
    """All pairs within each group of models, see [`compare`].

    Args:
        groups: see [`matched`]. left_out: what is in no group, and why.
    """
    left_out = list(left_out)
    found: list[Pair] = []
    known: dict[Any, dict[str, Estimate]] = {}
    count = sum(math.comb(len(sides), 2) for sides in groups)
    both = ((number, pair) for number, sides in enumerate(groups) for pair in combinations(sides, 2))
    tables: dict[int, dict[Path, pa.Table]] = {}
    for number, (a, b) in counted(both, "comparing", "pairs", count):
        if number not in tables:
            tables = {number: {}}  # those of one group at a time are kept
        try:
            found.append(paired(a, b, blocks, known, tables[number]))
        except (InputError, OSError) as error:  # the predictions of a record may not be there
            if count == 1:
                raise
            left_out.append(f"not compared: {a.label} and {b.label} on {a.first.task}: {error}")
    if not found:
        raise InputError(f"there are no two records to compare: {'; '.join(left_out)[:1000]}")
    return Comparison(corrected(found), tuple(left_out))


def record_at(path: Path) -> Record | None:
    """The record of a folder; None of a folder without one, which may have some below it."""
    return load_record(path) if (path / RESULTS).exists() or not path.is_dir() else None


def matched(given: Iterable[Record | str | os.PathLike[str]]) -> tuple[list[list[Side]], list[str]]:
    """Models that can be compared with one another, group by group; and what is compared with nothing, and why."""
    records: list[Record] = []
    left_out: list[str] = []
    for where in given:
        if isinstance(where, Record):
            records.append(where)
        else:
            found, skipped = records_below([where])
            records += found
            left_out += skipped
    groups: dict[str, dict[str, list[Record]]] = {}
    for folder, record in {own.folder.resolve(): own for own in records}.items():
        of = groups.setdefault(same_rows(record), {}).setdefault(but_for_seed(record), [])
        if any(seed_of(own) == seed_of(record) for own in of):
            left_out.append(f"not compared: {folder}: the same model and seed as {of[0].folder}")
        else:
            of.append(record)
    sides = [labelled([tuple(sorted(own, key=seed_of)) for own in models.values()]) for models in groups.values()]
    for group in sides:
        if len(group) == 1:
            first = group[0].first
            left_out.append(f"not compared: {group[0].label}: the only model on {first.task}, {first.setting}")
    return [group for group in sides if len(group) > 1], left_out


def same_rows(record: Record) -> str:
    """What records have in common that are of the same rows of the same task."""
    data = record.dataset.get("inputs") or record.dataset["fingerprint"]
    return json.dumps([record.kind, record.task, record.setting, record.protocol, record.split, data], sort_keys=True)


def but_for_seed(record: Record) -> str:
    """What a model and its training are, but for the seed."""
    recipe = {name: value for name, value in record.recipe.items() if name != "seed"}
    choices = choices_of({**record.spec, "seed": 0})
    return json.dumps([record.model["id"], record.model["revision"], recipe, choices], sort_keys=True)


def seed_of(record: Record) -> int:
    """The seed of a run."""
    return int(record.spec.get("seed", record.content.get("seed", record.recipe.get("seed", 0))))


def labelled(groups: Sequence[tuple[Record, ...]]) -> list[Side]:
    """Sides with the names of their models; what else distinguishes them is added where two have one name."""
    names = [str(own[0].model["id"]) for own in groups]
    further: list[Callable[[Record], str]] = [
        lambda own: choices_of({**own.spec, "seed": 0}),
        lambda own: str(own.recipe.get("name", "")),
        lambda own: own.setting,
        lambda own: f"revision {own.model['revision']}",
        lambda own: str(own.folder),
    ]
    for more in further:
        if len(set(names)) < len(names):
            told = [more(own[0]) for own in groups]
            twice = {name for name in names if names.count(name) > 1}
            if len(set(told)) > 1:
                names = [
                    f"{name} ({what})" if name in twice and what else name
                    for name, what in zip(names, told, strict=True)
                ]
    seeds = [f", mean over {len(own)} seeds" if len(own) > 1 else "" for own in groups]
    return [Side(name + more, own) for name, more, own in zip(names, seeds, groups, strict=True)]


def paired(
    a: Side, b: Side, blocks: str | None, known: dict[Any, dict[str, Estimate]], read: dict[Path, pa.Table]
) -> Pair:
    """Differences of two models over the rows that all their records have.

    Args:
        known: estimates that were made before, by record and rows. read: predictions, by folder. Both are filled.
    """
    records = [*a.records, *b.records]
    for own in records:
        if own.folder not in read:
            read[own.folder] = own.predictions()
    tables = [read[own.folder] for own in records]
    keys = row_keys(a.first.content)
    names = [row_names(table, keys) for table in tables]
    common = names[0][np.logical_and.reduce([np.isin(names[0], other) for other in names[1:]])]
    if not len(common):
        raise InputError(f"{a.first.folder} and {b.first.folder} have no row in common")
    rows = [table.take(places_of(own, common)) for table, own in zip(tables, names, strict=True)]
    for record, table in zip(records[1:], rows[1:], strict=True):
        check_same_rows(rows[0], table, keys, described_by(a.first) & described_by(record))
    choices = {blocks or blocks_named(own.content) for own in records}
    differing = f"no interval: the records have other blocks ({' and '.join(sorted(choices))})"
    found = []
    for record, table in zip(records, rows, strict=True):
        own_blocks = blocks or blocks_named(record.content)
        key = (record.folder, own_blocks, len(common), hash(common.tobytes()))
        if key not in known:
            known[key] = estimates_of(table, {**record.content, "blocks": own_blocks})
        found.append(known[key])
    one, two = means_of(found[: len(a.records)]), means_of(found[len(a.records) :])
    metrics, undefined = {}, {}
    for name in [*one, *(name for name in two if name not in one)]:
        if why := not_comparable(name, one, two):
            undefined[name] = why
        elif len(choices) > 1:
            value = one[name].value - two[name].value
            metrics[name] = Difference(
                value, None, None, None, len(common), differing, one[name].value, two[name].value
            )
        else:
            metrics[name] = difference_of(name, one[name], two[name])
    return Pair(a, b, metrics, undefined, len(common), len(names[0]) - len(common), len(names[-1]) - len(common))


def places_of(names: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(m,) at which of (n,) different names each of (m,) is that is among them."""
    order = np.argsort(names)
    return np.asarray(order[np.searchsorted(names[order], wanted)])


def not_comparable(name: str, one: Mapping[str, Estimate], two: Mapping[str, Estimate]) -> str:
    """Why a metric has no difference; "" where it has one."""
    if name.endswith("_p"):
        return "not compared: a p-value"
    for side, own, other in (("a", one, two), ("b", two, one)):
        if name not in own:
            return f"not compared: only {'b' if side == 'a' else 'a'} has it"
        if not math.isfinite(own[name].value):
            both = " and b" if side == "a" and not math.isfinite(other[name].value) else ""
            return f"not compared: of {side}{both} {own[name].why}"
    return ""


def difference_of(name: str, one: Estimate, two: Estimate) -> Difference:
    """One less two, with its interval and test."""
    apart = estimates.difference(one, two)
    low, high, method = estimates.interval(apart)
    if low is not None and high is not None:  # no further than the scale is wide: a share can fall from 1 to 0
        width = one.scale.highest - one.scale.lowest
        low, high = max(low, -width), min(high, width)
    error, df = estimates.standard_error(apart), estimates.degrees_of_freedom(apart)
    p = detectable = None
    if apart.blocks is not None and apart.without is not None:
        sums = block_sums(name, one, two)
        if apart.value == 0 and not apart.without.any() and not apart.drawn:
            p, method = 1.0, "no interval: the same in every block"
        elif sums is not None:
            p = float(significance.flipped(sums[None], two_sided=True)[0])
            method += f"; p by turning the signs of {len(sums):,} blocks"
        elif math.isfinite(t := estimates.p_value(apart)):
            p, method = t, method + "; p of the same t"
        if error > 0:
            detectable = float(stats.t.ppf(1 - SIGNIFICANCE / 2, df) + stats.t.ppf(POWER, df)) * error
    return Difference(apart.value, low, high, p, apart.n, method, one.value, two.value, detectable)


def block_sums(name: str, one: Estimate, two: Estimate) -> np.ndarray | None:
    """(k,) sums over blocks of what two metrics that are means over the same rows differ by; None of other metrics.

    Without block b of n_b rows the mean of n is (n x mean - its sum) / (n - n_b).
    """
    if not name.startswith(MEANS) or one.blocks is None or two.blocks is None or one.draws > 1 or two.draws > 1:
        return None
    same = one.n == two.n and len(one.blocks) == len(two.blocks) and (one.blocks.code == two.blocks.code).all()
    if not same or one.without is None or two.without is None:
        return None
    sizes, n = one.blocks.sizes, len(one.blocks.code)
    sums = n * (one.value - two.value) - (n - sizes) * (one.without - two.without)
    groups = np.random.default_rng(0).permutation(len(sums)) % min(len(sums), significance.MOST_TURNED)
    return np.bincount(groups, weights=sums)


def corrected(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Pairs whose p-values are corrected: for all pairs of a metric, task and setting, and for all of the table."""
    tested = [
        (number, name) for number, pair in enumerate(pairs) for name, own in pair.metrics.items() if own.p is not None
    ]
    if not tested:
        return tuple(pairs)
    p = np.array([pairs[number].metrics[name].p for number, name in tested], dtype=float)
    bh = significance.benjamini_hochberg(p)
    holm = np.empty(len(p))
    families = [(pairs[number].a.first.task, pairs[number].a.first.setting, name) for number, name in tested]
    for family in set(families):
        own = np.array([place for place, other in enumerate(families) if other == family])
        holm[own] = significance.holm(p[own])
    changed: list[dict[str, Difference]] = [dict(pair.metrics) for pair in pairs]
    for (number, name), by_bh, by_holm in zip(tested, bh.tolist(), holm.tolist(), strict=True):
        changed[number][name] = replace(changed[number][name], p_bh=by_bh, p_holm=by_holm)
    return tuple(replace(pair, metrics=own) for pair, own in zip(pairs, changed, strict=True))


def described_by(record: Record) -> set[str]:
    """Columns of a record's predictions that say what a row is, and nothing of the model."""
    columns = TASKS.named(record.task).settings[record.setting].columns if record.kind == "task" else OF_ROWS
    return {name for name in columns if name not in SCORES and not name.startswith(BY_NUMBER)}


def check_same_rows(one: pa.Table, two: pa.Table, keys: Sequence[str], columns: Iterable[str]) -> None:
    """Raise InputError naming a row whose place, label or effect is not the same in both tables."""
    for name in sorted(columns):
        if name not in one.column_names or name not in two.column_names or one[name].equals(two[name]):
            continue
        for row, (x, y) in enumerate(zip(one[name].to_pylist(), two[name].to_pylist(), strict=True)):
            if x != y and not (x != x and y != y):  # NaN is other than NaN
                key = ", ".join(f"{key} {one[key][row]}" for key in keys)
                raise InputError(f"the records differ in {name} of {key}: {x} and {y}")
