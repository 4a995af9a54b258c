// A new study: a file, its columns, the audit, models and arms; the cost changes as one chooses.
import {TAB, bytes, copyable, element, get, number, post, request, say, showError, table, whileBusy} from "./dom.js";
import {auditParts, showPlan} from "./plan.js";

const PAUSE_MS = 400; // in choosing, before anything is checked
const FIRST_ARMS = ["majority", "lexical"];
const ENCODINGS = ["utf-8", "utf-16", "windows-1252", "iso-8859-1", "shift_jis", "gb18030"];
const DELIMITERS = [["", "by the file's ending"], [",", "comma"], [";", "semicolon"], ["\t", "tab"], ["|", "bar |"]];
const QUOTES = [["", "enclose cells, and no cell may look like rows"], ["true", "enclose cells"],
  ["false", "are ordinary characters"]];
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

const optionsOf = (choices) => choices.map(([value, text]) => element("option", {value}, text));

class NewStudy {
  constructor(root, catalog) {
    Object.assign(this, {root, catalog, file: null, chosen: null, errors: {}, unreadPath: "",
      timers: {audit: 0, cost: 0}, turns: {file: 0, audit: 0, cost: 0}});
    this.fileStatus = element("div", {role: "status"});
    this.source = element("section", {"aria-labelledby": "source"}, element("h2", {id: "source"}, "1. Your data"),
      this.dropZone(), this.fileStatus, this.errorBox("file"), this.readingBox());
    this.rest = element("div", {});
    root.append(element("header", {}, element("h1", {}, "New study")), this.source, this.rest);
  }

  // Answers that are still to come are not used.
  close() {
    for (const timer of Object.values(this.timers)) clearTimeout(timer);
    for (const name of Object.keys(this.turns)) this.turns[name] += 1;
  }

  forgetFile() {
    this.close();
    Object.assign(this, {file: null, unreadPath: ""});
    for (const box of [this.rest, this.fileStatus, this.errors.file]) box.replaceChildren();
    for (const input of Object.values(this.reading)) input.value = "";
    this.readingDetails.hidden = true;
    this.readingDetails.open = false;
  }

  errorBox(field) {
    return (this.errors[field] = element("div", {class: "field-error", "aria-live": "polite", "data-field": field}));
  }

  // An error at the field it belongs to, else at `otherwise`.
  showError(error, otherwise = "start") {
    if (error.code === "superseded") return;
    const where = String(error.where ?? "");
    const setting = where.startsWith("--set ") ? "settings" : "";
    const isFile = [this.file?.name, this.file?.path].some((text) => text && where.includes(text));
    const option = where.replace(/^--/, "");
    const model = this.catalog.models.some((each) => each.name === where || each.hub_id === where)
      || this.chosenModels().includes(where) ? "models" : "";
    const field = [setting, option in this.errors ? option : "", isFile || option in this.reading ? "file" : "", model]
      .find((name) => name in this.errors);
    showError(this.errors[field ?? otherwise] ?? this.errors.file, error);
  }

  clearErrors(...fields) {
    for (const field of fields.length ? fields : Object.keys(this.errors)) this.errors[field]?.replaceChildren();
  }

