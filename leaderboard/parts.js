// What every view is made of: names in words, numbers, elements. Text goes in as text nodes only.
"use strict";

const METRIC_WORDS = { auroc: "AUROC", auprc: "AUPRC", mcc: "MCC", pearson: "Pearson's r", spearman: "Spearman's rho", brier: "Brier score" };
const SETTING_WORDS = {
  zero_shot_likelihood: "zero-shot, by likelihood",
  zero_shot_embedding: "zero-shot, by embedding",
  ab_initio: "trained from scratch",
  probed: "probed: a head on frozen embeddings",
  finetuned: "fine-tuned",
  clustering: "clusters of embeddings",
};
const PLOT = "read off a plot";

const words = (name) => name.replaceAll("_", " ");
const taskWords = (task) => window.TITLES?.[task] ?? words(task);
const settingWords = (setting) => (Object.hasOwn(SETTING_WORDS, setting) ? SETTING_WORDS[setting] : words(setting));
const distinct = (values) => [...new Set(values)];
const isRun = (row) => row.source === "run";

function metricWords(name) {
  const [first, ...rest] = name.split("_");
  const known = Object.hasOwn(METRIC_WORDS, first) ? METRIC_WORDS[first] : first;
  return rest.length ? `${known}${known === first ? " " : ", "}${rest.join(" ")}` : known;
}

// Runs and published figures never share a table, whatever a run's data are called.
const boardOf = (row) => JSON.stringify([row.task, row.setting, row.data, isRun(row)]);
const kindWords = (row) => (isRun(row) ? "runs with a record" : "published figures");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
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

// Only addresses within this Space, and https ones, become links; a model's only to the Hub.
const linkable = (link) => typeof link === "string" && /^(https:\/\/|records\/[\w./-]+$)/.test(link) && !link.includes("..");
const hubAddress = (row) => (/^https:\/\/huggingface\.co\/[\w.-]+\/[\w.-]+(\/tree\/[0-9a-f]{40})?$/.test(row.hub ?? "") ? row.hub : null);

function modelName(row) {
  const address = hubAddress(row);
  return address === null ? document.createTextNode(row.model) : element("a", { href: address, rel: "noopener" }, row.model);
}

function tag(row) {
  if (row.control) return element("span", { class: "tag" }, `control: ${row.control}`);
  return row.baseline ? element("span", { class: "tag" }, "baseline") : null;
}

// A table that scrolls by itself, which the keyboard reaches.
function scrolled(table, label) {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
}

// Comma-separated, quoted where needed. A text that a spreadsheet would take for a formula is given an apostrophe.
function csv(rows) {
  const names = distinct(rows.flatMap((row) => Object.keys(row)));
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

// A value of a row as a line of the CSV.
function csvLine(row, name) {
  const metric = row.metrics[name];
  return {
    task: row.task, setting: row.setting, data: row.data, kind: kindWords(row), model: row.model, revision: row.revision,
    control: row.control, baseline: Boolean(row.baseline), parameters: row.parameters, window: row.context, protocol: row.protocol,
    recipe: row.recipe, metric: name, value: metric.value, low: metric.low, high: metric.high, n: metric.n, method: metric.method,
    source: row.source, where: row.where, link: row.link, date: row.date,
  };
}
