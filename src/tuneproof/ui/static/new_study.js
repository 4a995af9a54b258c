// A new study: a file, its columns, the audit, models and arms; the cost changes as one chooses.
import {bytes, copyable, element, get, number, post, request, say, showError, table, whileBusy} from "./dom.js";
import {showPlan} from "./plan.js";

const AUDIT_MS = 400;
const FIRST_ARMS = ["majority", "lexical", "head", "lora"];
const OF_KIND = {
  labels: ["majority", "lexical", "zero-shot", "few-shot", "embeddings", "head", "lora", "full", "lp-ft", "qlora"],
  questions: ["majority", "lexical", "zero-shot", "few-shot", "head", "lora", "full", "qlora"],
  answers: ["majority", "lexical", "zero-shot", "few-shot", "lora", "full", "qlora"],
};
const KINDS = [["labels", "a label for each text"], ["questions", "answers to questions about contexts"],
  ["answers", "a written answer to each text"]];
const ROLES = {labels: ["text", "label", "group"], questions: ["question", "context", "answers"],
  answers: ["text", "answer"]};
const TITLES = {text: "Text", label: "Label", group: "Group (items that belong together stay in one part)",
  question: "Question", context: "Context", answers: "Answers", answer: "Answer"};

export async function showNewStudy(root) {
  const catalog = await get("api/catalog");
  const form = new NewStudy(root, catalog);
  return () => form.close();
}

class NewStudy {
  constructor(root, catalog) {
    Object.assign(this, {root, catalog, file: null, errors: {}, timer: 0, asked: 0});
    this.source = element("section", {"aria-labelledby": "source"},
      element("h2", {id: "source"}, "1. Your data"), this.dropZone(), this.errorBox("file"));
    this.rest = element("div", {});
    root.append(element("header", {}, element("h1", {}, "New study")), this.source, this.rest);
  }

  close() { clearTimeout(this.timer); this.asked += 1; }

  errorBox(field) {
    return (this.errors[field] = element("div", {class: "field-error", "aria-live": "polite", "data-field": field}));
  }

  // An error at the field it belongs to; at the end of the form where there is no such field.
  showError(error) {
    if (error.status === 409) return;
    const where = String(error.where ?? "");
    const setting = where.startsWith("--set ") ? "settings" : "";
    const path = this.file && (where.includes(this.file.name) || where.includes(this.file.path)) ? "file" : "";
    const option = where.replace(/^--/, "");
    const model = this.catalog.models.some((each) => each.name === where || each.hub_id === where)
      || this.chosenModels().includes(where) ? "models" : "";
    const field = [setting, option in this.errors ? option : "", path, model].find((name) => name in this.errors);
    showError(this.errors[field ?? "start"] ?? this.errors.file, error);
  }

  clearErrors(...fields) {
    for (const field of fields.length ? fields : Object.keys(this.errors)) this.errors[field]?.replaceChildren();
  }

