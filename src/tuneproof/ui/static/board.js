// The live board of a study: arms, progress, curves, the forest plot as it fills in, messages.
import {duration, element, get, number, percent, post, say, svg, whileBusy} from "./dom.js";
import {STATES} from "./studies.js";

const SIGNS = {done: "✓", running: "…", waiting: "", failed: "✗", impossible: "–"};
const CURVES_MS = 2000;
const SECOND_CLICK_MS = 1000;  // a double click on Stop must not stop at once

export async function showBoard(root, name) {
  const board = new Board(root, name);
  await board.open();
  return () => board.close();
}

class Board {
  constructor(root, name) {
    Object.assign(this, {root, name, path: `api/studies/${encodeURIComponent(name)}`, study: null, timer: 0});
    Object.assign(this, {shown: new Map(), losses: new Map(), isReading: false});
    this.offline = element("div");
    this.head = element("div", {"aria-live": "polite"});
    this.progress = element("div");  // not live: it changes each second
    this.errors = element("div");
    this.actions = element("div", {class: "actions"});
    this.arms = element("div");
    this.curves = element("div", {class: "multiples"});
    this.messages = element("div");
    root.append(this.offline, this.head, this.progress, this.actions, this.errors, this.arms, this.curves, this.messages);
  }

  async open() {
    this.show(await get(this.path));
    this.events = new EventSource(`${this.path}/events`);
    this.events.onopen = () => this.offline.replaceChildren();
    this.events.onmessage = (event) => { this.offline.replaceChildren(); this.show(JSON.parse(event.data)); };
    this.events.onerror = () => this.offline.replaceChildren(element("p", {class: "error", role: "alert"},
      `The page's server does not answer${this.study.state === "running" ? "; the study goes on" : ""}. Is \`tuneproof ui\` still running?`));
    this.timer = setInterval(() => this.study.state === "running" && this.readCurves(), CURVES_MS);
    await this.readCurves();
  }

  close() { this.events?.close(); clearInterval(this.timer); }

  show(study) {
    const before = this.study?.state;
    this.study = study;
    if (before && before !== study.state) { say(`${this.name}: ${study.state}`); this.readCurves(); }
    const {state, stopping, verdict, error, diagnoses, progress, arms, findings, level} = study;
    this.refresh(this.head, [state, stopping, verdict, error, diagnoses], () => this.headParts());
    this.refresh(this.progress, [state, {...progress, messages: null}], () => this.progressParts());
    this.refresh(this.actions, [state, stopping, study.has_report, arms.some((arm) => arm.deliverable)],
      () => this.buttons());
    this.refresh(this.arms, [arms, level], () => this.armParts());
    this.refresh(this.messages, [findings, progress.messages], () => this.messageParts());
  }

  // Rebuilds a part of the page only where its values changed, and gives the keyboard its place back.
  refresh(box, values, parts) {
    const text = JSON.stringify(values);
    if (this.shown.get(box) === text) return;
    this.shown.set(box, text);
    const stops = () => [...box.querySelectorAll("a, button, [tabindex]")];
    const place = stops().indexOf(document.activeElement);
    box.replaceChildren(...parts());
    if (place >= 0) (stops()[place] ?? stops().at(-1))?.focus();
  }

  progressParts() {
    const {state, progress} = this.study;
    if (state !== "running") return [];
    const {share, left_s: left, stage, arm} = progress;
    const words = arm ? `${arm.number} of ${arm.total}: ${arm.label}` : "preparing";
    const count = stage?.total ? `, ${number(stage.done)} of ${number(stage.total)} ${stage.unit}` : "";
    return [
      element("progress", {max: 1, value: share ?? undefined, "aria-label": "Share of the study that is done"}),
      element("p", {}, `${words}${stage?.name ? ` · ${stage.name}${count}` : ""}`,
        stage?.note ? ` (${stage.note})` : "", left === undefined ? "" : `. About ${duration(left)} left.`)];
  }

  headParts() {
    const {state, stopping, verdict, error, diagnoses} = this.study;
    const parts = [element("p", {}, element("span", {class: `state ${state}`}, STATES[state] ?? state))];
    if (stopping) {
      parts.push(element("p", {}, "The study stops after its current step and keeps a checkpoint. " +
        "“Stop at once” ends it without one."));
    }
    if (error) parts.push(element("p", {class: "error", role: "alert"}, error));
    if (verdict) parts.push(element("p", {class: "verdict"}, verdict));
    const {recommendation} = this.study;
    if (recommendation.length) {
      parts.push(element("dl", {class: "recommendation"}, recommendation.map(([title, text]) =>
        element("div", {}, element("dt", {}, title), element("dd", {}, text)))),
      element("p", {}, element("a", {href: `#/study/${encodeURIComponent(this.name)}/try`}, "Label a file or try texts with it")));
    }
    for (const line of diagnoses) parts.push(element("p", {class: "warning"}, line));
    return parts;
  }

  buttons() {
    const act = (title, action, text, body = {}) => {
      const made = performance.now();
      const click = async () => {
        const isFocused = document.activeElement === button;
        await whileBusy(button, this.errors, async () => {
          await post(`${this.path}/${action}`, body);
          say(text);
          this.show(await get(this.path));
        });
        if (isFocused) (button.isConnected ? button : this.actions.querySelector("button, a"))?.focus();
      };
      const button = element("button", {type: "button", onclick: () => {
        if (!stopping || performance.now() - made > SECOND_CLICK_MS) click();
      }}, title);
      return button;
    };
    const {state, stopping, has_report: report} = this.study;
    const address = `#/study/${encodeURIComponent(this.name)}`;
    return [
      state === "running" && !stopping ? act("Stop", "stop", "The study stops after its current step.") : null,
      state === "running" && stopping ? act("Stop at once", "stop", "The study stops without a checkpoint.") : null,
      state === "stopped" || state === "failed" ? act("Go on", "go-on", "The study goes on.") : null,
      ...state === "finished" ? [...new Set(this.study.arms.filter((arm) => arm.under_trained).map((arm) => arm.arm))]
        .map((arm) => act(`Train ${arm} further`, "extend", `${arm} is trained further.`, {arm})) : [],
      report ? element("a", {class: "button", href: `${address}/report`}, "Read the report") : null,
      this.study.arms.some((arm) => arm.deliverable)
        ? element("a", {class: "button", href: `${address}/try`}, "Try the arms") : null,
    ].filter(Boolean);
  }

