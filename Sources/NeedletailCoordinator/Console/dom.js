// Elements made of text only: nothing that comes from the cluster is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (selector) => document.querySelector(selector);

export function make(name, attributes = {}, ...children) {
  const isShape = ["svg", "path", "line", "circle", "title", "rect"].includes(name);
  const element = isShape ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") element.addEventListener("click", value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export function table(caption, head, rows) {
  return make("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {},
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : make("td", {}, cell))))))));
}

// Replaces what is there only when it is not the same, so that focus and selection stay where they are.
export function show(place, ...children) {
  const holder = document.createElement("div");
  holder.append(...children);
  if (place.innerHTML !== holder.innerHTML) place.replaceChildren(...holder.childNodes);
}

export function options(select, values, label = (value) => value) {
  const chosen = select.value;
  if ([...select.options].map((option) => option.value).join("\n") === values.join("\n")) return;
  select.replaceChildren(...values.map((value) => make("option", { value, selected: value === chosen }, label(value))));
}

export function bytes(count) {
  let value = Number(count || 0);
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${unit === "B" ? value : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

export const whole = (count) => Number(count || 0).toLocaleString("en");

// A line over the last minutes, the latest value beside its name; a second line is dashed.
export function plot(name, series, unit, secondName) {
  const [width, height] = [300, 80];
  const values = series.flat().filter((value) => value !== null);
  const top = Math.max(1e-9, ...values);
  const line = (points, type) => {
    let path = "";
    points.forEach((value, index) => {
      if (value === null) return;
      const [x, y] = [((index + 120 - points.length) / 119) * width, height - 4 - (value / top) * (height - 10)];
      path += `${path === "" || points[index - 1] === null ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    return make("path", { d: path || "M0 0", class: type });
  };
  const last = series.map((points) => points.at(-1) ?? null);
  const text = last.map((value) => (value === null ? "–" : unit(value))).join(" / ");
  return make("figure", { class: "plot" },
    make("figcaption", {}, name, make("b", {}, text)),
    make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}: now ${text}, at most ${unit(top)} in the last four minutes` },
      make("line", { x1: 0, x2: width, y1: height - 4, y2: height - 4 }), ...series.map((points, index) => line(points, index ? "second" : "first"))),
    secondName ? make("span", { class: "hint" }, `dashed: ${secondName}`) : null);
}
