// A line chart in SVG: axes linear or logarithmic, lines, dots, flags, and a cross that reads the values.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function axis(low, high, from, to, log) {
  if (log) { low = Math.log10(low); high = Math.log10(high); }
  const span = high - low || 1;
  const place = value => from + ((log ? Math.log10(value) : value) - low) / span * (to - from);
  place.back = at => { const value = low + (at - from) / (to - from) * span; return log ? 10 ** value : value; };
  return place;
}

function ticks(low, high, count, log) {
  if (log && Math.log10(high / low) > 1) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of Math.log10(high / low) > 4 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
    const inside = found.filter(value => value >= low * .999 && value <= high * 1.001);
    const every = Math.ceil(inside.length / (count + 2));
    return inside.filter((_, i) => i % every === 0);
  }
  const raw = (high - low || Math.abs(high) || 1) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(digit => digit * power).find(each => each >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return found;
}

// The range of finite numbers; `cut`: without the outer hundredths.
function range(lists, log, cut) {
  let values = lists.flat().filter(value => value !== null && Number.isFinite(value) && (!log || value > 0));
  if (!values.length) return null;
  let low, high;
  if (cut && values.length > 50) {
    values = values.sort((a, b) => a - b);
    low = values[Math.floor(values.length * .01)]; high = values[Math.ceil(values.length * .99) - 1];
  } else {
    low = high = values[0];
    for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  }
  if (low === high) { const wide = Math.abs(low) * .05 || 1; return log ? [low / 1.2, high * 1.2] : [low - wide, high + wide]; }
  return log ? [low / (high / low) ** .04, high * (high / low) ** .04] : [low - (high - low) * .04, high + (high - low) * .04];
}

/* draw(figure, {series, flags, saved, logX, logY, cut, zero, xText, yText, label, empty})
   series: {x: [], y: [], color: 0..5, faint, dots, name, silent}; null is a gap. flags: {x, text}; saved: [x]. */