  dropZone() {
    const input = element("input", {type: "file", id: "dropped", accept: this.catalog.endings.join(",") + ",.gz",
      onchange: () => input.files.length && this.upload(input.files[0])});
    const path = element("input", {type: "text", id: "path", size: 40, placeholder: "/data/reviews.csv"});
    const button = element("button", {type: "button", onclick: () => whileBusy(button, this.errors.file, () => {
      this.forgetFile();
      return this.read(() => post("api/preview", {path: path.value}), path.value.trim());
    })}, "Read");
    const tasks = this.tasks = element("select", {id: "task"}, element("option", {value: ""}, "choose"),
      this.catalog.tasks.map((task) => element("option", {value: task.name}, `${task.name}: ${task.title}`)));
    tasks.addEventListener("change", () => tasks.value && this.useTask(tasks.value));
    const zone = element("div", {class: "drop"},
      element("p", {}, element("label", {for: "dropped"}, "Drop a file here, or choose one:"), " ", input),
      element("p", {class: "note"}, `A table (${this.catalog.endings.join(", ")}), SQuAD's JSON or messages.`,
        " The file stays on this machine."),
      element("p", {}, element("label", {for: "path"}, "Or name a file of this machine: "), path, " ", button),
      element("p", {}, element("label", {for: "task"}, "Or a public task: "), tasks), this.hubBox());
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files.length) this.upload(event.dataTransfer.files[0]);
    });
    return zone;
  }

  // Any data set on the hub, at a commit.
  hubBox() {
    const inputs = ["hub", "revision", "config"].map((id) => element("input", {type: "text", id, size: 28}));
    const [hub, revision, config] = inputs;
    const titles = ["Data set (owner/name)", "Commit", "Configuration, if it has several"];
    const button = element("button", {type: "button", onclick: () => whileBusy(button, this.errors.revision, () => {
      this.forgetFile();
      const wish = {hub: hub.value.trim(), revision: revision.value.trim(), config: config.value.trim()};
      return this.read(() => post("api/preview", wish));
    })}, "Download and read");
    return element("details", {}, element("summary", {}, "Or a data set on the hub"),
      inputs.map((input, i) => element("p", {}, element("label", {for: input.id}, `${titles[i]}: `), input)),
      this.errorBox("revision"), button);
  }

  // How a file is read that is not as most are.
  readingBox() {
    const encodings = element("datalist", {id: "encodings"}, ENCODINGS.map((value) => element("option", {value})));
    const text = (id, more = {}) => element("input", {type: "text", id, size: 16, ...more});
    this.reading = {encoding: text("encoding", {list: "encodings", placeholder: "utf-8"}),
      delimiter: element("select", {id: "delimiter"}, optionsOf(DELIMITERS)),
      quotes: element("select", {id: "quotes"}, optionsOf(QUOTES)),
      sheet: text("sheet", {placeholder: "the first"})};
    const titles = {encoding: "Encoding of a text file", delimiter: "Sign between the cells",
      quotes: "Quotation marks", sheet: "Sheet of a workbook"};
    const button = element("button", {type: "button", onclick: () => whileBusy(button, this.errors.file, () => {
      const path = this.file?.path || this.unreadPath, options = this.readingOptions();
      return this.read(() => post("api/preview", {path, ...options}), path, options);
    })}, "Read again");
    this.readingDetails = element("details", {hidden: true}, element("summary", {}, "How the file is read"), encodings,
      Object.entries(this.reading).map(([name, input]) => element("div", {class: "field"},
        element("label", {for: name}, titles[name]), input)),
      element("div", {class: "actions"}, button));
    return this.readingDetails;
  }

  readingOptions() {
    return Object.fromEntries(Object.entries(this.reading)
      .map(([name, input]) => [name, input.type === "text" ? input.value.trim() : input.value])
      .filter(([, value]) => value));
  }

  upload(file) {
    this.forgetFile();
    this.fileStatus.replaceChildren(element("p", {}, `Sending ${file.name}, ${bytes(file.size)}.`));
    const address = `api/files?name=${encodeURIComponent(file.name)}`;
    return this.read(() => request(address, {method: "POST", body: file}));
  }

  // Where a file cannot be read, its path stays: it can be read in another way.
  async read(request, path = "", options = {}) {
    const turn = (this.turns.file += 1);
    try {
      const file = await request();
      if (turn === this.turns.file) this.useFile(file, options);
    } catch (error) {
      if (turn !== this.turns.file) return;
      if (!this.file) this.fileStatus.replaceChildren();
      this.unreadPath = error.path || path;
      this.readingDetails.hidden = !this.unreadPath;
      this.readingDetails.open = Boolean(this.unreadPath);
      this.showError(error, "file");
    }
  }

  useTask(name) {
    this.forgetFile();
    const task = {name, path: "", kind: name, columns: [], rows: [], guess: {}, suggested_name: name};
    this.useFile({...task, isTask: true});
  }

  useFile(file, options = {}) {
    this.chosen = this.file?.path && this.file.path === file.path ? this.choices() : null;
    this.file = {...file, options};
    this.columns = {...file.guess};
    const size = file.bytes === undefined ? "" : `, ${bytes(file.bytes)}`;
    this.errors.file.replaceChildren();
    this.fileStatus.replaceChildren(element("p", {}, element("strong", {}, file.name), size));
    if (!file.isTask) this.tasks.value = "";
    this.readingDetails.hidden = Boolean(file.isTask);
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
    kind.addEventListener("change", () => {
      this.chosen = this.choices();
      this.kind = kind.value;
      this.showParts();
    });
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
    const more = column.more_labels ? `, and ${number(column.more_labels)} more` : "";
    return [element("p", {}, `Labels${of}: `,
      column.labels.map(([label, count]) => `${label} (${number(count)})`).join(", "), more)];
  }

  auditSection() {
    this.audit = element("div", {"aria-live": "polite"});
    return element("section", {}, element("h2", {}, "3. Audit"),
      element("p", {class: "note"}, "Leaks, duplicates, conflicting labels, balance and sizes, as every study checks them."),
      this.audit);
  }

  choiceBox(name, value, checked, aside) {
    return element("label", {}, element("input", {type: "checkbox", name, value, checked, onchange: () => this.changed()}),
      element("span", {}, value, aside ? element("small", {class: "aside"}, ` ${aside}`) : null));
  }

  // Weights in float32 are the most that is downloaded.
  modelText({parameters, licence, gated}) {
    const consent = gated ? `${licence}, asks for consent on the hub` : licence;
    if (!parameters) return `${consent}, size unknown: it may not fit this machine's memory`;
    const fits = 4 * parameters <= this.catalog.memory_bytes ? "" : ", larger than this machine's memory";
    return `${number(Math.round(parameters / 1e6))} M, ${consent}, up to ${bytes(4 * parameters)} to download${fits}`;
  }

  modelField(chosen) {
    const box = (name, text) => this.choiceBox("models", name, chosen.includes(name), text);
    const boxes = [box("demo", "built in, 4 M, for a first look"),
      ...this.catalog.models.filter(({name}) => name !== "demo").map((model) => box(model.name, this.modelText(model)))];
    const search = element("input", {type: "search", id: "find-model", size: 24, oninput: () => {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const each of boxes) {
        const text = each.textContent.toLowerCase();
        each.hidden = !each.querySelector("input").checked && !words.every((word) => text.includes(word));
      }
    }});
    return element("fieldset", {class: "field"}, element("legend", {}, "Models"),
      element("p", {}, element("label", {for: "find-model"}, "Find a model: "), search),
      element("p", {class: "note"}, "A model is downloaded unless the hub's cache has it."),
      element("div", {class: "choices"}, boxes), this.errorBox("models"));
  }

  // What was chosen below the columns, to be shown again.
  choices() {
    return {models: this.checked("models"), ownModel: this.ownModel.value, arms: this.checked("arms"),
      seeds: this.seeds.value, settings: this.settings.value, name: this.name.value};
  }

  choiceSection() {
    const chosen = this.chosen ?? {models: [], ownModel: "", arms: FIRST_ARMS, seeds: "0,1,2", settings: "",
      name: this.file.suggested_name};
    const kind = this.kind === "squad_v2" ? "questions" : this.kind in OF_KIND ? this.kind : "labels";
    const arms = this.catalog.methods.filter((method) => (OF_KIND[kind]).includes(method.name));
    this.models = this.modelField(chosen.models);
    this.ownModel = element("input", {type: "text", id: "own-model", size: 36, value: chosen.ownModel,
      oninput: () => this.changed()});
    this.arms = element("fieldset", {class: "field"}, element("legend", {}, "Arms: the ways to predict that are compared"),
      element("p", {class: "note"}, "A good start: majority, lexical, head and lora, with one model (demo for a first look, then distilbert). ",
        "The baselines say whether a language model is needed at all."),
      element("div", {class: "choices"}, arms.map((method) =>
        this.choiceBox("arms", method.name, chosen.arms.includes(method.name), method.title))), this.errorBox("arms"));
    this.seeds = element("select", {id: "seeds", onchange: () => this.changed()},
      optionsOf([["0,1,2", "three: intervals include the luck of training"], ["0", "one: a quick look"],
        ["0,1,2,3,4", "five"]]));
    this.seeds.value = chosen.seeds;
    this.settings = element("textarea", {id: "settings", rows: 3,
      oninput: () => this.changed(JSON.stringify(this.dataSettings()) !== this.auditedSettings),
      placeholder: "train.epochs=2"}, chosen.settings);
    this.name = element("input", {type: "text", id: "name", size: 36, value: chosen.name,
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
        element("details", {open: Boolean(chosen.settings)}, element("summary", {}, "Settings"), element("div", {class: "field"},
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

  settingsByName() {
    const lines = this.settings.value.split("\n").map((line) => line.trim()).filter(Boolean);
    return Object.fromEntries(lines.map((line) => {
      const at = line.indexOf("=");
      return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    }));
  }

  // Settings that change which items there are, and in which part.
  dataSettings() {
    return Object.fromEntries(Object.entries(this.settingsByName()).filter(([name]) => /^(task|split)\./.test(name)));
  }

  design() {
    const roles = this.file.columns.length && this.file.kind !== "messages" ? ROLES[this.kind] ?? [] : [];
    return {name: this.name.value.trim(), kind: this.kind, path: this.file.path,
      hub: this.file.hub, revision: this.file.revision, config: this.file.config, messages: this.file.kind === "messages",
      columns: {...Object.fromEntries(roles.map((role) => [role, this.columns[role]])), ...this.file.options},
      models: this.chosenModels(), arms: this.checked("arms"), seeds: this.seeds.value.split(",").map(Number),
      settings: this.settingsByName()};
  }

  // After a pause in choosing: the audit where the data changed; recipe, plan and cost.
  changed(data = false) {
    const work = {cost: (turn) => this.updateCost(turn), ...(data ? {audit: (turn) => this.updateAudit(turn)} : {})};
    for (const [name, update] of Object.entries(work)) {
      const turn = (this.turns[name] += 1);
      clearTimeout(this.timers[name]);
      this.timers[name] = setTimeout(() => update(turn), PAUSE_MS);
    }
  }

  async updateAudit(turn) {
    const settings = this.dataSettings();
    this.auditedSettings = JSON.stringify(settings);
    this.audit.replaceChildren(element("p", {}, "Auditing …"));
    try {
      const plan = await post("api/check", {...this.design(), models: [], arms: ["majority"], name: "audit",
        settings, audit: true, tab: TAB});
      if (turn !== this.turns.audit) return;
      this.clearErrors("file", ...ROLES[this.kind] ?? []);
      this.audit.replaceChildren(...auditParts(plan));
    } catch (error) {
      if (turn !== this.turns.audit) return;
      this.audit.replaceChildren(element("p", {}, "No audit yet."));
      this.showError(error, "file");
    }
  }

  async updateCost(turn) {
    const design = this.design();
    this.clearErrors("models", "arms", "seeds", "settings", "name", "start");
    try {
      const {yaml, command} = await post("api/recipe", design);
      if (turn !== this.turns.cost) return;
      this.recipe.replaceChildren(copyable("The recipe", yaml), copyable("The command that does the same", command));
      this.cost.replaceChildren(element("p", {role: "status"}, "Predicting time and memory …"));
      const plan = await post("api/check", {...design, tab: TAB});
      if (turn === this.turns.cost) this.cost.replaceChildren(...showPlan(plan));
    } catch (error) {
      if (turn !== this.turns.cost) return;
      this.cost.replaceChildren(element("p", {}, "No prediction yet."));
      this.showError(error);
    }
  }

  async start() {
    this.turns.cost += 1;
    clearTimeout(this.timers.cost);
    try {
      const {study} = await post("api/studies", this.design());
      location.hash = `#/study/${encodeURIComponent(study)}`;
    } catch (error) {
      this.showError(error);
      this.root.querySelector(".field-error .error")?.scrollIntoView({block: "center"});
    }
  }
}
