// Two principal components by power iteration, as a picture.

import { make } from "./dom.js";

const COLOURS = ["#1971c2", "#e8590c", "#2f9e44", "#9c36b5", "#c92a2a", "#0b7285", "#a36a00", "#5f3dc4", "#868e96"];
const STEPS = 40;

// The direction of largest variance of centred rows that is orthogonal to those in `others`.
function direction(rows, others) {
  const dimensions = rows[0].length;
  let axis = Float64Array.from({ length: dimensions }, (_, index) => Math.sin(index * 12.9898 + others.length) + 0.01);
  for (let step = 0; step < STEPS; step++) {
    const next = new Float64Array(dimensions);
    for (const row of rows) {
      let dot = 0;
      for (let index = 0; index < dimensions; index++) dot += row[index] * axis[index];
      for (let index = 0; index < dimensions; index++) next[index] += dot * row[index];
    }
    for (const other of others) {
      const dot = next.reduce((sum, value, index) => sum + value * other[index], 0);
      for (let index = 0; index < dimensions; index++) next[index] -= dot * other[index];
    }
    const norm = Math.hypot(...next) || 1;
    axis = next.map((value) => value / norm);
  }
  return axis;
}

// What share of the variance the picture shows, and its elements.
export function project(vectors, payloads, key) {
  const dimensions = vectors[0].length;
  const mean = new Float64Array(dimensions);
  for (const vector of vectors) for (let index = 0; index < dimensions; index++) mean[index] += vector[index] / vectors.length;
  const rows = vectors.map((vector) => Float64Array.from(vector, (value, index) => value - mean[index]));
  const axes = [direction(rows, [])];
  axes.push(direction(rows, axes));
  const places = rows.map((row) => axes.map((axis) => row.reduce((sum, value, index) => sum + value * axis[index], 0)));
  const total = rows.reduce((sum, row) => sum + row.reduce((part, value) => part + value * value, 0), 0) || 1;
  const share = places.reduce((sum, [x, y]) => sum + x * x + y * y, 0) / total;
  const groups = grouping(payloads, key);
  const range = [0, 1].map((axis) => {
    const values = places.map((place) => place[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const scale = (value, [low, high], length) => 12 + ((value - low) / (high - low || 1)) * (length - 24);
  const circles = places.map(([x, y], index) => make("circle", {
    cx: scale(x, range[0], 640).toFixed(1), cy: (440 - scale(y, range[1], 440)).toFixed(1), r: 4, fill: COLOURS[groups.of(index)],
  }, make("title", {}, `${payloads[index].id}${key ? `, ${key}: ${payloads[index][key] ?? "none"}` : ""}`)));
  const legend = make("ul", { class: "legend" }, ...groups.names.map((name, index) => make("li", {},
    make("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, make("circle", { cx: 5, cy: 5, r: 4, fill: COLOURS[index] })), ` ${name}`)));
  const picture = make("svg", { viewBox: "0 0 640 440", role: "img", "aria-label": `${vectors.length} points in two dimensions${key ? `, coloured by ${key}` : ""}` }, ...circles);
  return { picture: key ? [picture, legend] : [picture], share };
}

// The most frequent values get a colour each, the rest one together. Numbers with many values are cut into ranges.
function grouping(payloads, key) {
  if (!key) return { names: ["all"], of: () => 0 };
  const values = payloads.map((payload) => payload[key]);
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  const figures = values.filter((value) => typeof value === "number");
  if (counts.size > COLOURS.length && figures.length === values.length) {
    const sorted = figures.slice().sort((a, b) => a - b);
    const cuts = [1, 2, 3, 4].map((part) => sorted[Math.floor((sorted.length * part) / 5)]);
    const names = [`up to ${cuts[0]}`, ...cuts.slice(1).map((cut, index) => `${cuts[index]} to ${cut}`), `from ${cuts[3]}`];
    return { names, of: (index) => cuts.filter((cut) => values[index] >= cut).length };
  }
  const names = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COLOURS.length - 1).map(([value]) => value);
  const labels = names.map((value) => String(value ?? "none"));
  if (counts.size > names.length) labels.push("others");
  return { names: labels, of: (index) => (names.includes(values[index]) ? names.indexOf(values[index]) : names.length) };
}
