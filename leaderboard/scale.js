// One scale for each metric, whatever is filtered: from the values and intervals of all rows, with chance in it.
"use strict";

const CHANCE = { auroc: 0.5, direction_accuracy: 0.5, pearson: 0, spearman: 0, mcc: 0, adjusted_mutual_information: 0 };
// Of an element and its own control, or a motif and its shuffle, the likelier is the right one by chance in one of two.
const PAIRED = new Set(["accuracy/regulatory_elements/zero_shot_likelihood", "accuracy/motif_footprinting/zero_shot_likelihood"]);
const MARGIN = 7; // per cent of the picture's width, either side
const scales = new Map();

// What a model that knows nothing gets: by the metric's definition, else the mean of permuted labels; null: not known.
function chanceOf(name, rows) {
  const known = Object.keys(CHANCE).find((metric) => name === metric || name.startsWith(`${metric}_`));
  if (known !== undefined) return CHANCE[known];
  if (rows.length && rows.every((row) => PAIRED.has(`${name}/${row.task}/${row.setting}`))) return 0.5;
  const found = rows.map((row) => row.permuted?.[name]?.value).filter((value) => value !== undefined);
  return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
}

// Round ends and ticks about some values.
function scaleOver(values) {
  let low = values.reduce((a, b) => Math.min(a, b), Infinity);
  let high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const least = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9));
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  return { low: first * step, high: last * step, ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

const ends = (own) => [own.value, own.low ?? own.value, own.high ?? own.value];

function scaleOf(name) {
  if (!scales.has(name)) {
    const rows = window.ROWS.filter((row) => row.metrics[name] !== undefined);
    const values = rows.flatMap((row) => [...ends(row.metrics[name]), ...(row.permuted?.[name] ? ends(row.permuted[name]) : [])]);
    const chance = chanceOf(name, rows);
    scales.set(name, scaleOver(chance === null ? values : [...values, chance]));
  }
  return scales.get(name);
}

// Where a value lies, in per cent of the picture's width: no picture is stretched, whatever its width.
const place = (value, scale) => MARGIN + ((100 - 2 * MARGIN) * (value - scale.low)) / (scale.high - scale.low);
const percent = (value, scale) => `${place(value, scale).toFixed(2)}%`;

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const upright = (kind, value, scale, from, to) =>
  drawing("line", { class: kind, x1: percent(value, scale), x2: percent(value, scale), y1: from, y2: to });

// The scale itself: a number at each tick, and where chance is.
function axis(scale, line) {
  const picture = drawing("svg", { class: "ticks", "aria-hidden": "true" });
  for (const tick of scale.ticks) {
    picture.append(upright("grid", tick, scale, 15, 22));
    picture.append(drawing("text", { x: percent(tick, scale), y: 12, "text-anchor": "middle" }, tick.toFixed(scale.digits)));
  }
  if (line !== null) picture.append(upright("chance", line, scale, 14, 22));
  return picture;
}

const rangeWords = (metric) => (metric.low === null ? "no interval" : `${metric.range ?? "95 % interval"} ${shown(metric.low)} to ${shown(metric.high)}`);

// A value with its interval; approximate values are open marks.
function interval(metric, scale, line, approximate = false) {
  const picture = drawing("svg", { role: "img" });
  picture.setAttribute("aria-label", `${approximate ? "about " : ""}${shown(metric.value)}, ${rangeWords(metric)}`);
  for (const tick of scale.ticks) picture.append(upright("grid", tick, scale, 0, 20));
  if (line !== null) picture.append(upright("chance", line, scale, 0, 20));
  if (metric.low !== null) {
    picture.append(drawing("line", { class: "range", x1: percent(metric.low, scale), x2: percent(metric.high, scale), y1: 10, y2: 10 }));
    for (const end of [metric.low, metric.high]) picture.append(upright("end", end, scale, 6, 14));
  }
  picture.append(drawing("circle", { class: approximate ? "value open" : "value", cx: percent(metric.value, scale), cy: 10, r: 4 }));
  return picture;
}

// The row below a table's heads that has the scale in its second column.
function scaleRow(scale, line, meaning, columns) {
  const key = line === null ? "chance is not known here" : `dashed: ${meaning}, ${shown(line)}`;
  return element("tr", { class: "scale" }, element("td"), element("td", { class: "interval" }, axis(scale, line)),
    element("td", { colspan: columns - 2 }, element("span", { class: "small" }, key)));
}
