// The page: asks, streams, stops. What an answer looks like is in answer.js, the panel in panel.js.

import { get, onKeyNeeded, stream } from "./api.js";
import { grow, problem, settle, turn } from "./answer.js";
import { byId, count, el, icon, large, say } from "./dom.js";
import { closePanel, initPanel } from "./panel.js";

let about = { model: {}, examples: [], lineage: false, feedback: false };
let model = null;
let running = null; // the AbortController of the answer that streams

const main = byId("main");
const question = byId("question");
const send = byId("send");

async function ask(text) {
  if (running !== null || model === null) return;
  closePanel();
  byId("welcome").hidden = true;
  const answer = turn(text);
  byId("turns").append(answer.node);
  answer.node.scrollIntoView({ block: "end" });
  running = new AbortController();
  asking(true);
  say("Answering.");
  try {
    await follow(answer, running.signal);
    const note = answer.reason === "length" ? "The answer was cut at the length limit." : null;
    settle(answer, about, { note });
    say("The answer is complete.");
  } catch (error) {
    if (error.name === "AbortError") {
      settle(answer, about, { note: "Stopped." });
      say("Stopped.");
    } else {
      // A request refused as it stands (4xx) would be refused again: it goes back to be changed.
      const change = error.status >= 400 && error.status < 500;
      const again = change ? () => edit(text) : () => { answer.node.remove(); ask(text); };
      settle(answer, about, { error, again: [change ? "Change the question" : "Ask again", again] });
    }
  } finally {
    running = null;
    asking(false);
    keepInView(true);
  }
}

async function follow(answer, signal) {
  for await (const event of stream({ model, messages: [{ role: "user", content: answer.question }] }, signal)) {
    answer.id = event.id;
    if (event.usage) answer.usage = event.usage;
    if (event.ownlm) Object.assign(answer.detail, event.ownlm);
    for (const choice of event.choices) {
      const near = nearEnd();
      if (choice.delta.content) grow(answer, choice.delta.content);
      if (choice.finish_reason) answer.reason = choice.finish_reason;
      keepInView(near);
    }
  }
}

function edit(text) {
  question.value = text;
  fit();
  question.focus();
}

function nearEnd() {
  return main.scrollHeight - main.scrollTop - main.clientHeight < 120;
}

function keepInView(wanted) {
  if (wanted) main.scrollTop = main.scrollHeight;
}

function asking(on) {
  send.replaceChildren(icon(on ? "stop" : "send"));
  send.setAttribute("aria-label", on ? "Stop the answer" : "Send the question");
  send.classList.toggle("stopping", on);
  fit();
}

function fit() {
  question.style.blockSize = "auto";
  question.style.blockSize = `${Math.min(question.scrollHeight, 200)}px`;
  send.disabled = running === null && (question.value.trim() === "" || model === null);
}

function submit() {
  if (running !== null) return running.abort();
  const text = question.value.trim();
  if (text === "" || model === null) return undefined;
  question.value = "";
  fit();
  return ask(text);
}

function startOver() {
  running?.abort();
  closePanel();
  byId("turns").replaceChildren();
  byId("welcome").hidden = model === null;
  question.value = "";
  fit();
  question.focus();
  say("New conversation.");
}

function otherTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const next = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  // A choice that equals the system's is no choice: the page then follows the system again.
  if (next === system) delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    if (next === system) localStorage.removeItem("ownlm-theme");
    else localStorage.setItem("ownlm-theme", next);
  } catch { /* storage is switched off: the choice lasts until the page is closed */ }
  say(`${next === "dark" ? "Dark" : "Light"} colours.`);
}

function askForKey(wrong) {
  const door = byId("door");
  byId("welcome").hidden = true;
  door.hidden = false;
  byId("composer").hidden = true;
  byId("key-error").textContent = wrong ? "That key was not accepted." : "";
  byId("key").focus();
  return new Promise((resolve) => {
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const given = byId("key").value;
      byId("key").value = "";
      door.hidden = true;
      byId("composer").hidden = false;
      resolve(given);
    }, { once: true });
  });
}

function introduce(answer) {
  about = answer.ownlm;
  model = answer.data[0].id;
  byId("model-name").textContent = about.model.name;
  document.title = about.model.name;
  const { documents, tokens, parameters } = about.model;
  const facts = [
    documents === undefined ? null : `${count(documents)} documents`,
    tokens === undefined ? null : `${large(tokens)} tokens`,
    parameters === undefined ? null : `${large(parameters)} parameters`,
  ].filter(Boolean);
  byId("facts").replaceChildren(el("span", { class: "word" }, facts.length ? "Built from " : ""), facts.join(" · "));
  byId("examples").replaceChildren(...about.examples.slice(0, 6).map((text) => el("li", {},
    el("button", { type: "button", class: "example", onclick: () => ask(text) }, text))));
  byId("welcome").hidden = byId("turns").childElementCount > 0;
  fit();
}

async function start() {
  initPanel();
  onKeyNeeded(askForKey);
  byId("composer").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("new").addEventListener("click", startOver);
  byId("theme").addEventListener("click", otherTheme);
  question.addEventListener("input", fit);
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (running === null) submit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !closePanel()) running?.abort();
  });
  fit();
  try {
    introduce(await get("/v1/models"));
    if (matchMedia("(pointer: fine)").matches) question.focus(); // on a phone the keyboard would cover the page
  } catch (error) {
    byId("welcome").hidden = true;
    byId("turns").replaceChildren(problem(error, ["Try again", () => location.reload()]));
  }
}

start();
