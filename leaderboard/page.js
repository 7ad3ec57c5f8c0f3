// What is shown, which the address says whole: the view, every choice, and the order.
"use strict";

const CHOICES = ["task", "setting", "metric", "model", "protocol", "source", "parameters", "context", "first", "second"];
const CHECKS = { baselines: true, plots: false };
// Which choices a view has, besides the buttons.
const VIEWS = {
  "": { draw: boards, has: ["task", "setting", "metric", "model", "protocol", "source", "parameters", "context", "baselines", "plots"] },
  overview: { draw: overview, has: ["model", "protocol", "source", "parameters", "context", "baselines", "plots"] },
  compare: { draw: comparison, has: ["first", "second", "metric", "plots"] },
};
const DEFAULT_ORDER = { id: "value", descending: true };
const control = Object.fromEntries([...CHOICES, ...Object.keys(CHECKS)].map((id) => [id, document.getElementById(id)]));
let view = "";
let order = { ...DEFAULT_ORDER };
let lines = [];

// What the choices common to boards and overview let through.
function accepted(row) {
  const most = control.parameters.value;
  const least = control.context.value;
  return (
    row.model.toLowerCase().includes(control.model.value.trim().toLowerCase()) &&
    (!control.protocol.value || row.protocol === control.protocol.value) &&
    (!control.source.value || row.source === control.source.value) &&
    (control.plots.checked || row.source !== PLOT) &&
    (!most || (row.parameters !== null && row.parameters <= Number(most))) &&
    (!least || (row.context !== null && row.context >= Number(least))) &&
    (control.baselines.checked || !row.baseline)
  );
}

// The address of what is shown, or of what would be with some choices changed.
function addressWith(changes = {}) {
  const state = { view, ...Object.fromEntries(VIEWS[changes.view ?? view].has.map((id) => [id, id in CHECKS ? String(control[id].checked) : control[id].value])) };
  for (const [id, usual] of Object.entries(CHECKS)) if (state[id] === String(usual)) delete state[id];
  if (!(changes.view ?? view) && order.chosen) Object.assign(state, { sort: order.id, order: order.descending ? "descending" : "ascending" });
  const said = Object.entries({ ...state, ...changes }).filter(([, value]) => value);
  return `#${new URLSearchParams(said)}`;
}

function draw() {
  const { parts, lines: drawn, said } = VIEWS[view].draw();
  lines = drawn;
  document.getElementById("boards").replaceChildren(...parts);
  document.getElementById("count").textContent = said;
  for (const [id, own] of Object.entries(control)) own.closest("label").hidden = !VIEWS[view].has.includes(id);
  for (const link of document.querySelectorAll("#views a")) {
    const changes = { view: link.dataset.view };
    if (link.dataset.view !== view) for (const id of VIEWS[""].has.slice(0, 3)) if (VIEWS[link.dataset.view].has.includes(id)) changes[id] = "";
    link.href = addressWith(changes);
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  history.replaceState(null, "", addressWith());
}

// Settings and metrics are those of the task and setting chosen; of two models, those that either has.
function offer(wanted = {}) {
  choices(control.task, distinct(window.ROWS.map((row) => row.task)).sort((a, b) => taskWords(a).localeCompare(taskWords(b))), taskWords, wanted.task);
  const ofTask = window.ROWS.filter((row) => row.task === control.task.value);
  choices(control.setting, distinct(ofTask.map((row) => row.setting)), settingWords, wanted.setting);
  const here = ofTask.filter((row) => row.setting === control.setting.value);
  const both = window.ROWS.filter((row) => [control.first.value, control.second.value].includes(row.model));
  const metrics = distinct((view === "compare" ? both : here).flatMap((row) => Object.keys(row.metrics)));
  const offered = view === "compare" ? [HEADLINE, ...metrics] : metrics;
  const usual = view === "compare" ? HEADLINE : here[0]?.headline;
  const label = (name) => (name === HEADLINE ? "headline of each board" : metricWords(name));
  choices(control.metric, offered, label, [wanted.metric, control.metric.value].find((name) => offered.includes(name)) ?? usual);
  if (!view && !order.chosen) order.descending = here.map((row) => metricOf(row)?.higher_is_better).find((better) => better !== undefined) !== false;
}

function offerModels(wanted) {
  const named = distinct(window.ROWS.map((row) => row.model)).sort((a, b) => a.localeCompare(b));
  const [first, second] = usualPair();
  choices(control.first, named, String, named.includes(wanted.first) ? wanted.first : first);
  choices(control.second, named, String, named.includes(wanted.second) ? wanted.second : second);
}

// A model beside a baseline, paired if any such pair is.
function usualPair() {
  const rows = new Map(window.ROWS.map((row) => [recordOf(row), row]));
  const pairs = (window.DIFFERENCES ?? []).map((own) => [rows.get(own.first), rows.get(own.second)]).filter((pair) => pair.every(Boolean));
  const proper = pairs.map(([a, b]) => (a.baseline ? [b, a] : [a, b])).find(([a, b]) => !a.baseline && b.baseline);
  return proper ? proper.map((row) => row.model) : distinct(window.ROWS.map((row) => row.model)).slice(0, 2);
}

// The address to the controls: whatever it does not say is as usual.
function read() {
  const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  view = Object.hasOwn(VIEWS, wanted.view ?? "") ? (wanted.view ?? "") : "";
  const sorted = COLUMNS.some(({ id }) => id === wanted.sort);
  order = sorted ? { id: wanted.sort, descending: wanted.order !== "ascending", chosen: true } : { ...DEFAULT_ORDER };
  for (const id of ["model", "protocol", "source", "parameters", "context"]) {
    control[id].value = wanted[id] ?? "";
    if (control[id].selectedIndex === -1) control[id].value = ""; // an address may say what is not offered
  }
  for (const [id, usual] of Object.entries(CHECKS)) control[id].checked = id in wanted ? wanted[id] === "true" : usual;
  offerModels(wanted);
  control.metric.value = "";
  offer(wanted);
  draw();
}

function sortBy(button) {
  const id = button.dataset.column;
  const key = button.closest("section").dataset.key;
  order = { id, descending: order.id === id ? !order.descending : id === "value" || id === "n", chosen: true };
  draw();
  // The tables are new: the keyboard stays on the button that was pressed.
  const again = [...document.querySelectorAll("section")].find((section) => section.dataset.key === key);
  again?.querySelector(`button[data-column="${id}"]`)?.focus();
}

function download() {
  const address = URL.createObjectURL(new Blob([csv(lines)], { type: "text/csv" }));
  element("a", { href: address, download: `dart-eval-${view || "boards"}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function start() {
  choices(control.source, ["", ...distinct(window.ROWS.map((row) => row.source))], (source) => source || "all", "");
  for (const id of ["task", "setting", "metric", "first", "second"]) {
    control[id].addEventListener("change", () => {
      order = { ...DEFAULT_ORDER };
      if (id === "task") control.metric.value = "";
      offer();
      draw();
    });
  }
  for (const id of ["model", "protocol", "source", "parameters", "context", "baselines", "plots"]) control[id].addEventListener("input", draw);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("csv").addEventListener("click", download);
  document.getElementById("boards").addEventListener("click", (event) => {
    if (event.target.dataset?.column !== undefined) sortBy(event.target);
  });
  window.addEventListener("hashchange", read);
  read();
}

start();
