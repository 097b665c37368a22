// The panel beside the conversation (a sheet on small screens): a passage in its document, or the lineage.

import { get } from "./api.js";
import { lineageView } from "./lineage.js";
import { byId, count, el, points, slice } from "./dom.js";

let opener = null;
let showing = 0; // an answer that arrives after the panel has moved on is dropped

function show(title, ...content) {
  const panel = byId("panel");
  byId("panel-title").textContent = title;
  byId("panel-body").replaceChildren(...content.filter(Boolean));
  byId("panel-body").scrollTop = 0;
  if (panel.hidden) {
    opener = document.activeElement;
    panel.hidden = false;
    byId("scrim").hidden = false;
    byId("room").classList.add("split");
  }
  if (!panel.contains(document.activeElement)) byId("panel-title").focus();
}

export function closePanel() {
  if (byId("panel").hidden) return false;
  showing += 1;
  byId("panel").hidden = true;
  byId("scrim").hidden = true;
  byId("room").classList.remove("split");
  const back = opener?.isConnected ? opener : byId("question");
  back.focus();
  return true;
}

export function initPanel() {
  byId("panel-close").addEventListener("click", closePanel);
  byId("scrim").addEventListener("click", closePanel);
  byId("panel").addEventListener("keydown", (event) => {
    if (event.key !== "Tab") return;
    const stops = [...byId("panel").querySelectorAll("button, [href], summary, [tabindex='0']")]
      .filter((node) => node.offsetParent !== null && !node.disabled);
    const at = stops.indexOf(document.activeElement);
    const next = at + (event.shiftKey ? -1 : 1);
    if (next < 0 || next >= stops.length || at < 0) {
      event.preventDefault();
      stops.at(event.shiftKey ? -1 : 0)?.focus();
    }
  });
}

async function fill(title, load) {
  const mine = ++showing;
  show(title, el("p", { class: "aside" }, "Loading"));
  let content;
  try {
    content = await load();
  } catch (error) {
    content = [el("p", { class: "wrong", role: "alert" }, error.message)];
  }
  if (mine !== showing) return;
  show(title, ...content);
  byId("panel-body").querySelector("mark.here")?.scrollIntoView({ block: "center" });
}

export function openPassage(answer, n) {
  const passage = answer.detail.passages.find((one) => one.n === n);
  return fill(passage.title, async () => {
    const found = await get(`/v1/passages/${passage.id}`);
    return [others(answer, n), facts(found), reader(found)];
  });
}

export function openLineage(answer) {
  return fill("Where does this come from?", () => lineageView(answer, (n) => openPassage(answer, n)));
}

function others(answer, n) {
  const cited = new Set((answer.detail.citations ?? []).map((citation) => citation.n));
  const rows = answer.detail.passages.filter((one) => cited.has(one.n) || one.n === n);
  if (rows.length < 2) return null;
  return el("nav", { class: "tabs", "aria-label": "Sources of this answer" }, ...rows.map((one) => el("button", {
    type: "button", class: "tab", "aria-current": one.n === n ? "true" : null, title: one.title,
    "aria-label": `Source ${one.n}: ${one.title}`, onclick: () => openPassage(answer, one.n),
  }, one.n)));
}

function facts({ passage, document: whole }) {
  const rows = [
    ["Source", whole.source],
    ["Licence", whole.licence],
    ["Place", `characters ${count(passage.start)} to ${count(passage.end)} of ${count(whole.num_characters)}`],
  ];
  return el("dl", { class: "facts-list" }, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function reader({ passage, document: whole }) {
  const letters = points(whole.text);
  const from = Math.max(0, passage.start - whole.start);
  const to = Math.max(from, passage.end - whole.start);
  const code = /\.(py|pyi|js|ts|c|h|cc|cpp|hpp|rs|go|java|rb|sh|sql|toml|ya?ml|json)$/iu.test(whole.source);
  const text = el("div", { class: code ? "document code" : "document" }, slice(letters, 0, from),
    el("mark", { class: "here" }, slice(letters, from, to)), slice(letters, to));
  const state = { start: whole.start, end: whole.end };
  const more = (label, window, put) => {
    const button = el("button", { class: "quiet more", type: "button", onclick: async () => {
      const [start, length] = window();
      const got = (await get(`/v1/documents/${encodeURIComponent(whole.id)}?start=${start}&length=${length}`)).document;
      put(got);
      state.start = Math.min(state.start, got.start);
      state.end = Math.max(state.end, got.end);
      before.hidden = state.start === 0;
      after.hidden = state.end >= whole.num_characters;
    } }, label);
    return button;
  };
  const before = more("Show what comes before", () => {
    const start = Math.max(0, state.start - 4000);
    return [start, state.start - start];
  }, (got) => text.prepend(got.text));
  const after = more("Show what follows", () => [state.end, 4000], (got) => text.append(got.text));
  before.hidden = state.start === 0;
  after.hidden = state.end >= whole.num_characters;
  return el("section", { class: "reader", "aria-label": "The passage in its document" }, before, text, after);
}
