// Two models compared: their values on every board that both are on, and the paired difference where the records' rows
// were paired when they came here (window.DIFFERENCES: first and second record, metrics).
"use strict";

const HEADLINE = "headline";
const recordOf = (row) => (isRun(row) ? /^records\/(\w+)\//.exec(row.link ?? "")?.[1] : undefined);

// The differences of two records, whichever of them the data have first; undefined where their rows were not paired.
function pairOf(first, second) {
  const [a, b] = [recordOf(first), recordOf(second)];
  if (a === undefined || b === undefined) return undefined;
  return (window.DIFFERENCES ?? []).find((own) => (own.first === a && own.second === b) || (own.first === b && own.second === a));
}

// First less second; null where their rows were not paired.
function pairedDifference(first, second, name) {
  const found = pairOf(first, second);
  const own = found?.metrics[name];
  if (own === undefined) return null;
  if (found.first === recordOf(first)) return own;
  const turned = (end) => (own[end] === null ? null : -own[end]);
  return { ...own, value: -own.value, low: turned("high"), high: turned("low") };
}

// Pairs of results on the same board and protocol; of the same recipe where there are such. Those that were paired come first.
function meetings() {
  const of = (model) => window.ROWS.filter((row) => row.model === model && (control.plots.checked || row.source !== PLOT));
  const seconds = of(control.second.value);
  const found = of(control.first.value).flatMap((first) => {
    const name = control.metric.value === HEADLINE ? first.headline : control.metric.value;
    const beside = seconds.filter((row) => row !== first && boardOf(row) === boardOf(first) && row.protocol === first.protocol && row.metrics[name] !== undefined);
    const same = beside.filter((row) => row.recipe === first.recipe);
    return first.metrics[name] === undefined ? [] : (same.length ? same : beside).map((second) => ({ first, second, name, difference: pairedDifference(first, second, name) }));
  });
  return [...found.filter((own) => own.difference !== null), ...found.filter((own) => own.difference === null)];
}

// Why two results can be compared by their intervals only, or by less.
function whyNoDifference(first, second, name) {
  if (!isRun(first) || !isRun(second)) return "No paired difference, and no intervals: published values come without predictions, so nothing here says how sure the difference is.";
  const paired = pairOf(first, second) !== undefined;
  const why = paired ? `${metricWords(name)} has none` : "their predictions were not both there when these records came";
  return `No paired difference: ${why}. Compare the two by their intervals only, which can overlap although the models differ${paired ? "" : "; dart-eval compare pairs the rows of two folders of results"}.`;
}

function pairRow({ first, second, name, difference }, scale) {
  const own = (row, side) => element("td", { class: "number", "data-label": side }, valueText(row, row.metrics[name]), element("span", { class: "small" }, row.recipe));
  const cell = element("td", { class: "interval" });
  if (difference === null) {
    cell.append(element("span", { class: "small" }, whyNoDifference(first, second, name)));
  } else {
    const p = difference.p === null ? "" : `, p ${difference.p < 0.001 ? "< 0.001" : difference.p.toFixed(3)}`;
    cell.setAttribute("title", difference.method);
    cell.append(interval(difference, scale, 0), element("span", { class: "small" }, `${valueText(first, difference)}${p}, n ${count(difference.n)}${difference.low === null ? `; ${difference.method.replace(/^no interval: /, "")}` : ""}`));
  }
  const address = addressWith({ view: "", task: first.task, setting: first.setting, metric: name });
  const where = [taskWords(first.task), settingWords(first.setting)].join(", ");
  const head = element("th", { scope: "row", class: "model" }, element("a", { href: address }, where), element("span", { class: "small" }, `${first.data}; ${metricWords(name)}; protocol: ${first.protocol}; ${kindWords(first)}`));
  return element("tr", {}, head, cell, own(first, "First"), own(second, "Second"));
}

function comparison() {
  const found = meetings();
  const lines = found.map((own) => ({
    task: own.first.task, setting: own.first.setting, data: own.first.data, kind: kindWords(own.first), protocol: own.first.protocol, metric: own.name,
    first: own.first.model, second: own.second.model, first_recipe: own.first.recipe, second_recipe: own.second.recipe,
    first_value: own.first.metrics[own.name].value, second_value: own.second.metrics[own.name].value,
    difference: own.difference?.value, low: own.difference?.low, high: own.difference?.high, p: own.difference?.p,
    n: own.difference?.n, method: own.difference?.method,
  }));
  const paired = found.map((own) => own.difference).filter((own) => own !== null);
  const said = `${count(found.length)} pairs of results on the same board, ${count(paired.length)} of them with a paired difference`;
  if (!found.length) return { parts: [], lines, said };
  const scale = scaleOver([0, ...paired.flatMap(ends), ...(paired.length ? [] : [1])]);
  const labels = ["Board", "Difference, first less second", control.first.value, control.second.value];
  const heads = element("tr", {}, ...labels.map((label) => element("th", { scope: "col" }, label)));
  const table = element("table", { class: "pairs" }, element("thead", {}, heads, scaleRow(scale, 0, "no difference", labels.length)), element("tbody", {}, ...found.map((own) => pairRow(own, scale))));
  const words = paired.length
    ? "Intervals of the difference are 95 %, of rows that are paired, and allow for neighbouring rows being alike; p is not corrected for the number of comparisons."
    : "None of these has a paired difference; each says why.";
  const note = element("p", { class: "small" }, words);
  return { parts: [element("section", {}, element("h2", {}, `${control.first.value} and ${control.second.value}`), note, scrolled(table, "Two models compared"))], lines, said };
}
