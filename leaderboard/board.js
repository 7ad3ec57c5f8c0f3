// The boards: window.ROWS (data.js; window.TITLES are what its tasks are called, window.CONTROLS what controls each setting should have) by task and setting, then by data, never averaged. Text goes in as text nodes only.
"use strict";

const NAMES = window.TITLES ?? {};
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
const FILTERS = ["task", "setting", "metric", "model", "protocol", "source", "parameters", "context"];

const control = Object.fromEntries([...FILTERS, "baselines"].map((id) => [id, document.getElementById(id)]));
let order = { id: "value", descending: true };

const metricOf = (row) => row.metrics[control.metric.value];
const words = (name) => name.replaceAll("_", " ");
const distinct = (values) => [...new Set(values)];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function choices(select, values, label, wanted) {
  const before = wanted ?? select.value;
  select.replaceChildren(...values.map((value) => element("option", { value }, label(value))));
  if (values.includes(before)) select.value = before;
}

const shown = (value) => (Math.abs(value) > 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toFixed(3));
const count = (value) => value.toLocaleString("en");

function size(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} B` : value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : count(value);
}

// Only addresses within this Space, and https ones, become links.
const linkable = (link) => typeof link === "string" && /^(https:\/\/|records\/[\w./-]+$)/.test(link) && !link.includes("..");

// What is said of an interval when the pointer rests on it: how it was made, and what it would be of independent rows.
function about(metric) {
  const ends = (own) => (own.low === null ? "none" : `${shown(own.low)} to ${shown(own.high)}`);
  const naive = metric.iid ? `, if rows were independent of one another: ${ends(metric.iid)} (${metric.iid.method})` : "";
  return metric.method ? `${metric.range ?? "95 % interval"} ${ends(metric)} (${metric.method})${naive}` : "";
}

// A value with its interval on the scale [low, high] of its board.
function interval(metric, [low, high]) {
  const at = (value) => 4 + (192 * (value - low)) / (high - low || 1);
  const picture = drawing("svg", { viewBox: "0 0 200 20", preserveAspectRatio: "none", role: "img" });
  const words = metric.low === null ? "no interval" : `${metric.range ?? "95 % interval"} ${shown(metric.low)} to ${shown(metric.high)}`;
  picture.setAttribute("aria-label", `${shown(metric.value)}, ${words}`);
  picture.append(drawing("line", { class: "axis", x1: 4, x2: 196, y1: 10, y2: 10 }));
  if (metric.low !== null) {
    picture.append(drawing("line", { class: "range", x1: at(metric.low), x2: at(metric.high), y1: 10, y2: 10 }));
  }
  picture.append(drawing("rect", { class: "value", x: at(metric.value) - 1.5, y: 3, width: 3, height: 14 }));
  return picture;
}

// How many of the rows the model has read before; of published figures nobody says it.
function seen(row) {
  if (row.control === PERMUTED) return null;
  return element("span", { class: "small" }, row.pretraining ?? "pretraining unknown");
}

function tableRow(row, scale) {
  const metric = metricOf(row);
  const name = element("td", { class: "model" }, row.model);
  if (row.control) name.append(element("span", { class: "tag" }, `control: ${row.control}`));
  else if (row.baseline) name.append(element("span", { class: "tag" }, "baseline"));
  const more = [row.recipe, row.revision && `revision ${row.revision}`, row.note].filter(Boolean).join(", ");
  if (more) name.append(element("span", { class: "small" }, more));
  const text = metric.low === null ? "" : `${shown(metric.low)} to ${shown(metric.high)}`;
  const source = element("td", { "data-label": "Source" });
  if (linkable(row.link)) source.append(element("a", { href: row.link, rel: "noopener" }, row.source === "run" ? "record" : row.source));
  else source.append(row.source);
  source.append(element("span", { class: "small" }, row.where ?? row.date));
  return element(
    "tr",
    row.control ? { class: "control" } : row.baseline ? { class: "baseline" } : {},
    name,
    element("td", { class: "interval", title: about(metric) }, interval(metric, scale), element("span", { class: "small" }, `${shown(metric.value)}${text && `  [${text}]`}`)),
    element("td", { class: "number", "data-label": "Parameters" }, size(row.parameters)),
    element("td", { class: "number", "data-label": "Window" }, row.context === null ? "–" : `${count(row.context)} bp`),
    element("td", { "data-label": "Protocol" }, row.protocol),
    element("td", { class: "number", "data-label": "n" }, metric.n === null ? "–" : count(metric.n), seen(row)),
    source,
  );
}

// The control that needs no run: the metric with labels permuted, mean, least and most over the records of a board.
function permuted(rows) {
  const found = rows.map((row) => row.permuted?.[control.metric.value]).filter((own) => own !== undefined);
  if (!found.length) return [];
  const value = found.reduce((sum, own) => sum + own.value, 0) / found.length;
  const metric = {
    value,
    low: found.reduce((least, own) => Math.min(least, own.low), Infinity),
    high: found.reduce((most, own) => Math.max(most, own.high), -Infinity),
    n: null,
    range: "least and most of permutations",
    method: "outcomes of other rows, from the predictions only",
  };
  const note = `mean over ${count(found.length)} records; least to most over permutations`;
  const about = { model: PERMUTED, control: PERMUTED, note, parameters: null, context: null, protocol: "", source: "", date: "" };
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
function compare(first, second) {
  const { of } = COLUMNS.find((column) => column.id === order.id);
  const [a, b] = [of(first) ?? null, of(second) ?? null];
  if (a === null || b === null) return (a === null) - (b === null);
  const sign = a < b ? -1 : a > b ? 1 : 0;
  return order.descending ? -sign : sign;
}

function board(data, accepted) {
  const computed = control.baselines.checked ? [...permuted(accepted), ...tokenCounts(accepted)] : [];
  const rows = [...computed, ...accepted];
  const ends = rows.flatMap((row) => [metricOf(row).low ?? metricOf(row).value, metricOf(row).high ?? metricOf(row).value]);
  const scale = [ends.reduce((a, b) => Math.min(a, b)), ends.reduce((a, b) => Math.max(a, b))];
  const heads = COLUMNS.map(({ id, label }) => {
    const button = element("button", { type: "button", "data-column": id }, label);
    const sorted = id === order.id ? (order.descending ? "descending" : "ascending") : "none";
    return element("th", { scope: "col", "aria-sort": sorted }, button);
  });
  const sorted = [...rows].sort(compare);
  // Controls first: what a model's value is to be read beside.
  const parts = [sorted.filter((row) => row.control), sorted.filter((row) => !row.control)].filter((part) => part.length);
  const bodies = parts.map((part) => element("tbody", {}, ...part.map((row) => tableRow(row, scale))));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), ...bodies);
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Results on ${data}` }, table);
  const lacking = missing([...permuted(everyRow(data)), ...everyRow(data)]);
  const note = lacking ? element("p", { class: "small lacking" }, lacking) : null;
  return element("section", { "data-board": data }, element("h2", {}, data), note, scroll);
}