  armParts() {
    const {arms, metric_title: title, level} = this.study;
    if (!arms.length) return [];
    const scores = arms.map((arm) => arm.score).filter(Boolean);
    const isShare = scores.every((score) => score.low >= 0 && score.high <= 1);
    const ends = scores.length ? [Math.min(...scores.map((s) => s.low)), Math.max(...scores.map((s) => s.high))] : [0, 1];
    const text = (value) => isShare ? (100 * value).toFixed(1) : value.toPrecision(3);
    const header = ["Arm", "State", `${title} on test${isShare ? ", %" : ""}`, "", "Time"];
    const rows = arms.map((arm) => element("tr", {},
      element("th", {scope: "row"}, arm.label),
      element("td", {}, element("span", {class: `state ${arm.status}`}, `${SIGNS[arm.status] ?? ""} ${arm.status}`),
        arm.under_trained ? element("span", {class: "state stopped"}, "⚠ under-trained") : null,
        arm.reason ? element("small", {class: "reasons"}, arm.reason) : null),
      element("td", {class: "n"}, arm.score ? `${text(arm.score.value)} [${text(arm.score.low)}, ${text(arm.score.high)}]` : ""),
      element("td", {class: "strip-row"}, arm.score ? strip(arm.score, ends, `${arm.label}: ${text(arm.score.value)}`) : ""),
      element("td", {class: "n"}, arm.time_s ? duration(arm.time_s) : `about ${duration(arm.predicted_s)}`)));
    return [element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Arms"},
      element("table", {class: "arms"}, element("caption", {}, "Arms"),
        element("thead", {}, element("tr", {}, header.map((cell) => element("th", {scope: "col"}, cell)))),
        element("tbody", {}, rows))),
    element("p", {class: "note"}, `Each run with its ${level ? `${percent(level, 0)} ` : ""}interval. The report pools the seeds and compares the arms.`)];
  }

  messageParts() {
    const {findings, progress} = this.study;
    const lines = [...findings.map((f) => [f.level, f.message]), ...(progress.messages ?? []).map((m) => [m.level, m.text])];
    const once = [...new Map(lines.map(([level, text]) => [text, level]))];
    if (!once.length) return [];
    return [element("h2", {}, "Messages"), element("ul", {class: "messages"}, once.map(([text, level]) =>
      element("li", {class: level === "warning" ? "warning" : ""}, text)))];
  }

  // An arm that runs is read again, a finished one once.
  async readCurves() {
    if (this.isReading) return;
    this.isReading = true;
    const arms = this.study.arms.filter((arm) => arm.trains);
    await Promise.all(arms.map(async ({folder, status}) => {
      if (status !== "running" && this.losses.get(folder)?.status === status) return;
      const losses = await get(`${this.path}/curves/${encodeURIComponent(folder)}`).catch(() => null);
      if (losses) this.losses.set(folder, {status, losses});
    }));
    this.isReading = false;
    this.refresh(this.curves, arms.map(({label, folder}) => [label, this.losses.get(folder)]), () => arms
      .map(({label, folder}) => this.losses.has(folder) && figure(label, this.losses.get(folder).losses)).filter(Boolean));
  }
}

function strip(score, [low, high], title) {
  const x = (value) => high > low ? 4 + 92 * (value - low) / (high - low) : 50;
  return svg("svg", {viewBox: "0 0 100 16", role: "img", "aria-label": title, preserveAspectRatio: "none"},
    svg("line", {x1: x(score.low), x2: x(score.high), y1: 8, y2: 8, class: "interval"}),
    svg("line", {x1: x(score.value), x2: x(score.value), y1: 3, y2: 13, class: "point"}));
}

function figure(label, {train, dev}) {
  const points = [...train, ...dev];
  if (points.length < 2) return null;
  const last = Math.max(...points.map(([step]) => step)), top = Math.max(...points.map(([, loss]) => loss));
  const path = (series) => series.map(([step, loss], i) =>
    `${i ? "L" : "M"}${(36 + 260 * step / last).toFixed(1)} ${(130 - 120 * loss / top).toFixed(1)}`).join("");
  const text = (x, y, words, anchor = "start") => svg("text", {x, y, "text-anchor": anchor}, words);
  const description = `Loss of ${label} by step: train ends at ${train.at(-1)?.[1].toFixed(3)}` +
    (dev.length ? `, dev at ${dev.at(-1)[1].toFixed(3)}` : "");
  return element("figure", {class: "curve"}, element("figcaption", {}, label,
    element("span", {class: "aside"}, `loss by step: train (line)${dev.length ? ", dev (dashed)" : ""}`)),
  svg("svg", {viewBox: "0 0 300 150", role: "img", "aria-label": description},
    svg("line", {x1: 36, x2: 296, y1: 130, y2: 130, class: "rule"}),
    text(32, 134, "0", "end"), text(32, 14, top.toPrecision(2), "end"), text(296, 145, number(last), "end"),
    svg("path", {d: path(train), class: "train-line"}),
    dev.length ? svg("path", {d: path(dev), class: "dev-line"}) : ""));
}

