// Try a finished arm: texts in, labels with probabilities out, and the training items that are most like a text.
import {element, get, number, percent, post, table, whileBusy} from "./dom.js";
import {abstainSelect, deliverSections, field, labelFileSection} from "./delivering.js";
import {labelErrorSection} from "./correcting.js";

const OPEN_TABLES = 5; // of more texts, the probabilities are folded
const LABELS = 10; // with probabilities of their own

export async function showTrying(root, name) {
  const path = `api/studies/${encodeURIComponent(name)}`;
  const study = await get(`${path}/trying`);
  if (!study.arms.length) {
    root.append(element("p", {}, "No arm has finished yet. An arm can be tried here as soon as it has."));
    return null;
  }
  const arm = element("select", {id: "arm"}, study.arms.map((each) =>
    element("option", {value: each.folder}, armText(each, study.metric))));
  const about = element("p", {class: "note", role: "status"});
  const view = {name, path, study, open: true, arm: () => study.arms[arm.selectedIndex],
    armPath: () => `${path}/arms/${encodeURIComponent(arm.value)}`};
  const describe = () => { about.textContent = scoreText(view.arm(), study.metric); };
  arm.addEventListener("change", describe);
  describe();
  root.append(
    element("section", {}, element("h2", {}, "Try an arm"), field("arm", "Arm", arm), about, tryForm(view)),
    labelFileSection(view), ...[study.kind === "labels" ? labelErrorSection(view) : null].filter(Boolean),
    ...deliverSections(view, arm));
  return () => { view.open = false; };
}

const valueText = ({low, high}, value) => low >= 0 && high <= 1 ? percent(value) : value.toPrecision(3);

function armText({label, score, recommended}, metric) {
  const text = score ? `: ${metric} ${valueText(score, score.value)}` : "";
  return `${label}${text}${recommended ? " (recommended)" : ""}`;
}

function scoreText({score, recommended}, metric) {
  const advice = recommended ? "The recommended arm: " : "";
  if (!score) return `${advice}no score on test.`;
  const [value, low, high] = [score.value, score.low, score.high].map((each) => valueText(score, each));
  return `${advice}${metric} on ${number(score.n)} test items: ${value}, interval ${low} to ${high}.`;
}

function tryForm(view) {
  const {kind, max_items: most} = view.study;
  const inputs = kind === "questions"
    ? [field("question", "Question", element("input", {id: "question", type: "text", size: 60})),
      field("context", "Context that holds the answer", element("textarea", {id: "context"}))]
    : [field("texts", `Texts, one a line, at most ${number(most)}`, element("textarea", {id: "texts"}))];
  const share = kind === "labels" ? abstainSelect("abstain") : null;
  const value = (id) => form.querySelector(`#${id}`).value;
  const results = element("div", {"aria-live": "polite"});
  const errors = element("div");
  const button = element("button", {type: "submit", class: "primary"}, kind === "labels" ? "Predict" : "Answer");
  const form = element("form", {onsubmit: (event) => {
    event.preventDefault();
    whileBusy(button, errors, async () => {
      const texts = kind === "questions" ? [`${value("question").trim()}\n${value("context").trim()}`]
        : value("texts").split("\n").map((line) => line.trim()).filter(Boolean);
      const body = kind === "questions" ? {questions: [value("question")], contexts: [value("context")]} : {texts};
      if (share && value("abstain")) body.abstain = Number(value("abstain"));
      results.replaceChildren(element("p", {class: "note"}, "The arm predicts. Its first answer waits until its model has loaded."));
      try {
        const {predictions} = await post(`${view.armPath()}/predict`, body);
        const show = kind === "labels" ? labelParts : answerParts;
        results.replaceChildren(element("ol", {class: "studies"}, predictions.map((row, i) =>
          element("li", {class: "study"}, element("p", {}, texts[i]), show(row, predictions.length <= OPEN_TABLES),
            row.truncated ? element("p", {class: "warning"}, "The text is longer than the arm reads, so it was cut.") : null,
            nearestPart(view, texts[i])))));
      } catch (error) {
        results.replaceChildren();
        throw error;
      }
    });
  }}, inputs, share, element("div", {class: "actions"}, button));
  return element("div", {}, form, errors, results);
}

function labelParts(row, open) {
  const shares = Object.entries(row.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
  let verdict = row.label;
  if (row.label === null && row.label_set) verdict = "Abstains: the arm is not sure enough.";
  else if (row.label === null) verdict = "No label: what the model wrote names none.";
  const parts = [element("p", {}, element("strong", {}, verdict))];
  if (row.label_set) parts.push(element("p", {class: "note"}, "May be right, by the dev items: ", row.label_set.join(", ") || "none"));
  if (!shares.length) return [...parts, element("p", {class: "note"}, "This arm gives no probabilities.")];
  const rows = shares.slice(0, LABELS).map(([label, share]) => [label, percent(share),
    element("div", {class: "strip-row"}, element("meter",
      {class: "bar", min: 0, max: 1, value: share, "aria-label": `Probability of ${label}`}))]);
  const more = shares.length > LABELS ? element("p", {class: "note"}, `${shares.length - LABELS} less probable labels are left out.`) : null;
  const probabilities = [table("Probabilities", ["Label", "Probability", ""], rows), more];
  parts.push(...(open ? probabilities : [element("details", {}, element("summary", {}, "Probabilities"), probabilities)]));
  return parts.filter(Boolean);
}

function answerParts(row) {
  return [element("p", {}, element("strong", {}, row.answer || "No answer")),
    element("p", {class: "note"}, `Score of the answer ${row.answer_score.toPrecision(3)}, of no answer ${row.null_score.toPrecision(3)}`)];
}

function nearestPart(view, text) {
  const box = element("div", {"aria-live": "polite"});
  const button = element("button", {type: "button", onclick: () => whileBusy(button, box, async () => {
    box.replaceChildren(element("p", {class: "note"}, "The first time, all training items are read."));
    const {items, compared, of} = await post(`${view.path}/nearest`, {text});
    const sample = compared < of ? ` Compared with a sample of ${number(compared)} of ${number(of)} items.` : "";
    const note = element("p", {class: "note"}, "By the cosine of TF-IDF weights of their words, which the arm need not have looked at.", sample);
    box.replaceChildren(...items.length ? [table("The most similar training items", ["Similarity", "Label", "Text"],
      items.map((item) => [item.similarity.toFixed(2), item.label || "no answer", element("span", {class: "examples"}, item.text)])), note]
      : [element("p", {}, "No training item shares a word with this text.", sample)]);
  })}, "Training items like this");
  return element("div", {}, button, box);
}
