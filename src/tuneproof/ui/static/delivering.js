// Label a file and download it; export an arm or write the folder of a publication, with the gate's outcome.
import {bytes, copyable, element, get, number, percent, post, request, whileBusy} from "./dom.js";

const FORMATS = [["merged", "", "A whole model of transformers, float32"], ["onnx", "float32", "ONNX, float32"],
  ["onnx", "int8", "ONNX, int8"], ["onnx", "int8-blocks", "ONNX, int8 in blocks"]];
const ERRORS = [["", "No: every text gets a label"], ["0.01", "Yes: at most 1 % of the labels wrong"],
  ["0.05", "Yes: at most 5 % of the labels wrong"], ["0.1", "Yes: at most 10 % of the labels wrong"]];

export const field = (id, title, control) =>
  element("div", {class: "field"}, element("label", {for: id}, title), control);

export const abstainSelect = (id) => field(id, "Abstain where the arm is not sure",
  element("select", {id}, ERRORS.map(([value, text]) => element("option", {value}, text))));

// Work that may take minutes: the server answers {waiting} until it is done.
export async function postAndWait(path, value, view) {
  let answer = await post(path, value);
  while (answer.waiting && view.open) answer = await get(`api/waiting/${answer.waiting}`);
  return view.open ? answer : new Promise(() => {});
}

export function labelFileSection(view) {
  const {kind, text_column: own} = view.study;
  const errors = element("div"), progress = element("p", {class: "note", role: "status"});
  const result = element("div", {"aria-live": "polite"});
  const columns = element("select", {id: "text-column"});
  const columnField = element("div", {hidden: true}, field("text-column", "Column of the texts", columns));
  const share = kind === "labels" ? abstainSelect("file-abstain") : null;
  let file = null;
  const input = element("input", {type: "file", id: "new-file", onchange: () => input.files.length && whileBusy(button, errors, async () => {
    file = null;
    result.replaceChildren();
    progress.textContent = `Sending ${input.files[0].name}, ${bytes(input.files[0].size)}.`;
    try {
      const address = `api/files?name=${encodeURIComponent(input.files[0].name)}`;
      file = await request(address, {method: "POST", body: input.files[0]});
      progress.textContent = `${file.name} was read.`;
      const names = file.columns.map((column) => column.name);
      columns.replaceChildren(...names.map((name) => element("option", {}, name)));
      columns.value = names.includes(own) ? own : file.guess?.text ?? names[0] ?? "";
      columnField.hidden = kind === "questions" || !names.length;
    } catch (error) {
      progress.textContent = "";
      throw error;
    }
  })});
  const button = element("button", {type: "button", class: "primary", onclick: () => whileBusy(button, errors, async () => {
    result.replaceChildren();
    progress.textContent = "The arm reads the file. This can take minutes.";
    try {
      const abstain = share && share.querySelector("select").value;
      const body = {path: file?.path ?? "", text: columnField.hidden ? "" : columns.value, abstain: abstain ? Number(abstain) : null};
      result.replaceChildren(...labelledParts(await postAndWait(`${view.armPath()}/label-file`, body, view)));
    } finally {
      progress.textContent = "";
    }
  })}, kind === "labels" ? "Label the file" : "Answer the file");
  return element("section", {}, element("h2", {}, kind === "labels" ? "Label a file" : "Answer a file"),
    element("p", {class: "note"}, kind === "questions" ? "A table with the columns of question and context as in the study, or SQuAD's JSON."
      : "A table with a column of texts. The result has its columns, and those of the predictions."),
    field("new-file", "File", input), columnField, share, element("div", {class: "actions"}, button),
    element("p", {class: "note"}, "Stay on this page until the download is offered: leaving it loses the result."), progress, errors, result);
}

function labelledParts({rows, predicted, name, download}) {
  const counts = Object.entries(predicted).map(([label, count]) => `${label || "nothing (abstained or without a label)"} ${number(count)}`);
  return [element("p", {}, `${number(rows)} rows. `, counts.length ? `Predicted: ${counts.join(", ")}.` : ""),
    element("p", {}, element("a", {class: "button", href: download, download: name}, `Download ${name}`))];
}

export function deliverSections(view, armSelect) {
  const note = element("p", {class: "note", role: "status"});
  const parts = [exportForm(view), publishForm(view)];
  const update = () => {
    const {deliverable, label} = view.arm();
    note.textContent = deliverable ? `Of the arm ${label}, chosen above.` : `${label} has no weights of its own that could be delivered.`;
    for (const part of parts) part.hidden = !deliverable;
  };
  armSelect.addEventListener("change", update);
  update();
  return [element("section", {}, element("h2", {}, "Deliver"), note, ...parts)];
}

