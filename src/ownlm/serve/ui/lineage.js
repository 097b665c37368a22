// "Where does this come from?": passages that were read, overlaps with training documents, and the model.

import { post } from "./api.js";
import { count, el, large, percent, points, slice } from "./dom.js";

const FIRST = 6; // documents shown at once

/** The contents of the panel. `open(n)` shows passage n. */
export async function lineageView(answer, open) {
  const ids = (answer.detail.passages ?? []).map((passage) => passage.id);
  let found = null;
  let trouble = null;
  try {
    found = await post("/v1/lineage", { answer: answer.text, passages: ids });
  } catch (error) {
    trouble = error;
  }
  return [read(answer, open), shared(answer, found, trouble), model(found?.model, answer)];
}

function section(title, hint, ...content) {
  return el("section", { class: "part" }, el("h3", {}, title), hint ? el("p", { class: "aside" }, hint) : null, ...content);
}

function read(answer, open) {
  const passages = answer.detail.passages ?? [];
  if (passages.length === 0) {
    return section("Passages that were read", null, el("p", { class: "empty" }, "None. No passage came near the question."));
  }
  const cited = new Set((answer.detail.citations ?? []).map((citation) => citation.n));
  const best = Math.max(...passages.map((passage) => passage.score), 1e-9);
  const rows = passages.map((passage) => {
    const bar = el("span", { class: "fill" });
    bar.style.inlineSize = `${Math.max(2, 100 * passage.score / best)}%`;
    return el("li", {}, el("button", { class: "passage", type: "button", onclick: () => open(passage.n) },
      el("span", { class: cited.has(passage.n) ? "number" : "number unused" }, passage.n),
      el("span", { class: "title" }, passage.title),
      el("span", { class: "from" }, `${passage.source}${cited.has(passage.n) ? "" : ", not cited"}`),
      el("span", { class: "bar", title: `score ${passage.score.toFixed(2)}` }, bar)));
  });
  const relevance = answer.detail.relevance;
  const hint = typeof relevance === "number"
    ? `Together they match the question to ${percent(relevance)}. The bar is each one's search score beside the best.` : null;
  return section("Passages that were read", hint, el("ul", { class: "passages" }, ...rows));
}

function shared(answer, found, trouble) {
  const title = "Word for word in training documents";
  if (trouble) return section(title, null, el("p", { class: "empty" }, trouble.message));
  const spans = [...found.spans].sort((a, b) => a.start - b.start || b.end - a.end);
  if (spans.length === 0) {
    return section(title, null, el("p", { class: "empty" }, "No longer run of words of this answer stands in a training document."));
  }
  const letters = points(answer.text);
  const trained = spans.filter((span) => span.in_training !== false);
  const covered = new Set(trained.flatMap((span) => Array.from({ length: span.end - span.start }, (_, i) => span.start + i)));
  const hint = `${percent(covered.size / Math.max(1, letters.length))} of the answer's characters stand like this in what the model was trained on.`
    + (trained.length < spans.length ? " Documents that it was not trained on were only read to answer." : "");
  const items = byDocument(spans).map((group) => overlap(letters, group));
  const list = el("ul", { class: "overlaps" }, ...items.slice(0, FIRST));
  const rest = items.slice(FIRST);
  const more = rest.length === 0 ? null : el("button", { class: "quiet", type: "button", onclick: () => {
    list.append(...rest);
    more.remove();
  } }, `Show ${count(rest.length)} more documents`);
  return section(title, hint, painted(letters, covered), list, more);
}

/** The answer with everything that is covered by some overlap marked. */
function painted(letters, covered) {
  const box = el("p", { class: "painted" });
  let start = 0;
  for (let at = 1; at <= letters.length; at += 1) {
    if (at < letters.length && covered.has(at) === covered.has(start)) continue;
    const text = slice(letters, start, at);
    box.append(covered.has(start) ? el("mark", {}, text) : document.createTextNode(text));
    start = at;
  }
  return box;
}

function byDocument(spans) {
  const groups = new Map();
  for (const span of spans) {
    const key = `${span.in_training !== false} ${span.document_id}`;
    groups.set(key, [...(groups.get(key) ?? []), span]);
  }
  const longest = (group) => Math.max(...group.map((span) => span.end - span.start));
  return [...groups.values()].sort((a, b) => longest(b) - longest(a));
}

function overlap(letters, spans) {
  const quotes = spans.map((span) => el("blockquote", {},
    span.before ? `${cut(span.before, true)}` : null,
    el("mark", {}, slice(letters, span.start, span.end)),
    span.after ? `${cut(span.after, false)}` : null,
    el("span", { class: "place" }, ` characters ${count(span.document_start)} to ${count(span.document_end)}`)));
  return el("li", {}, el("p", { class: "head" },
    el("span", { class: "title" }, spans[0].source), el("span", { class: "badge" }, spans[0].licence),
    spans[0].in_training === false ? el("span", { class: "badge" }, "not trained on") : null), ...quotes);
}

/** Surroundings on one line, cut at a word. */
function cut(text, front) {
  const words = text.replace(/\s+/gu, " ");
  if (front) return `… ${words.slice(words.indexOf(" ") + 1)}`;
  const last = words.lastIndexOf(" ");
  return `${last > 0 ? words.slice(0, last) : words} …`;
}

function model(info, answer) {
  const facts = info ?? { name: answer.detail.lineage?.model, digest: answer.detail.lineage?.model_digest };
  const rows = [];
  const put = (name, value, kind) => { if (value !== null && value !== undefined && value !== "") rows.push(el("dt", {}, name), el("dd", { class: kind }, value)); };
  put("Name", facts.name);
  put("SHA-256", facts.digest, "digest");
  put("Built", (facts.built ?? facts.created ?? "").slice(0, 10));
  put("Parameters", facts.parameters === undefined ? null : large(facts.parameters));
  put("Trained on", facts.documents === undefined ? null
    : `${count(facts.documents)} documents${facts.tokens === undefined ? "" : `, ${large(facts.tokens)} tokens`}`);
  const given = facts.licences ?? {}; // {name: documents}, or only the names
  const licences = Array.isArray(given) ? given.map((name) => [name, null]) : Object.entries(given).sort((a, b) => b[1] - a[1]);
  if (licences.length > 0) {
    rows.push(el("dt", {}, "Licences"), el("dd", {}, el("ul", { class: "licences" },
      ...licences.map(([name, number]) => el("li", {}, el("span", { class: "badge" }, name), number === null ? null : ` ${count(number)} documents`)))));
  }
  return section("The model", null, el("dl", { class: "facts-list" }, ...rows));
}
