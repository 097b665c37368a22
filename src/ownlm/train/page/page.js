// The page: asks for what is new, and draws it. Every text of a run goes in as text, never as markup.
"use strict";
const $ = id => document.getElementById(id);
const state = {token: "", runs: [], moments: []};
const live = !$("data");

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) value === true ? made.setAttribute(key, "") : value !== null && value !== false && made.setAttribute(key, value);
  made.append(...children.filter(child => child !== null));
  return made;
}

// Numbers as a reader wants them.
const whole = value => Math.round(value).toLocaleString("en-US");
function amount(value) {
  for (const [limit, suffix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= limit) return `${+(value / limit).toPrecision(3)}${suffix}`;
  return String(+value.toPrecision(3));
}
function fine(value, exact) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(exact ? 3 : 1).replace("e+", "e").replace(".0e", "e");
  return exact ? String(+value.toPrecision(5)) : String(+value.toPrecision(3));
}
function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.round(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  if (s < 172800) return `${Math.floor(s / 3600)}h${String(Math.floor(s % 3600 / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d${Math.floor(s % 86400 / 3600)}h`;
}
const AXES = {
  step: (value, exact) => exact ? `step ${whole(value)}` : amount(value),
  tokens: (value, exact) => `${amount(value)}${exact ? " tokens" : ""}`,
  elapsed: clock,
};

// Where a step is on the chosen axis.
function placed(run, step) {
  const axis = $("axis").value;
  if (axis === "step") return step;
  const rows = run.columns;
  return rows.step.length ? rows[axis][nearest(rows.step, step)] : null;
}

function common() {
  const axis = $("axis").value;
  return {logX: $("log-x").checked, xText: AXES[axis]};
}

function drawLoss() {
  const smooth = $("smooth").value, several = state.runs.length > 1, series = [], flags = [];
  state.runs.forEach((run, i) => {
    const x = run.columns[$("axis").value], name = several ? run.name : "loss";
    series.push({x, y: run.columns.loss, color: i, faint: smooth !== "0", name: smooth === "0" ? name : `${name}, this step`, silent: several && smooth !== "0"});
    if (smooth !== "0") series.push({x, y: run.columns[`smooth_${smooth}`], color: i, name: several ? name : "smoothed"});
    const rows = run.validation.filter(row => row.values.loss !== undefined);
    if (rows.length) series.push({x: rows.map(row => placed(run, row.step)), y: rows.map(row => row.values.loss), color: several ? i : 1, dots: true, name: several ? `${run.name}, validation` : "validation"});
    for (const event of run.events) flags.push({x: placed(run, event.step), text: several ? `${run.name}: ${event.text}` : event.text});
  });
  const saved = several || !state.runs.length ? [] : state.runs[0].checkpoints.map(step => placed(state.runs[0], step));
  draw($("chart-loss"), {...common(), series, flags: flags.filter(flag => flag.x !== null), saved, logY: $("log-y").checked, cut: $("focus").checked, yText: fine, label: "Loss of every step", empty: "no step is finished yet"});
}

function drawOthers() {
  for (const name of ["learning_rate", "grad_norm", "tokens_per_second", "mfu"]) {
    const series = state.runs.map((run, i) => ({x: run.columns[$("axis").value], y: run.columns[name], color: i, name: state.runs.length > 1 ? run.name : ""}));
    const yText = name === "tokens_per_second" ? amount : name === "mfu" ? value => `${+(100 * value).toPrecision(3)}%` : fine;
    draw($(`chart-${name}`), {...common(), series, yText, zero: name !== "grad_norm", logY: name === "grad_norm" && $("log-y").checked, label: name.replaceAll("_", " ")});
  }
}

