// Building elements. Text of the model, of documents and of the user only ever becomes a text node.

export const byId = (id) => document.getElementById(id);

/** An element: properties (class, type, aria-*, on...) and children (strings become text nodes). */
export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map(
    (child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return node;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Positions from the server count code points; JavaScript's strings count UTF-16 units. */
export const points = (text) => Array.from(text);
export const slice = (letters, start, end) => letters.slice(start, end).join("");

export function say(text) {
  byId("status").textContent = text;
}

export function count(number) {
  return Number(number).toLocaleString("en-US");
}

/** 8120000 -> "8.1 M". */
export function large(number) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"]]) {
    // A no-break space: the letter stays with its number.
    if (number >= size) return `${(number / size).toFixed(number / size < 100 ? 1 : 0)}\u00a0${letter}`;
  }
  return count(number);
}

export function seconds(number) {
  return number < 0.9995 ? `${Math.round(1000 * number)} ms` : `${number.toFixed(1)} s`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}
