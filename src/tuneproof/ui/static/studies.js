// The list of studies in the folder, each with its state and verdict.
import {duration, element, get, percent, showError} from "./dom.js";

export const STATES = {
  running: "running", stopped: "stopped", finished: "finished", failed: "failed", unreadable: "cannot be read",
};
const INTERVAL_MS = 3000;

function line(study) {
  const address = `#/study/${encodeURIComponent(study.name)}`;
  const progress = study.state === "running" && study.share !== null && study.share !== undefined
    ? `${percent(study.share, 0)} done, ${duration(study.left_s)} left` : "";
  return element("li", {class: `study ${study.state}`},
    element("a", {href: address, class: "name"}, study.name),
    element("span", {class: `state ${study.state}`}, STATES[study.state]),
    element("span", {class: "aside"}, study.arms ? `${study.arms_done} of ${study.arms} arms` : "", " ", progress),
    element("p", {}, study.verdict || study.error || ""));
}

export async function showStudies(root) {
  const list = element("ul", {class: "studies"});
  const count = element("p", {class: "note"});
  root.append(
    element("header", {}, element("h1", {}, "Studies"),
      element("p", {class: "note"}, element("a", {href: "#/new", class: "button"}, "New study"))),
    list, count);
  const offline = element("div");
  list.before(offline);
  let before = "", lines = new Map();
  async function update() {
    const answer = await get("api/studies");
    offline.replaceChildren();
    const text = JSON.stringify(answer);
    if (text === before) return;
    before = text;
    const focused = document.activeElement?.closest(".studies a")?.textContent;
    lines = new Map(answer.studies.map((study) => {  // a line that did not change stays
      const values = JSON.stringify({...study, changed_at: 0}), old = lines.get(study.name);
      return [study.name, old?.values === values ? old : {values, item: line(study)}];
    }));
    list.replaceChildren(...[...lines.values()].map(({item}) => item));
    lines.get(focused)?.item.querySelector("a").focus();
    const more = answer.left_out ? ` ${answer.left_out} older ones are left out.` : "";
    count.textContent = answer.studies.length
      ? `In ${answer.folder}.${more}`
      : `There is no study in ${answer.folder} yet. Begin with a file of yours, or with the built-in demo.`;
  }
  await update();
  const timer = setInterval(() => update().catch((error) => {
    if (!offline.childElementCount) showError(offline, error);
  }), INTERVAL_MS);
  return () => clearInterval(timer);
}