function legend() {
  const several = state.runs.length > 1, spans = [];
  if (several) state.runs.forEach((run, i) => spans.push(el("span", {}, el("i", {class: `swatch b${i % 6}`}), run.name)));
  if (state.runs.some(run => run.validation.some(row => row.values.loss !== undefined))) spans.push(el("span", {}, el("i", {class: "mark"}), "validation"));
  if (state.runs.some(run => run.events.length)) spans.push(el("span", {}, el("i", {class: "mark flagged"}), "event (point at it)"));
  if (!several && state.runs[0]?.checkpoints.length) spans.push(el("span", {}, "╵ checkpoint"));
  const thinned = state.runs.filter(run => run.columns.step.length < run.num_rows);
  if (thinned.length) spans.push(el("span", {}, `${whole(Math.max(...thinned.map(run => run.num_rows)))} steps, drawn with the lowest and highest of every pixel`));
  $("legend").replaceChildren(...spans);
}

function tile(value, name, title) { return el("div", {class: "tile", title: title || null}, el("b", {}, value), el("span", {}, name)); }

function tiles(run, moment) {
  const last = run.last, steps = run.columns, found = [];
  const smoothed = steps.smooth_20.at(-1);
  found.push(tile(`${whole(last.step ?? 0)} / ${amount(run.num_steps)}`, "steps"), tile(fine(smoothed ?? null, true), "loss, smoothed", `half-life 20 steps; this step ${fine(last.loss, true)}`));
  const checks = run.validation.filter(row => row.values.loss !== undefined && row.values.loss !== null);
  if (checks.length) {
    const best = checks.reduce((a, b) => b.values.loss < a.values.loss ? b : a);
    found.push(tile(fine(checks.at(-1).values.loss, true), "validation loss", `best ${fine(best.values.loss, true)} at step ${whole(best.step)}`));
  }
  found.push(tile(fine(last.learning_rate), "learning rate"), tile(fine(last.grad_norm, true), "gradient norm"), tile(last.tokens_per_second === null ? "–" : amount(last.tokens_per_second), "tokens/s"), tile(last.mfu === null ? "–" : `${(100 * last.mfu).toFixed(1)}%`, "MFU"), tile(amount(last.tokens ?? 0), "tokens"), tile(clock(moment.wall), "at work"));
  if (moment.status === "running") {
    found.push(tile(clock(moment.eta), "left (ETA)"));
    const due = moment.next_checkpoint;
    found.push(tile(due ? clock(due.seconds) : "–", "next checkpoint", due ? `about step ${whole(due.step)}` : null));
  }
  return found;
}

function drawRuns() {
  const several = state.runs.length > 1;
  $("runs").replaceChildren(...state.runs.map((run, i) => {
    const moment = state.moments[i], share = run.num_steps ? Math.min(1, (run.last.step ?? 0) / run.num_steps) : 0;
    const inner = el("i"); inner.style.inlineSize = `${100 * share}%`;
    const said = [];
    if (moment.why) said.push(moment.why);
    if (moment.status === "killed") said.push("it ended without a word; the same command takes it up again");
    if (moment.silent > Math.max(60, 20 * (moment.wall / Math.max(1, run.num_rows)))) said.push(`nothing new for ${clock(moment.silent)}`);
    if (run.replaced) said.push(`${whole(run.replaced)} steps were taken again after a resume or roll-back`);
    if (run.damaged) said.push(`${whole(run.damaged)} lines could not be read`);
    if (run.note) said.push(run.note);
    return el("div", {class: `run card${several ? " compact" : ""}`},
      el("div", {class: "run-head"}, several ? el("i", {class: `swatch b${i % 6}`}) : null, several ? el("b", {}, run.name) : null, el("span", {class: `pill ${moment.status}`}, moment.status), el("span", {class: "aside"}, said.join(" · "))),
      el("div", {class: "bar", role: "progressbar", "aria-label": "progress", "aria-valuenow": Math.round(100 * share), "aria-valuemin": 0, "aria-valuemax": 100}, inner),
      el("div", {class: "tiles"}, ...tiles(run, moment)));
  }));
  const first = state.runs[0];
  $("title").textContent = several ? `${state.runs.length} runs` : first.name;
  $("subtitle").textContent = several ? state.runs.map(run => run.name).join(", ") : first.folder;
  document.title = several ? `${state.runs.length} runs` : `${state.moments[0].status === "running" ? `${Math.floor(100 * (first.last.step ?? 0) / (first.num_steps || 1))}% ` : ""}${first.name}`;
}

