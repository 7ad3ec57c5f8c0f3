// The boards: rows of one task and setting, a table for each data set, runs and published figures apart, never averaged.
"use strict";

const COLUMNS = [
  { id: "model", label: "Model", of: (row) => row.model.toLowerCase() },
  { id: "value", label: "Value", of: (row) => metricOf(row)?.value },
  { id: "parameters", label: "Parameters", of: (row) => row.parameters },
  { id: "context", label: "Window", of: (row) => row.context },
  { id: "protocol", label: "Protocol", of: (row) => row.protocol },
  { id: "n", label: "n", of: (row) => metricOf(row)?.n },
  { id: "source", label: "Source", of: (row) => row.source },
];
const PERMUTED = "labels permuted";

const metricOf = (row) => row.metrics[control.metric.value];

// What is said of an interval when the pointer rests on it: how it was made, and what it would be of independent rows.
function about(metric) {
  const range = (own) => (own.low === null ? "none" : `${shown(own.low)} to ${shown(own.high)}`);
  const naive = metric.iid ? `, if rows were independent of one another: ${range(metric.iid)} (${metric.iid.method})` : "";
  return metric.method ? `${metric.range ?? "95 % interval"} ${range(metric)} (${metric.method})${naive}` : "";
}

// How many of the rows the model has read before; of published figures nobody says it.
function seen(row) {
  if (row.control === PERMUTED) return null;
  return element("span", { class: "small" }, row.pretraining ?? "pretraining unknown");
}

function nameCell(row) {
  const name = element("th", { class: "model", scope: "row" }, modelName(row), tag(row));
  if (row.source === PLOT) name.append(element("span", { class: "tag" }, PLOT));
  const more = [row.recipe, row.revision && `revision ${row.revision}`, row.note].filter(Boolean).join(", ");
  if (more) name.append(element("span", { class: "small" }, more));
  return name;
}

function sourceCell(row) {
  const source = element("td", { "data-label": "Source" });
  if (linkable(row.link)) source.append(element("a", { href: row.link, rel: "noopener" }, isRun(row) ? "record" : row.source));
  else source.append(row.source);
  source.append(element("span", { class: "small" }, row.where ?? row.date));
  return source;
}

function valueText(row, metric) {
  return `${row.source === PLOT ? "about " : ""}${shown(metric.value)}  ${metric.low === null ? "no interval" : `[${shown(metric.low)} to ${shown(metric.high)}]`}`;
}

function tableRow(row, scale, line) {
  const metric = metricOf(row);
  const picture = interval(metric, scale, line, row.source === PLOT);
  return element(
    "tr",
    row.control ? { class: "control" } : row.baseline ? { class: "baseline" } : {},
    nameCell(row),
    element("td", { class: "interval", title: about(metric) }, picture, element("span", { class: "small" }, valueText(row, metric))),
    element("td", { class: "number", "data-label": "Parameters" }, size(row.parameters)),
    element("td", { class: "number", "data-label": "Window" }, row.context === null ? "–" : `${count(row.context)} bp`),
    element("td", { "data-label": "Protocol" }, row.protocol),
    element("td", { class: "number", "data-label": "n" }, metric.n === null ? "–" : count(metric.n), seen(row)),
    sourceCell(row),
  );
}

// The control that needs no run: the metric with labels permuted, mean, least and most over the records of a board.
function permuted(rows) {
  const found = rows.map((row) => row.permuted?.[control.metric.value]).filter((own) => own !== undefined);
  if (!found.length) return [];
  const metric = {
    value: found.reduce((sum, own) => sum + own.value, 0) / found.length,
    low: found.reduce((least, own) => Math.min(least, own.low), Infinity),
    high: found.reduce((most, own) => Math.max(most, own.high), -Infinity),
    n: null,
    range: "least and most of permutations",
    method: "outcomes of other rows, from the predictions only",
  };
  const note = `mean over ${count(found.length)} records; least to most over permutations`;
  const { task, setting, data } = rows[0];
  const about = { task, setting, data, model: PERMUTED, control: PERMUTED, note, parameters: null, context: null, protocol: "", source: "", date: "" };
  return [{ ...about, metrics: { [control.metric.value]: metric } }];
}

// What numbers of tokens only say, where a model's tokens are of several lengths: of each model its own.
function tokenCounts(rows) {
  if (control.metric.value !== "accuracy") return [];
  return rows
    .filter((row) => row.metrics.accuracy_of_fewer_tokens)
    .map((row) => ({ ...row, control: "fewer tokens", baseline: true, metrics: { accuracy: row.metrics.accuracy_of_fewer_tokens } }));
}

// The controls that a board of this task and setting should have, and has not.
function missing(rows) {
  const expected = window.CONTROLS?.[control.task.value]?.[control.setting.value] ?? [];
  const there = new Set(rows.map((row) => row.control));
  const absent = expected.filter((kind) => !there.has(kind));
  return absent.length ? `No control: ${absent.join("; ")}.` : "";
}

// Rows without a value of the column stay last, whichever way it is sorted.
function inOrder(first, second) {
  const { of } = COLUMNS.find((column) => column.id === order.id);
  const [a, b] = [of(first) ?? null, of(second) ?? null];
  if (a === null || b === null) return (a === null) - (b === null);
  const sign = a < b ? -1 : a > b ? 1 : 0;
  return order.descending ? -sign : sign;
}

function columnHead({ id, label }) {
  const button = element("button", { type: "button", "data-column": id }, id === "value" ? metricWords(control.metric.value) : label);
  const sorted = id === order.id ? (order.descending ? "descending" : "ascending") : "none";
  return element("th", { scope: "col", "aria-sort": sorted }, button);
}

function board(accepted) {
  const all = window.ROWS.filter((row) => boardOf(row) === boardOf(accepted[0])); // those that a filter hides too
  const computed = control.baselines.checked ? [...permuted(accepted), ...tokenCounts(accepted)] : [];
  const scale = scaleOf(control.metric.value);
  const line = chanceOf(control.metric.value, all);
  const sorted = [...computed, ...accepted].sort(inOrder);
  // Controls first: what a model's value is to be read beside.
  const parts = [sorted.filter((row) => row.control), sorted.filter((row) => !row.control)].filter((part) => part.length);
  const bodies = parts.map((part) => element("tbody", {}, ...part.map((row) => tableRow(row, scale, line))));
  const heads = element("tr", {}, ...COLUMNS.map(columnHead));
  const table = element("table", {}, element("thead", {}, heads, scaleRow(scale, line, "chance", COLUMNS.length)), ...bodies);
  const { data } = accepted[0];
  const lacking = missing([...permuted(all), ...all]);
  const note = lacking ? element("p", { class: "small lacking" }, lacking) : null;
  const kind = element("p", { class: "small kind" }, isRun(accepted[0]) ? "Runs with a record" : "Published figures, copied");
  const about = { "data-board": data, "data-key": boardOf(accepted[0]) };
  return element("section", about, element("h2", {}, data), kind, note, scrolled(table, `Results on ${data}, ${kindWords(accepted[0])}`));
}

// All boards that are shown, and their values for the CSV.
function boards() {
  const rows = window.ROWS.filter((row) => accepted(row) && row.task === control.task.value && row.setting === control.setting.value && metricOf(row) !== undefined);
  const made = distinct(rows.map(boardOf)).map((key) => board(rows.filter((row) => boardOf(row) === key)));
  return { parts: made, lines: rows.map((row) => csvLine(row, control.metric.value)), said: `${count(rows.length)} of ${count(window.ROWS.length)} results` };
}
