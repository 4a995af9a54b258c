"use strict";
(() => {
  const byId = (id) => document.getElementById(id);

  // One tooltip for every picture: the titles inside are read aloud and shown at the pointer.
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

  // On paper everything that is folded is open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });

  const body = byId("flip-rows");
  if (!body) return;
  const data = JSON.parse(byId("flip-data").textContent);
  const asks = data.questions;
  const size = 10;
  let page = 0;
  let found = [];

  const cell = (row, kind, parts, key) => {
    const td = document.createElement("td");
    if (kind) td.className = kind;
    if (key) td.dataset.k = key;
    td.append(...parts);
    row.append(td);
  };
  const span = (kind, text) => {
    const one = document.createElement("span");
    one.className = kind;
    one.textContent = text;
    return one;
  };
  const folding = (text) => {
    if (text.length <= 220) return text;
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.append(span("cut", text.slice(0, 200) + " …"), span("less", "less"));
    details.append(summary, text);
    return details;
  };
  const answer = (said, value) =>
    value === null ? [data.answers[said]] : [data.answers[said] + " ", span("p", value.toFixed(2))];
  // The text with the first place of each wanted string marked; earlier ones win where they overlap.
  const marked = (text, wanted) => {
    const found = [];
    const small = text.toLowerCase();
    for (const [kind, words] of wanted) {
      const at = words ? small.lastIndexOf(words.toLowerCase()) : -1;
      if (at < 0 || found.some(([a, b]) => at < b && at + words.length > a)) continue;
      found.push([at, at + words.length, kind]);
    }
    found.sort((a, b) => a[0] - b[0]);
    const parts = [];
    let done = 0;
    for (const [start, end, kind] of found) {
      const one = document.createElement("mark");
      one.className = kind;
      one.textContent = text.slice(start, end);
      parts.push(text.slice(done, start), one);
      done = end;
    }
    return [...parts, text.slice(done)];
  };

  const show = () => {
    const pair = data.pairs[byId("flip-pair").value];
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.min(Math.max(page, 0), pages - 1);
    body.replaceChildren();
    for (const flip of found.slice(page * size, (page + 1) * size)) {
      const [at, gained, lost, before, after, wasP, isP] = flip;
      const [id, gold, text, golds] = data.items[at];
      const wanted = golds.map((words) => ["gold", words]);
      wanted.push(["after", data.answers[after]], ["before", data.answers[before]]);
      const row = document.createElement("tr");
      const way = gained >= lost ? "gained" : "lost";
      cell(row, "text", [...(asks ? marked(text, wanted) : [folding(text)]), span("id", id)]);
      cell(row, "", [golds.join(" | ") || data.labels[gold]], "gold");
      cell(row, "", answer(before, wasP), "before");
      cell(row, "", answer(after, isP), "after");
      const seeds = pair.seeds > 1 ? [" ", span("p", `${Math.max(gained, lost)}/${pair.seeds}`)] : [];
      cell(row, way, [way, ...seeds], "way");
      body.append(row);
    }
    byId("flip-caption").textContent =
      `${pair.name}: ${found.length} of ${pair.flips.length} flipped items`;
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
    const way = byId("flip-way").value;
    const gold = byId("flip-gold").value;
    const words = byId("flip-search").value.toLowerCase().trim();
    found = pair.flips.filter((flip) => {
      const [id, label, text, golds] = data.items[flip[0]];
      if (way && (flip[1] >= flip[2] ? "gained" : "lost") !== way) return false;
      if (gold !== "" && label !== Number(gold)) return false;
      const said = [text, id, ...golds, data.answers[flip[3]], data.answers[flip[4]]];
      return !words || said.some((one) => one.toLowerCase().includes(words));
    });
    found.sort(orders[byId("flip-sort").value]);
    page = 0;
    show();
  };

  byId("flip-controls").hidden = false;
  for (const id of ["flip-pair", "flip-way", "flip-gold", "flip-sort"]) byId(id).addEventListener("change", choose);
  byId("flip-search").addEventListener("input", choose);
  byId("flip-back").addEventListener("click", () => { page -= 1; show(); });
  byId("flip-next").addEventListener("click", () => { page += 1; show(); });
  choose();
})();
