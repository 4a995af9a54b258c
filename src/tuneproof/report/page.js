"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // One tooltip for all figures: titles become accessible labels and appear at the pointer.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  for (const title of document.querySelectorAll("svg title")) {
    const owner = title.parentElement;
    if (owner.tagName === "svg" && !owner.classList.contains("strip")) continue;
    owner.dataset.tip = title.textContent;
    owner.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  document.addEventListener("pointermove", (event) => {
    const owner = event.target.closest ? event.target.closest("[data-tip]") : null;
    tip.hidden = !owner;
    if (!owner) return;
    tip.textContent = owner.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, event.clientY - box.height - 10) + "px";
  });

  // Print with all details open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of folded) details.open = false;
  });

  const body = byId("flip-rows");
  if (!body) return;
  const data = JSON.parse(byId("flip-data").textContent);
  const isQuestions = data.questions;
  const size = 10;
  let page = 0;
  let flips = [];

  const cell = (row, kind, parts, key) => {
    const td = document.createElement("td");
    if (kind) td.className = kind;
    if (key) td.dataset.k = key;
    td.append(...parts);
    row.append(td);
  };
  const span = (kind, text) => {
    const element = document.createElement("span");
    element.className = kind;
    element.textContent = text;
    return element;
  };
  const folding = (text) => {
    if (text.length <= 220) return text;
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.append(span("cut", text.slice(0, 200) + " …"), span("less", "less"));
    details.append(summary, text);
    return details;
  };
  const answer = (index, probability) =>
    probability === null
      ? [data.answers[index]]
      : [data.answers[index] + " ", span("p", probability.toFixed(2))];
  // Mark the last occurrence of each phrase in the text; where phrases overlap, the earlier one wins.
  const marked = (text, phrases) => {
    const spans = [];
    const lower = text.toLowerCase();
    for (const [kind, phrase] of phrases) {
      const at = phrase ? lower.lastIndexOf(phrase.toLowerCase()) : -1;
      if (at < 0 || spans.some(([a, b]) => at < b && at + phrase.length > a)) continue;
      spans.push([at, at + phrase.length, kind]);
    }
    spans.sort((a, b) => a[0] - b[0]);
    const parts = [];
    let position = 0;
    for (const [start, end, kind] of spans) {
      const mark = document.createElement("mark");
      mark.className = kind;
      mark.textContent = text.slice(start, end);
      parts.push(text.slice(position, start), mark);
      position = end;
    }
    return [...parts, text.slice(position)];
  };

  const show = () => {
    const pair = data.pairs[byId("flip-pair").value];
    const pages = Math.max(1, Math.ceil(flips.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    body.replaceChildren();
    for (const flip of flips.slice(page * size, (page + 1) * size)) {
      const [at, gained, lost, before, after, pBefore, pAfter] = flip;
      const [id, gold, text, golds] = data.items[at];
      const phrases = golds.map((gold) => ["gold", gold]);
      phrases.push(["after", data.answers[after]], ["before", data.answers[before]]);
      const row = document.createElement("tr");
      const change = gained >= lost ? "gained" : "lost";
      cell(row, "text", [...(isQuestions ? marked(text, phrases) : [folding(text)]), span("id", id)]);
      cell(row, "", [golds.join(" | ") || data.labels[gold]], "gold");
      cell(row, "", answer(before, pBefore), "before");
      cell(row, "", answer(after, pAfter), "after");
      const seeds = pair.seeds > 1 ? [" ", span("p", `${Math.max(gained, lost)}/${pair.seeds}`)] : [];
      cell(row, change, [change, ...seeds], "change");
      body.append(row);
    }
    byId("flip-caption").textContent =
      `${pair.name}: ${flips.length} of ${pair.flips.length} changed items`;
    byId("flip-over").textContent = pair.over;
    byId("flip-arm").textContent = pair.arm;
    byId("flip-page").textContent = `${page + 1} of ${pages}`;
    byId("flip-back").disabled = page === 0;
    byId("flip-next").disabled = page === pages - 1;
    byId("flip-pager").hidden = pages < 2;
  };

  const orders = {
    moved: (a, b) => Math.abs((b[6] || 0) - (b[5] || 0)) - Math.abs((a[6] || 0) - (a[5] || 0)),
    id: (a, b) => a[0] - b[0],
    before: (a, b) => (a[5] ?? 2) - (b[5] ?? 2),
    after: (a, b) => (a[6] ?? 2) - (b[6] ?? 2),
    short: (a, b) => data.items[a[0]][2].length - data.items[b[0]][2].length,
  };

  const choose = () => {
    const pair = data.pairs[byId("flip-pair").value];
    const direction = byId("flip-direction").value;
    const gold = byId("flip-gold").value;
    const query = byId("flip-search").value.toLowerCase().trim();
    flips = pair.flips.filter((flip) => {
      const [id, label, text, golds] = data.items[flip[0]];
      if (direction && (flip[1] >= flip[2] ? "gained" : "lost") !== direction) return false;
      if (gold !== "" && label !== Number(gold)) return false;
      const fields = [text, id, ...golds, data.answers[flip[3]], data.answers[flip[4]]];
      return !query || fields.some((field) => field.toLowerCase().includes(query));
    });
    flips.sort(orders[byId("flip-sort").value]);
    page = 0;
    show();
  };

  byId("flip-controls").hidden = false;
  for (const id of ["flip-pair", "flip-direction", "flip-gold", "flip-sort"]) byId(id).addEventListener("change", choose);
  byId("flip-search").addEventListener("input", choose);
  byId("flip-back").addEventListener("click", () => { page -= 1; show(); });
  byId("flip-next").addEventListener("click", () => { page += 1; show(); });
  choose();
})();