function draw(figure, spec) {
  figure.spec = spec;
  const width = figure.clientWidth, height = figure.clientHeight;
  if (!width) return;
  const root = shape("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label});
  const xs = range(spec.series.map(each => each.x), spec.logX), ys = range(spec.series.map(each => each.y), spec.logY, spec.cut);
  if (!xs || !ys) {
    root.append(shape("text", {x: width / 2, y: height / 2, "text-anchor": "middle", class: "empty"}, spec.empty || "nothing measured yet"));
    figure.replaceChildren(root);
    return;
  }
  if (!spec.logX) { xs[0] = Math.max(0, Math.min(...spec.series.map(each => each.x[0] ?? Infinity))); xs[1] = Math.max(...spec.series.map(each => each.x.at(-1) ?? 0)); }
  if (spec.zero && !spec.logY) ys[0] = Math.min(0, ys[0]);
  const yTicks = ticks(...ys, Math.max(2, Math.round(height / 55)), spec.logY);
  const left = Math.max(30, ...yTicks.map(value => spec.yText(value).length * 6.6 + 10)), right = width - 12, top = 14, bottom = height - 22;
  const X = axis(...xs, left, right, spec.logX), Y = axis(...ys, bottom, top, spec.logY);
  for (const value of yTicks) {
    root.append(shape("line", {x1: left, x2: right, y1: Y(value), y2: Y(value), class: "gridline"}));
    root.append(shape("text", {x: left - 6, y: Y(value) + 4, "text-anchor": "end"}, spec.yText(value)));
  }
  let free = -Infinity;
  for (const value of ticks(...xs, Math.max(2, Math.round((right - left) / 95)), spec.logX)) {
    const text = spec.xText(value), half = text.length * 3.3, at = Math.min(Math.max(X(value), left + half - 8), right - half + 8);
    if (at - half < free) continue;
    free = at + half + 8;
    root.append(shape("text", {x: at, y: height - 4, "text-anchor": "middle"}, text));
  }
  for (const value of spec.saved || []) if (X(value) >= left) root.append(shape("line", {x1: X(value), x2: X(value), y1: bottom - 5, y2: bottom, class: "saved"}));
  flags(root, spec, X, left, top, bottom);
  for (const each of spec.series) root.append(each.dots ? dots(each, X, Y, spec) : line(each, X, Y, spec, top, bottom));
  const cross = shape("line", {y1: top, y2: bottom, class: "cross", visibility: "hidden"});
  root.append(cross);
  figure.replaceChildren(root);
  root.onpointermove = event => read(event, spec, X, cross, root, width);
  root.onpointerleave = () => { cross.setAttribute("visibility", "hidden"); tip(null); };
}

function line(each, X, Y, spec, top, bottom) {
  let path = "", pen = "M";
  for (let i = 0; i < each.x.length; i++) {
    const x = each.x[i], y = each.y[i];
    if (x === null || y === null || (spec.logX && x <= 0) || (spec.logY && y <= 0)) { pen = "M"; continue; }
    path += `${pen}${X(x).toFixed(1)} ${Math.min(Math.max(Y(y), top - 4), bottom).toFixed(1)}`;
    pen = "L";
  }
  return shape("path", {d: path, class: `s${each.color % 6}${each.faint ? " faint" : ""}`});
}

function dots(each, X, Y, spec) {
  const group = shape("g", {});
  each.x.forEach((x, i) => {
    const y = each.y[i];
    if (y !== null && (!spec.logX || x > 0) && (!spec.logY || y > 0)) group.append(shape("circle", {cx: X(x).toFixed(1), cy: Y(y).toFixed(1), r: each.x.length > 60 ? 2 : 3.5, class: `dot s${each.color % 6}`}));
  });
  return group;
}

// One flag for all events within five pixels: a thousand overflows must not hide the curve.
function flags(root, spec, X, left, top, bottom) {
  const groups = new Map();
  for (const flag of spec.flags || []) {
    if (spec.logX && flag.x <= 0) continue;
    const at = Math.round(Math.max(X(flag.x), left) / 5) * 5;
    groups.set(at, [...(groups.get(at) || []), flag]);
  }
  for (const [at, found] of groups) {
    root.append(shape("line", {x1: at, x2: at, y1: top, y2: bottom, class: "event"}));
    const flag = shape("path", {d: `M${at - 5} 1h10l-5 9z`, class: "flag"});
    const shown = found.slice(0, 6).map(each => `${spec.xText(each.x)}: ${each.text}`);
    if (found.length > 6) shown.push(`... and ${found.length - 6} more, see Events`);
    flag.append(shape("title", {}, shown.join("\n")));
    root.append(flag);
  }
}

function nearest(list, value) {
  let low = 0, high = list.length - 1;
  while (low < high) { const middle = (low + high) >> 1; if (list[middle] < value) low = middle + 1; else high = middle; }
  return low > 0 && value - list[low - 1] < list[low] - value ? low - 1 : low;
}

function read(event, spec, X, cross, root, width) {
  const box = root.getBoundingClientRect(), value = X.back((event.clientX - box.left) * width / box.width);
  const lines = [], first = spec.series.find(each => each.x.length);
  if (!first) return;
  const here = first.x[nearest(first.x, value)];
  for (const each of spec.series) {
    if (each.silent || !each.x.length) continue;
    const i = nearest(each.x, here);
    if (each.y[i] !== null) lines.push({color: each.color % 6, text: `${each.name} ${spec.yText(each.y[i], true)}${each.dots ? ` (at ${spec.xText(each.x[i])})` : ""}`});
  }
  cross.setAttribute("x1", X(here)); cross.setAttribute("x2", X(here)); cross.setAttribute("visibility", "visible");
  tip({x: event.clientX, y: event.clientY, head: spec.xText(here, true), lines});
}

function tip(facts) {
  const box = document.getElementById("tip");
  box.hidden = facts === null;
  if (!facts) return;
  const head = document.createElement("b");
  head.textContent = facts.head;
  box.replaceChildren(head, ...facts.lines.map(({color, text}) => {
    const row = document.createElement("div"), swatch = document.createElement("span");
    swatch.className = `swatch b${color}`;
    row.append(swatch, text);
    return row;
  }));
  const wide = box.offsetWidth;
  box.style.left = `${Math.max(4, facts.x + 16 + wide > innerWidth ? facts.x - wide - 14 : facts.x + 16)}px`;
  box.style.top = `${Math.min(facts.y + 12, innerHeight - box.offsetHeight - 8)}px`;
}