// One row per layer, from pale (its smallest) to full (the largest of all), on a logarithmic scale.
function drawHeat() {
  const found = state.runs.find(run => run.gradients.layers.length);
  $("gradients").hidden = !found;
  if (!found) return;
  const {steps, layers, values} = found.gradients;
  const positive = values.flat().filter(value => value > 0);
  const low = Math.log(Math.min(...positive)), span = Math.log(Math.max(...positive)) - low || 1;
  $("gradients-range").textContent = `${state.runs.length > 1 ? `${found.name}, ` : ""}step ${whole(steps[0])} to ${whole(steps.at(-1))}, from ${fine(Math.exp(low))} to ${fine(Math.exp(low + span))}; dark is large, an empty box is zero or no number`;
  $("heat").replaceChildren(...layers.flatMap((layer, i) => {
    const canvas = el("canvas", {width: steps.length, height: 1, role: "img", "aria-label": `gradient norm of ${layer}`});
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle($("heat")).color;
    values[i].forEach((value, at) => { if (value > 0) { pen.globalAlpha = .12 + .88 * (Math.log(value) - low) / span; pen.fillRect(at, 0, 1, 1); } });
    canvas.onpointermove = event => { const box = canvas.getBoundingClientRect(), at = Math.min(steps.length - 1, Math.floor((event.clientX - box.left) / box.width * steps.length)); tip({x: event.clientX, y: event.clientY, head: layer, lines: [{color: 1, text: `${fine(values[i][at], true)} at step ${whole(steps[at])}`}]}); };
    canvas.onpointerleave = () => tip(null);
    return [el("span", {class: "name"}, layer), canvas, el("span", {class: "value"}, fine(values[i].at(-1), true))];
  }));
}

function drawEvents() {
  const several = state.runs.length > 1;
  const all = state.runs.flatMap(run => run.events.map(event => ({...event, run: run.name}))).sort((a, b) => b.time - a.time);
  const total = state.runs.reduce((sum, run) => sum + run.num_events, 0);
  $("events-count").textContent = total > all.length ? `the newest ${whole(all.length)} of ${whole(total)}` : total ? whole(total) : "";
  $("event-list").replaceChildren(...(all.length ? all.map(event => el("li", {}, el("span", {class: "when", title: new Date(event.time * 1000).toLocaleString()}, `step ${whole(event.step)}`), el("span", {}, several ? `${event.run}: ${event.text}` : event.text))) : [el("li", {class: "none"}, "nothing out of the ordinary")]));
  const rows = state.runs.flatMap(run => [...run.validation.map(row => ({...row, kind: "validation", run})), ...run.benchmark.map(row => ({...row, kind: "benchmark", run}))]).sort((a, b) => b.step - a.step);
  const shown = rows.slice(0, 200);
  $("measured-list").replaceChildren(rows.length ? el("table", {}, el("thead", {}, el("tr", {}, ...[several ? "run" : null, "step", "kind", "values"].filter(Boolean).map(text => el("th", text === "step" ? {class: "number"} : {}, text)))), el("tbody", {}, ...shown.map(row => el("tr", {}, several ? el("td", {}, row.run.name) : null, el("td", {class: "number"}, whole(row.step)), el("td", {}, row.kind), el("td", {}, Object.entries(row.values).map(([key, value]) => `${key} ${fine(value, true)}`).join(", ")))))) : el("p", {class: "none"}, "no validation or benchmark yet"), rows.length > shown.length ? el("p", {class: "none"}, `... and ${whole(rows.length - shown.length)} earlier`) : "");
}

