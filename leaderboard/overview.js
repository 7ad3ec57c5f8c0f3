// The overview: all tasks by model, each board by its headline metric, runs and published figures apart.
"use strict";

const sideOf = (row) => JSON.stringify([row.model, row.protocol]);
const chanceHere = new Map();

// Chance of a board, from all its rows, those that a filter hides too.
function boardChance(row) {
  const key = `${boardOf(row)} ${row.headline}`;
  if (!chanceHere.has(key)) chanceHere.set(key, chanceOf(row.headline, window.ROWS.filter((other) => boardOf(other) === boardOf(row))));
  return chanceHere.get(key);
}

function addressOf(row) {
  return addressWith({ view: "", task: row.task, setting: row.setting, metric: row.headline });
}

function overviewValue(row) {
  const metric = row.metrics[row.headline];
  const chance = boardChance(row);
  const within = metric.low !== null && chance !== null && metric.low <= chance && chance <= metric.high;
  const notes = [
    metric.low === null ? "no interval" : `${shown(metric.low)} to ${shown(metric.high)}`,
    within && "chance within",
    row.source === PLOT && PLOT,
    row.recipe,
  ].filter(Boolean);
  const text = `${row.source === PLOT ? "about " : ""}${shown(metric.value)}`;
  const value = linkable(row.link) ? element("a", { href: row.link, rel: "noopener", title: row.where ?? "record" }, text) : text;
  return element("div", {}, value, element("span", { class: "small" }, notes.join("; ")));
}

function overviewHeads(columns) {
  const tasks = distinct(columns.map((row) => row.task));
  const above = tasks.map((task) => element("th", { scope: "colgroup", colspan: columns.filter((row) => row.task === task).length }, taskWords(task)));
  const each = columns.map((row) => {
    const link = element("a", { href: addressOf(row) }, settingWords(row.setting));
    return element("th", { scope: "col" }, link, element("span", { class: "small" }, row.data), element("span", { class: "small" }, metricWords(row.headline)));
  });
  return element("thead", {}, element("tr", {}, element("td"), ...above), element("tr", {}, element("th", { scope: "col" }, "Model"), ...each));
}

function overviewTable(rows) {
  const columns = distinct(rows.map(boardOf)).map((key) => rows.find((row) => boardOf(row) === key));
  columns.sort((a, b) => taskWords(a.task).localeCompare(taskWords(b.task)) || a.setting.localeCompare(b.setting) || a.data.localeCompare(b.data));
  const sides = distinct(rows.map(sideOf)).map((key) => rows.filter((row) => sideOf(row) === key));
  const rank = (row) => (row.control ? 0 : row.baseline ? 1 : 2);
  sides.sort(([a], [b]) => rank(a) - rank(b) || a.model.localeCompare(b.model));
  const body = sides.map((own) => {
    const cells = columns.map((column) => {
      const here = own.filter((row) => boardOf(row) === boardOf(column));
      return element("td", {}, ...(here.length ? here.map(overviewValue) : ["–"]));
    });
    const name = element("th", { scope: "row", class: "model" }, modelName(own[0]), tag(own[0]), element("span", { class: "small" }, `protocol: ${own[0].protocol}`));
    return element("tr", own[0].control ? { class: "control" } : {}, name, ...cells);
  });
  const table = element("table", { class: "overview" }, overviewHeads(columns), element("tbody", {}, ...body));
  const kind = kindWords(rows[0]);
  const title = kind[0].toUpperCase() + kind.slice(1);
  return element("section", { "data-kind": kind }, element("h2", {}, title), scrolled(table, `All tasks by model: ${kind}`));
}

function overview() {
  const rows = window.ROWS.filter((row) => accepted(row) && row.metrics[row.headline] !== undefined);
  const parts = [rows.filter((row) => !isRun(row)), rows.filter(isRun)].filter((own) => own.length).map(overviewTable);
  return { parts, lines: rows.map((row) => csvLine(row, row.headline)), said: `${count(rows.length)} of ${count(window.ROWS.length)} results, by the headline metric of each board` };
}
