// Suspected label errors in a table; a new study on the labels that were put right.
import {element, number, post, whileBusy} from "./dom.js";
import {postAndWait} from "./delivering.js";

const FIRST_ROWS = 20; // the others on request
const studyLink = (name) => element("a", {href: `#/study/${encodeURIComponent(name)}`}, name);

export function labelErrorSection(view) {
  const box = element("div"), errors = element("div"), progress = element("p", {class: "note", role: "status"});
  const {corrects, corrected_in: corrected, why_not_correctable: reason} = view.study;
  const button = element("button", {type: "button", onclick: () => whileBusy(button, errors, async () => {
    progress.textContent = "Every label is judged by models that did not see it. This can take minutes.";
    try {
      box.replaceChildren(...suspectParts(view, await postAndWait(`${view.path}/label-errors`, {}, view)));
    } finally {
      progress.textContent = "";
    }
  })}, "Find suspected label errors");
  return element("section", {}, element("h2", {}, "Suspected label errors"),
    corrects ? element("p", {}, "This study corrects ", number(corrects.items), " labels of ", studyLink(corrects.study), ".") : null,
    corrected.length ? element("p", {}, "On corrected labels: ",
      corrected.flatMap((name, i) => i ? [", ", studyLink(name)] : [studyLink(name)]), ".") : null,
    reason ? element("p", {class: "note"}, reason) : null,
    element("div", {class: "actions"}, button), progress, errors, box);
}

function suspectParts(view, {sentences, rows, total, labels}) {
  const parts = sentences.map((sentence) => element("p", {class: "note"}, sentence));
  if (!rows.length) return [...parts, element("p", {}, "No label is suspected.")];
  const selects = rows.map((row, i) => element("select", {"aria-label": `Right label of item ${i + 1}`},
    element("option", {value: ""}, "leave as it is"), labels.filter((label) => label !== row.label).map((label) =>
      element("option", {value: label}, label === row.suggested ? `${label} (suggested)` : label))));
  const cell = (title, ...content) => element("td", {"data-k": title}, content);
  const body = rows.map((row, i) => element("tr", {hidden: i >= FIRST_ROWS},
    element("td", {class: "text"}, row.text, element("span", {class: "id"}, `${row.id}, ${row.part}; ${row.why}`)),
    cell("Label", row.label), cell("Suggested", row.suggested), cell("Score", row.score.toFixed(3)),
    cell("Right label", selects[i])));
  const header = ["Text", "Label", "Suggested", "Score", "Right label"];
  const left = total > rows.length ? ` These are the ${number(rows.length)} most suspect of ${number(total)}.` : "";
  const more = rows.length <= FIRST_ROWS ? null : element("button", {type: "button", onclick: () => {
    for (const line of body) line.hidden = false;
    selects[FIRST_ROWS].focus();
    more.remove();
  }}, `Show all ${number(rows.length)}`);
  return [...parts,
    element("p", {class: "note"}, `The score is the probability of the item's own label: the lower, the more suspect.${left}`),
    element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Suspected items"},
      element("table", {class: "flips"}, element("caption", {}, "Suspected items"),
        element("thead", {}, element("tr", {}, header.map((title) => element("th", {scope: "col"}, title)))),
        element("tbody", {}, body))), more,
    view.study.why_not_correctable ? null : againPart(view, rows, selects)].filter(Boolean);
}

function againPart(view, rows, selects) {
  const errors = element("div"), result = element("div", {"aria-live": "polite"});
  const chosen = () => selects.flatMap((select, i) => select.value ? [[rows[i].id, select.value]] : []);
  const button = element("button", {type: "button", class: "primary", disabled: true,
    onclick: () => whileBusy(button, errors, async () => {
      const {study, items} = await post(`${view.path}/corrected`, {corrections: Object.fromEntries(chosen())});
      result.replaceChildren(element("p", {}, studyLink(study), ` has started: ${view.name} with ${number(items)} `,
        `corrected ${items === 1 ? "label" : "labels"}. Its items are in the same parts, so both can be compared.`));
    })});
  const count = () => {
    button.disabled = chosen().length === 0;
    button.textContent = `Run again with ${number(chosen().length)} ${chosen().length === 1 ? "correction" : "corrections"}`;
  };
  for (const select of selects) select.addEventListener("change", count);
  count();
  return element("div", {}, element("div", {class: "actions"}, button), errors, result);
}