// All rows of a board, those that a filter hides too.
const everyRow = (data) =>
  window.ROWS.filter((row) => row.data === data && row.task === control.task.value && row.setting === control.setting.value);

function accepted(row) {
  const most = control.parameters.value;
  const least = control.context.value;
  return (
    row.task === control.task.value &&
    row.setting === control.setting.value &&
    metricOf(row) !== undefined &&
    row.model.toLowerCase().includes(control.model.value.trim().toLowerCase()) &&
    (!control.protocol.value || row.protocol === control.protocol.value) &&
    (!control.source.value || row.source === control.source.value) &&
    (!most || (row.parameters !== null && row.parameters <= Number(most))) &&
    (!least || (row.context !== null && row.context >= Number(least))) &&
    (control.baselines.checked || !row.baseline)
  );
}

function draw() {
  const rows = window.ROWS.filter(accepted);
  const boards = distinct(rows.map((row) => row.data)).map((data) => board(data, rows.filter((row) => row.data === data)));
  document.getElementById("boards").replaceChildren(...boards);
  document.getElementById("count").textContent = `${count(rows.length)} of ${count(window.ROWS.length)} results`;
  location.replace(`#${new URLSearchParams(FILTERS.map((id) => [id, control[id].value]).filter(([, value]) => value))}`);
}

// Settings and metrics are those of the task and setting chosen.
function offer(wanted = {}) {
  choices(control.task, distinct(window.ROWS.map((row) => row.task)).sort((a, b) => (NAMES[a] ?? a).localeCompare(NAMES[b] ?? b)), (task) => NAMES[task] ?? words(task), wanted.task);
  const ofTask = window.ROWS.filter((row) => row.task === control.task.value);
  choices(control.setting, distinct(ofTask.map((row) => row.setting)), words, wanted.setting);
  const here = ofTask.filter((row) => row.setting === control.setting.value);
  const metrics = distinct(here.flatMap((row) => Object.keys(row.metrics)));
  const fitting = wanted.metric ?? (metrics.includes(control.metric.value) ? control.metric.value : here[0]?.headline);
  choices(control.metric, metrics, words, fitting);
  order.descending = here.map((row) => metricOf(row)?.higher_is_better).find((better) => better !== undefined) !== false;
}

function start() {
  const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  choices(control.source, ["", ...distinct(window.ROWS.map((row) => row.source))], (source) => source || "all", "");
  offer(wanted);
  for (const id of FILTERS) if (id in wanted && !["task", "setting", "metric"].includes(id)) control[id].value = wanted[id];
  for (const id of ["task", "setting", "metric"]) {
    control[id].addEventListener("change", () => {
      order = { id: "value", descending: true };
      if (id === "task") control.metric.value = "";
      offer();
      draw();
    });
  }
  for (const id of ["model", "protocol", "source", "parameters", "context", "baselines"]) control[id].addEventListener("input", draw);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("boards").addEventListener("click", (event) => {
    const id = event.target.dataset?.column;
    if (id === undefined) return;
    const data = event.target.closest("section").dataset.board;
    order = { id, descending: order.id === id ? !order.descending : id === "value" || id === "n" };
    draw();
    // The tables are new: the keyboard stays on the button that was pressed.
    const again = [...document.querySelectorAll("section")].find((section) => section.dataset.board === data);
    again?.querySelector(`button[data-column="${id}"]`)?.focus();
  });
  draw();
}

start();
