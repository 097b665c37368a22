// One answer on the page: text as it streams, marks that open passages, sources, acts, and how fast it was.

import { post } from "./api.js";
import { count, el, icon, percent, say, seconds } from "./dom.js";
import { openLineage, openPassage } from "./panel.js";

/** The text of an answer: one line per claim, each with its [n] marks. A number that names no passage stays text. */
function marked(answer) {
  const known = new Map((answer.detail.passages ?? []).map((passage) => [passage.n, passage]));
  const lines = [];
  let at = 0;
  for (const match of answer.text.matchAll(/\[(\d{1,3})\]/gu)) {
    const passage = known.get(Number(match[1]));
    if (!passage) continue;
    const before = answer.text.slice(at, match.index);
    at = match.index + match[0].length;
    if (before.trim() === "" && lines.length > 0) { // a second mark on the same claim
      lines.at(-1).append(cite(answer, passage, lines.at(-1).querySelector(".claim")));
      continue;
    }
    const text = claim(before.trimStart(), passage);
    lines.push(el("p", {}, text, cite(answer, passage, text)));
  }
  const rest = answer.text.slice(at);
  if (rest.trim() !== "") lines.push(el("p", {}, el("span", { class: "claim" }, lines.length ? rest.trimStart() : rest)));
  return el("div", { class: "text claims" }, ...lines);
}

/** A claim begins with the title of its passage: that part is set off. */
function claim(text, passage) {
  const titled = text.startsWith(`${passage.title}:`) || text.startsWith(`${passage.title} is in `);
  const head = titled ? passage.title.length : 0;
  return el("span", { class: "claim" }, head ? el("strong", {}, text.slice(0, head)) : null, text.slice(head));
}

function cite(answer, passage, claim) {
  const light = (on) => () => claim?.classList?.toggle("lit", on);
  return el("button", {
    class: "cite", type: "button", "aria-label": `Source ${passage.n}: ${passage.title}`,
    title: passage.title, onclick: () => openPassage(answer, passage.n),
    onmouseenter: light(true), onmouseleave: light(false), onfocus: light(true), onblur: light(false),
  }, passage.n);
}

function sources(answer) {
  const cited = new Set((answer.detail.citations ?? []).map((citation) => citation.n));
  const rows = (answer.detail.passages ?? []).filter((passage) => cited.has(passage.n));
  if (rows.length === 0) return null;
  return el("ul", { class: "sources", "aria-label": "Sources" }, ...rows.map((passage) => el("li", {},
    el("button", { class: "source", type: "button", onclick: () => openPassage(answer, passage.n) },
      el("span", { class: "number" }, passage.n),
      el("span", { class: "title" }, passage.title),
      el("span", { class: "from" }, passage.source)))));
}

function speed(answer) {
  const { detail, usage } = answer;
  const facts = [];
  if (usage) facts.push(`${count(usage.completion_tokens)} tokens`);
  if (detail.tokens_per_second) facts.push(`${detail.tokens_per_second.toFixed(detail.tokens_per_second < 10 ? 1 : 0)} per second`);
  if (detail.time_to_first_token_seconds !== null && detail.time_to_first_token_seconds !== undefined) {
    facts.push(`first after ${seconds(detail.time_to_first_token_seconds)}`);
  }
  return el("p", { class: "speed" }, facts.join(" · "));
}

async function copy(answer, button) {
  try {
    await navigator.clipboard.writeText(answer.text);
  } catch { // without https there is no clipboard object: the old way
    const range = document.createRange();
    range.selectNodeContents(answer.node.querySelector(".text"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
    getSelection().removeAllRanges();
  }
  button.replaceChildren(icon("check"));
  say("Copied.");
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}

async function rate(answer, rating, buttons, consent) {
  try {
    await post("/v1/feedback", { rating, id: answer.id, question: answer.question, answer: answer.text, consent });
    for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === rating));
    say("Thank you, the rating is kept.");
  } catch (error) {
    say(`The rating could not be kept: ${error.message}`);
    answer.node.append(problem(error));
  }
}

function acts(answer, about) {
  const act = (name, label, press) => el("button", { class: "plain square", type: "button", "aria-label": label, title: label, onclick: press }, icon(name));
  const row = el("div", { class: "acts-row" });
  if (about.lineage || answer.detail.passages) {
    row.append(el("button", { class: "plain why", type: "button", onclick: () => openLineage(answer) }, icon("roots"), "Where does this come from?"));
  }
  const copyButton = act("copy", "Copy the answer", () => copy(answer, copyButton));
  row.append(copyButton);
  if (about.feedback) {
    const buttons = {};
    const consent = el("input", { type: "checkbox" });
    for (const [rating, label] of [["up", "Good answer"], ["down", "Bad answer"]]) {
      buttons[rating] = act(rating, label, () => rate(answer, rating, buttons, consent.checked));
      buttons[rating].setAttribute("aria-pressed", "false");
      row.append(buttons[rating]);
    }
    row.append(el("label", { class: "consent", title: "Send your rating with leave to train on this question and answer" }, consent, "may be learned from"));
  }
  row.append(speed(answer));
  return row;
}

function refusal(answer) {
  const close = (answer.detail.passages ?? []).length;
  const near = typeof answer.detail.relevance === "number" ? ` The closest passages match it to ${percent(answer.detail.relevance)}.` : "";
  return el("div", { class: "refusal" }, icon("none"), el("div", {},
    el("p", { class: "text" }, answer.text),
    el("p", { class: "aside" }, `Nothing was made up.${close ? near : " No passage comes near it."} Other words may find more.`)));
}

export function problem(error, again) {
  const facts = [error.retryAfter ? `Try again in ${error.retryAfter} s.` : null, error.requestId ? `Request ${error.requestId}` : null].filter(Boolean);
  return el("div", { class: "problem", role: "alert" }, icon("warn"), el("div", {},
    el("p", {}, error.message),
    facts.length ? el("p", { class: "aside" }, facts.join(" ")) : null,
    again ? el("button", { class: "quiet", type: "button", onclick: again[1] }, again[0]) : null));
}

/** The node of a question and the answer below it. */
export function turn(question) {
  const text = el("div", { class: "text streaming" }, el("span", { class: "thinking" }, "Reading the documents"));
  const node = el("article", { class: "turn", "aria-label": `Question: ${question.slice(0, 80)}` },
    el("p", { class: "question" }, question),
    el("div", { class: "answer", "aria-live": "polite", "aria-busy": "true" }, text));
  return { node, question, text: "", id: "", detail: {}, usage: null, reason: null };
}

/** Show text that arrived. */
export function grow(answer, piece) {
  const target = answer.node.querySelector(".text");
  if (answer.text === "") target.replaceChildren();
  answer.text += piece;
  target.append(document.createTextNode(piece));
}

/** The answer is whole, stopped (`note`) or failed (`error`): marks become buttons, acts appear. */
export function settle(answer, about, { note = null, error = null, again = null } = {}) {
  const box = answer.node.querySelector(".answer");
  const parts = [];
  if (answer.detail.refused) parts.push(refusal(answer));
  else if (answer.text) parts.push(marked(answer), sources(answer));
  if (note) parts.push(el("p", { class: "note" }, note));
  if (error) parts.push(problem(error, again));
  if (answer.text && !error) parts.push(acts(answer, about));
  box.replaceChildren(...parts.filter(Boolean));
  box.setAttribute("aria-busy", "false");
}