  dropZone() {
    const input = element("input", {type: "file", id: "dropped", accept: this.catalog.endings.join(",") + ",.gz",
      onchange: () => input.files.length && this.upload(input.files[0])});
    const path = element("input", {type: "text", id: "path", size: 40, placeholder: "/data/reviews.csv"});
    const button = element("button", {type: "button", onclick: () => whileBusy(button, this.errors.file,
      async () => this.useFile(await post("api/preview", {path: path.value})))}, "Read");
    const tasks = element("select", {id: "task"}, element("option", {value: ""}, "choose"),
      this.catalog.tasks.map((task) => element("option", {value: task.name}, `${task.name}: ${task.title}`)));
    tasks.addEventListener("change", () => tasks.value && this.useTask(tasks.value));
    const zone = element("div", {class: "drop"},
      element("p", {}, element("label", {for: "dropped"}, "Drop a file here, or choose one:"), " ", input),
      element("p", {class: "note"}, `A table (${this.catalog.endings.join(", ")}), SQuAD's JSON or messages.`,
        " The file stays on this machine."),
      element("p", {}, element("label", {for: "path"}, "Or name a file of this machine: "), path, " ", button),
      element("p", {}, element("label", {for: "task"}, "Or a public task: "), tasks));
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files.length) this.upload(event.dataTransfer.files[0]);
    });
    return zone;
  }

  async upload(file) {
    this.errors.file.replaceChildren(element("p", {role: "status"}, `Sending ${file.name}, ${bytes(file.size)}.`));
    this.rest.replaceChildren();
    try {
      this.useFile(await request(`api/files?name=${encodeURIComponent(file.name)}`, {method: "POST", body: file}));
    } catch (error) {
      showError(this.errors.file, error);
    }
  }

  useTask(name) {
    this.clearErrors("file");
    const task = {name, path: "", kind: name, columns: [], rows: [], guess: {}, suggested_name: name};
    this.useFile({...task, isTask: true});
  }

  useFile(file) {
    this.file = file;
    this.columns = {...file.guess};
    const size = file.bytes === undefined ? "" : `, ${bytes(file.bytes)}`;
    this.errors.file.replaceChildren(element("p", {role: "status"}, element("strong", {}, file.name), size));
    say(`${file.name} was read.`);
    this.kind = file.kind === "messages" ? "labels" : file.kind;
    this.showParts();
  }

  showParts() {
    const parts = [this.columnSection(), this.auditSection(), this.choiceSection()];
    this.rest.replaceChildren(...parts.filter(Boolean));
    this.changed(true);
  }

  // What the file's rows are read as, and which column is what.
  columnSection() {
    if (this.file.isTask) return null;
    const kind = element("select", {id: "kind"}, KINDS.filter(([value]) =>
      this.file.squad ? value === "questions" : this.file.kind !== "messages" || value !== "questions")
      .map(([value, text]) => element("option", {value}, text)));
    kind.value = this.kind;
    kind.addEventListener("change", () => { this.kind = kind.value; this.showParts(); });
    const hasColumns = !this.file.squad && this.file.kind !== "messages";
    this.labelCounts = element("div", {}, this.labels());
    const of = this.file.partial ? `the first ${number(this.file.read_rows)} rows` : `${number(this.file.read_rows ?? 0)} rows`;
    return element("section", {}, element("h2", {}, "2. Columns"),
      element("div", {class: "field"}, element("label", {for: "kind"}, "What is predicted"), kind),
      hasColumns ? ROLES[this.kind].map((role) => this.roleField(role))
        : element("p", {class: "note"}, this.file.squad ? "SQuAD's JSON has its own columns."
          : "Of a conversation, the last turn is what is predicted."),
      this.labelCounts,
      this.file.rows.length ? element("div", {class: "preview"}, table(`Ten rows of ${of}`,
        this.file.columns.map((column) => column.name), this.file.rows)) : null);
  }

  roleField(role) {
    const select = element("select", {id: `column-${role}`},
      element("option", {value: ""}, role === "group" ? "none" : "choose"),
      this.file.columns.map((column) => element("option", {value: column.name}, column.name)));
    select.value = this.columns[role] ?? (this.file.columns.some((column) => column.name === role) ? role : "");
    this.columns[role] = select.value;
    select.addEventListener("change", () => {
      this.columns[role] = select.value;
      this.labelCounts.replaceChildren(...this.labels());
      this.changed(true);
    });
    return element("div", {class: "field"}, element("label", {for: select.id}, TITLES[role]), select, this.errorBox(role));
  }

  labels() {
    const column = this.file.columns.find((each) => each.name === this.columns.label);
    if (this.kind !== "labels" || !column?.labels.length) return [];
    const of = this.file.partial ? ` in the first ${number(this.file.read_rows)} rows` : "";
    return [element("p", {}, `Labels${of}: `, column.labels.map(([label, count]) => `${label} (${number(count)})`).join(", "))];
  }

  auditSection() {
    this.audit = element("div", {"aria-live": "polite"});
    return element("section", {}, element("h2", {}, "3. Audit"),
      element("p", {class: "note"}, "Leaks, duplicates, conflicting labels, balance and sizes, as every study checks them."),
      this.audit);
  }

  choiceSection() {
    const kind = this.kind === "squad_v2" ? "questions" : this.kind in OF_KIND ? this.kind : "labels";
    const arms = this.catalog.methods.filter((method) => (OF_KIND[kind]).includes(method.name));
    const box = (name, value, checked, text, aside) => element("label", {}, element("input",
      {type: "checkbox", name, value, checked, onchange: () => this.changed()}),
    element("span", {}, text, aside ? element("small", {class: "aside"}, ` ${aside}`) : null));
    const millions = (count) => count ? `${number(Math.round(count / 1e6))} M, ` : "";
    const fits = (count) => 4 * (count ?? 0) <= this.catalog.memory_bytes ? "" : ", larger than this machine's memory";
    this.models = element("fieldset", {class: "field"}, element("legend", {}, "Models"),
      element("div", {class: "choices"}, box("models", "demo", false, "demo", "built in, 4 M, for a first look"),
        this.catalog.models.slice(0, 33).map((model) => box("models", model.name, false, model.name,
          `${millions(model.parameters)}${model.licence}${model.gated ? ", asks for consent on the hub" : ""}${fits(model.parameters)}`))),
      this.errorBox("models"));
    this.ownModel = element("input", {type: "text", id: "own-model", size: 36, oninput: () => this.changed()});
    this.arms = element("fieldset", {class: "field"}, element("legend", {}, "Arms"),
      element("div", {class: "choices"}, arms.map((method) =>
        box("arms", method.name, FIRST_ARMS.slice(0, 2).includes(method.name), method.name, method.title))),
      this.errorBox("arms"));
    this.seeds = element("select", {id: "seeds", onchange: () => this.changed()},
      [["0,1,2", "three: intervals include the luck of training"], ["0", "one: a quick look"],
        ["0,1,2,3,4", "five"]].map(([value, text]) => element("option", {value}, text)));
    this.settings = element("textarea", {id: "settings", rows: 3, oninput: () => this.changed(),
      placeholder: "train.epochs=2"});
    this.name = element("input", {type: "text", id: "name", size: 36, value: this.file.suggested_name,
      oninput: () => this.changed()});
    this.cost = element("div", {"aria-live": "polite"}, element("p", {}, "Choose models and arms."));
    this.recipe = element("div");
    const start = element("button", {type: "button", class: "primary", id: "start",
      onclick: () => whileBusy(start, this.errors.start, () => this.start())}, "Run the study");
    return element("section", {}, element("h2", {}, "4. Models and arms"),
      element("div", {class: "two"}, element("div", {}, this.models,
        element("div", {class: "field"}, element("label", {for: "own-model"},
          "Another model: a hub id or a folder of this machine"), this.ownModel),
        this.arms,
        element("div", {class: "field"}, element("label", {for: "seeds"}, "Seeds"), this.seeds, this.errorBox("seeds")),
        element("details", {}, element("summary", {}, "Settings"), element("div", {class: "field"},
          element("label", {for: "settings"}, "One NAME=VALUE a line (`tuneproof show settings` lists them)"),
          this.settings, this.errorBox("settings"))),
        element("div", {class: "field"}, element("label", {for: "name"}, "Name of the study"), this.name,
          this.errorBox("name")),
        this.recipe,
        element("div", {class: "actions"}, start), this.errorBox("start")),
      element("aside", {class: "cost", "aria-label": "What the study costs"}, this.cost)));
  }

  checked(name) {
    return [...this.root.querySelectorAll(`input[name=${name}]:checked`)].map((each) => each.value);
  }

  chosenModels() {
    const own = this.ownModel?.value.trim();
    return [...this.checked("models"), ...(own ? [own] : [])];
  }

  design() {
    const lines = this.settings.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const settings = Object.fromEntries(lines.map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }));
    const roles = this.file.columns.length && this.file.kind !== "messages" ? ROLES[this.kind] ?? [] : [];
    return {name: this.name.value.trim(), kind: this.kind, path: this.file.path,
      columns: Object.fromEntries(roles.map((role) => [role, this.columns[role]])),
      models: this.chosenModels(), arms: this.checked("arms"), seeds: this.seeds.value.split(",").map(Number), settings};
  }

  // After a pause in choosing: the audit where the data changed, then recipe, plan and cost.
  changed(data = false) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(data), AUDIT_MS);
  }

  async update(data) {
    const turn = (this.asked += 1);
    const design = this.design();
    if (data) {
      this.audit.replaceChildren(element("p", {role: "status"}, "Auditing …"));
      try {
        const plan = await post("api/check", {...design, models: [], arms: ["majority"], name: "audit",
          settings: {}, audit: true});
        if (turn !== this.asked) return;
        this.clearErrors();
        this.audit.replaceChildren(...auditParts(plan));
      } catch (error) {
        if (turn !== this.asked) return;
        this.audit.replaceChildren();
        this.showError(error);
        return;
      }
    }
    this.clearErrors("models", "arms", "seeds", "settings", "name", "start");
    try {
      const {yaml, command} = await post("api/recipe", design);
      if (turn !== this.asked) return;
      this.recipe.replaceChildren(copyable("The recipe", yaml), copyable("The command that does the same", command));
      this.cost.replaceChildren(element("p", {role: "status"}, "Predicting time and memory …"));
      const plan = await post("api/check", design);
      if (turn === this.asked) this.cost.replaceChildren(...showPlan(plan));
    } catch (error) {
      if (turn !== this.asked) return;
      this.cost.replaceChildren(element("p", {}, "No prediction yet."));
      this.showError(error);
    }
  }

  async start() {
    this.asked += 1;
    try {
      const {study} = await post("api/studies", this.design());
      location.hash = `#/study/${encodeURIComponent(study)}`;
    } catch (error) {
      this.showError(error);
    }
  }
}

export function auditParts(plan) {
  const sizes = Object.entries(plan.sizes).map(([part, count]) => `${part} ${number(count)}`).join(", ");
  const dropped = Object.entries(plan.dropped).map(([reason, count]) => `${number(count)} dropped: ${reason}`);
  const labels = Object.entries(plan.labels.train ?? {}).map(([label, count]) => `${label} (${number(count)})`);
  return [
    element("p", {}, `Items: ${sizes || "unknown"}.`),
    labels.length ? element("p", {}, `Labels in train: ${labels.join(", ")}.`) : null,
    ...dropped.map((line) => element("p", {}, line)),
    ...plan.findings.map((finding) => element("p", {class: finding.level === "note" ? "note" : "warning"},
      finding.message)),
    plan.findings.some((finding) => finding.level !== "note") ? null : element("p", {}, "Nothing suspicious."),
  ].filter(Boolean);
}