function drawSettings() {
  const several = state.runs.length > 1, wanted = $("search").value.toLowerCase();
  $("differences-label").hidden = !several;
  const keys = [...new Set(state.runs.flatMap(run => Object.keys(run.config)))].sort();
  const text = (run, key) => key in run.config ? JSON.stringify(run.config[key].value) : "(absent)";
  const rows = keys.filter(key => key.toLowerCase().includes(wanted)).map(key => ({key, differs: new Set(state.runs.map(run => text(run, key))).size > 1})).filter(row => !several || row.differs || !$("differences").checked);
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "setting"), ...state.runs.map(run => el("th", {}, several ? run.name : "value")), several ? null : el("th", {}, "where it came from"))),
    el("tbody", {}, ...rows.map(row => el("tr", {class: several && row.differs && !$("differences").checked ? "differs" : ""}, el("td", {class: "mono"}, row.key), ...state.runs.map(run => el("td", {}, el("code", {}, text(run, row.key)), several ? el("span", {class: "from"}, run.config[row.key]?.source ?? "") : null)), several ? null : el("td", {class: "aside"}, state.runs[0].config[row.key].source)))));
  $("settings-table").replaceChildren(rows.length ? table : el("p", {class: "none"}, several && $("differences").checked && !wanted ? "all settings are the same" : "no such setting"));
}

function drawOrigins() {
  const list = entries => el("dl", {}, ...entries.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {class: "mono"}, typeof value === "string" ? value : JSON.stringify(value))]));
  $("origins").replaceChildren(...state.runs.flatMap(run => {
    const title = text => el("h2", {}, text, state.runs.length > 1 ? el("small", {}, run.name) : null), git = run.git;
    const code = git.commit ? [["commit", git.commit], ["branch", git.branch], ["changes", git.dirty ? `${git.num_changed} files not committed: ${git.changed.join(", ")}` : "none: the commit is the code"]] : [["git", git.why || "unknown"]];
    const times = (run.sessions || []).map((session, i) => [`session ${i + 1}`, `from step ${session.step}, ${new Date(session.started * 1000).toLocaleString()}${session.status ? `, ${session.status}` : ""}${session.changed ? `; settings changed: ${Object.keys(session.changed).join(", ")}` : ""}`]);
    const data = Object.entries(run.data);
    return [el("div", {class: "card"}, title("Code and data"), list([["run", run.id ?? ""], ...code, ...(data.length ? data : [["data", "no versions were given"]])])), el("div", {class: "card"}, title("Machine and sessions"), list([...Object.entries(run.environment), ...times]))];
  }));
}

function curves() { drawLoss(); drawOthers(); legend(); }
function everything() { drawRuns(); curves(); drawHeat(); drawEvents(); drawSettings(); drawOrigins(); }

function choices() {
  const life = state.runs[0].half_lives, chosen = $("smooth");
  if (chosen.options.length > 1) return;
  for (const each of life) chosen.append(el("option", {value: each}, `half-life ${each}`));
  chosen.value = "20";
}

function take(answer) {
  state.token = answer.token; state.moments = answer.moments;
  $("problem").hidden = !answer.problem; $("problem").textContent = answer.problem || "";
  if (answer.runs) { state.runs = answer.runs; choices(); everything(); } else drawRuns();
}

async function ask() {
  if (!document.hidden) {
    try {
      const answer = await fetch(`data.json?since=${encodeURIComponent(state.token)}`);
      if (!answer.ok) throw new Error(`${answer.status}`);
      take(await answer.json());
      $("connection").textContent = state.moments.some(moment => moment.status === "running") ? "live" : "";
    } catch (error) {
      $("connection").textContent = "not connected: `ownlm runs page` has ended";
      if (!(error instanceof TypeError)) console.error(error);
    }
  }
  setTimeout(ask, state.moments.some(moment => moment.status === "running") ? 1500 : 4000);
}

for (const id of ["axis", "smooth", "log-x", "log-y", "focus"]) $(id).onchange = curves;
for (const id of ["search", "differences"]) $(id).oninput = drawSettings;
$("theme").onclick = () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" || (document.documentElement.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("ownlm-theme", document.documentElement.dataset.theme); } catch { /* storage is switched off */ }
  drawHeat();
};
new ResizeObserver(() => { if (state.runs.length) curves(); }).observe($("chart-loss"));
if (live) ask(); else take(JSON.parse($("data").textContent));
