// Elements and requests. Everything that comes from data or models is set as text, never as HTML.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export class ApiError extends Error {
  constructor(error, status) {
    super([error.where && `${error.where}:`, error.problem, error.allowed, error.do].filter(Boolean).join(" "));
    Object.assign(this, error, {status});
  }
}

export async function request(path, options = {}) {
  let response, value;
  try {
    response = await fetch(path, options);
    value = await response.json();
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new ApiError({problem: "The page's server does not answer. Is `tuneproof ui` still running?"}, 0);
  }
  if (!response.ok) throw new ApiError(value.error, response.status);
  return value;
}

// Of this page alone: a request takes the place of older ones of the same tab. (Plain http from afar has no randomUUID.)
export const TAB = crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint32Array(4))].join("-");

export const get = (path) => request(path);
export const post = (path, value = {}) =>
  request(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(value)});

// Requests of a person: the button waits, and an error appears in `box`.
export async function whileBusy(button, box, work) {
  button.disabled = true;
  box.replaceChildren();
  try {
    return await work();
  } catch (error) {
    showError(box, error);
  } finally {
    button.disabled = false;
  }
}

export function showError(box, error) {
  if (!(error instanceof ApiError)) console.error(error);
  const rest = [error.allowed, error.do].filter(Boolean).join(" ");
  box.replaceChildren(element("p", {class: "error", role: "alert"},
    error.where ? element("strong", {}, `${error.where}: `) : null,
    error.problem ?? String(error), rest ? element("span", {class: "rest-of-error"}, ` ${rest}`) : null));
}

export const say = (text) => { document.getElementById("status").textContent = text; };

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function bytes(count) {
  if (count === null || count === undefined) return "unknown";
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, count)) / 10)));
  const value = count / 1024 ** power;
  return `${value >= 100 ? Math.round(value) : value.toPrecision(3)} ${["bytes", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export const number = (count) => count.toLocaleString("en-US");
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

export function table(caption, header, rows) {
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
    element("table", {}, element("caption", {}, caption),
      element("thead", {}, element("tr", {}, header.map((cell) => element("th", {scope: "col"}, cell)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell, i) =>
        i === 0 ? element("th", {scope: "row"}, cell) : element("td", {}, cell)))))));
}

export function copyable(title, text) {
  const code = element("code", {}, text);
  const button = element("button", {type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch { // plain http from another machine has no clipboard
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: copy it with the keyboard";
    }
    say(button.textContent);
  }}, "Copy");
  return element("details", {class: "copyable"}, element("summary", {}, title),
    element("pre", {tabindex: "0"}, code), button);
}
