// Which view an address shows: #/, #/new, #/study/NAME, #/study/NAME/report, #/study/NAME/try.
import {element, showError} from "./dom.js";
import {showStudies} from "./studies.js";
import {showNewStudy} from "./new_study.js";
import {showBoard} from "./board.js";
import {showReport} from "./reading.js";
import {showTrying} from "./trying.js";

const VIEWS = {report: showReport, try: showTrying};
let leave = () => {};

export function studyHead(name, here) {
  const base = `#/study/${encodeURIComponent(name)}`;
  const tabs = [["", "Board"], ["report", "Report"], ["try", "Try and deliver"]];
  return element("header", {},
    element("p", {class: "question"}, "Study"), element("h1", {}, name),
    element("ul", {class: "tabs"}, tabs.map(([part, title]) => element("li", {}, element("a",
      {href: part ? `${base}/${part}` : base, "aria-current": part === here ? "page" : null}, title)))));
}

async function show() {
  leave();
  leave = () => {};
  const view = document.getElementById("view");
  const [, page = "", name = "", part = ""] = location.hash.split("/").map(decodeURIComponent);
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    link.toggleAttribute("aria-current", link.dataset.page === page);
  }
  view.replaceChildren();
  document.title = ["tuneproof", name, part].filter(Boolean).join(" · ");
  try {
    if (page === "study") view.append(studyHead(name, part));
    const body = view.appendChild(element("div"));
    if (page === "new") leave = (await showNewStudy(body)) ?? leave;
    else if (page === "study") leave = (await (VIEWS[part] ?? showBoard)(body, name)) ?? leave;
    else leave = (await showStudies(body)) ?? leave;
  } catch (error) {
    showError(view.appendChild(element("div")), error);
  }
}

addEventListener("hashchange", () => { show().then(() => document.getElementById("view").focus()); });
show();