// A button that writes something, and what the gate said of it.
function gatedButton(view, title, progressText, work, outcome) {
  const errors = element("div"), result = element("div", {"aria-live": "polite"});
  const progress = element("p", {class: "note", role: "status"});
  const button = element("button", {type: "button", onclick: () => whileBusy(button, errors, async () => {
    result.replaceChildren();
    progress.textContent = progressText;
    try {
      result.replaceChildren(...outcome(await work()));
    } catch (error) {
      if (error.status === 422) result.replaceChildren(element("p", {}, element("strong", {}, "Refused. "), "Nothing was written."));
      throw error;
    } finally {
      progress.textContent = "";
    }
  })}, title);
  return [element("div", {class: "actions"}, button), progress, result, errors];
}

function exportForm(view) {
  const select = element("select", {id: "format"}, FORMATS.map(([, , title], i) => element("option", {value: String(i)}, title)));
  const margin = element("input", {id: "margin", type: "number", min: "0", max: "100", step: "any", value: "1"});
  const send = () => {
    const [format, precision] = FORMATS[select.selectedIndex];
    return postAndWait(`${view.armPath()}/export`, {format, precision, margin: Number(margin.value)}, view);
  };
  return element("div", {}, element("h3", {}, "Export"),
    element("p", {class: "note"}, "The export predicts every test item again. It is written only where its predictions are the ",
      "arm's, or in fewer bits where it is shown to be as good. For GGUF use the command `tuneproof export ARM --format gguf`."),
    field("format", "Format", select), field("margin", "In fewer bits it may be worse by, in points", margin),
    ...gatedButton(view, "Export", "The export is written and predicts the test items. This can take minutes.", send, exportParts));
}

function exportParts({folder, parity, size_bytes: size, single_s: single, sentence}) {
  const value = (number_) => parity.in_points ? percent(number_) : number_.toPrecision(3);
  return [element("p", {}, element("strong", {}, "Passed. "), sentence), facts([
    ["Items compared", number(parity.items)], ["Same prediction", number(parity.equal)],
    ["Largest difference", parity.difference.toExponential(1)],
    [`${parity.metric}, arm → export`, `${value(parity.arm_value)} → ${value(parity.value)}`],
    ["Size", bytes(size)], single ? ["One item takes", `${(1000 * single).toPrecision(3)} ms`] : null]), folderPart(folder)];
}

function publishForm(view) {
  const text = (id, title, placeholder) => [id, field(id, title, element("input", {id, type: "text", size: 40, placeholder}))];
  const check = (id, title) => [id, element("p", {}, element("label", {}, element("input", {type: "checkbox", id}), title))];
  const fields = Object.fromEntries([text("repo", "Repository on the Hugging Face hub", "OWNER/NAME"),
    text("base", "The base model on the hub, where the study loaded it from a folder", "OWNER/NAME"),
    text("licence", "Licence, where it is not the base's", "apache-2.0"),
    check("merged", "Merge the adapter or head into its base"), check("report", "Attach the study's report")]);
  const input = (id) => fields[id].querySelector("input");
  const send = () => postAndWait(`${view.armPath()}/publish`, {...Object.fromEntries(["repo", "base", "licence"].map((id) => [id, input(id).value])),
    merged: input("merged").checked, report: input("report").checked}, view);
  return element("div", {}, element("h3", {}, "Publish"),
    element("p", {class: "note"}, "This writes the folder as it would be uploaded, once its card's own program has reproduced the study's ",
      "predictions in a fresh process. Uploading needs a token of the hub, so it is left to the command line."),
    Object.values(fields),
    ...gatedButton(view, "Write the folder", "The folder is written, loaded in a fresh process and compared. This can take minutes.", send, publishParts));
}

function publishParts({items, difference, tolerance, unit, merged, folder, upload_command: command}) {
  return [element("p", {}, element("strong", {}, "Passed. "), "Loaded in a fresh process, it gives the predictions of the study."), facts([
    ["Items compared", number(items)], ["Largest difference", `${difference.toExponential(1)} ${unit}`],
    ["Allowed", `${tolerance.toExponential(1)} ${unit}`],
    merged === null ? null : ["Merged against adapter", merged.toExponential(1)]]), folderPart(folder),
  copyable("The command that uploads it", command)];
}

const facts = (rows) => element("dl", {class: "facts"}, rows.filter(Boolean).map(([title, text]) =>
  element("div", {}, element("dt", {}, title), element("dd", {}, text))));
const folderPart = (folder) => element("p", {class: "examples"}, "In ", element("code", {}, folder));
