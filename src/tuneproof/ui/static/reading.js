// The report as it is, in a frame without this page's rights; what more seeds would do; another study beside it.
import {element, get, number, post, table, whileBusy} from "./dom.js";

export async function showReport(root, name) {
  const study = await get(`api/studies/${encodeURIComponent(name)}`);
  if (!study.has_report) {
    root.append(element("p", {}, study.state === "running"
      ? "The report is written when the last arm has finished." : "This study has no report yet."));
    return;
  }
  const address = study.report;
  const {folder, studies} = await get("api/studies");
  root.append(
    element("p", {class: "note"}, `The file: ${folder}/${name}/report.html`),
    element("iframe", {class: "report", title: `Report of ${name}`, src: address,
      sandbox: "allow-scripts"}),
    planSection(name), ...[compareSection(name, studies.filter((each) => each.name !== name && each.has_report))].filter(Boolean));
}

function planSection(name) {
  const box = element("div", {"aria-live": "polite"}), errors = element("div");
  const button = element("button", {type: "button", onclick: () => whileBusy(button, errors, async () => {
    const {plans} = await post(`api/studies/${encodeURIComponent(name)}/plan`);
    box.replaceChildren(...plans.flatMap((plan) => planLines(name, plan, errors)));
  })}, "What would more seeds or items do?");
  return element("section", {}, element("h2", {}, "Plan"), button, errors, box);
}

// A claim: how wide its interval and how small a detectable difference would be with more items or seeds.
function planLines(name, {claim, rows}, box) {
  const points = (value) => claim.in_points ? (100 * value).toFixed(1) : value.toPrecision(3);
  const unit = claim.in_points ? "points" : claim.metric;
  const seeds = element("input", {type: "number", min: "1", max: "10", value: "2", id: `more-${claim.arm}-${claim.over}`});
  const button = element("button", {type: "button", onclick: () => whileBusy(button, box, async () => {
    await post(`api/studies/${encodeURIComponent(name)}/seeds`, {seeds: Number(seeds.value)});
    location.hash = `#/study/${encodeURIComponent(name)}`;
  })}, "Run them");
  return [element("h3", {}, `${claim.arm} over ${claim.over}`), element("p", {}, claim.sentence),
    table(`What more items or seeds would do, ${unit}`,
      ["Test items", "Seeds", "Half of the interval", "Smallest detectable difference"],
      rows.map((row) => [number(row.items), String(row.seeds), `± ${points(row.half_width)}`, points(row.mde)])),
    element("p", {class: "controls"}, element("label", {for: seeds.id}, "More seeds"), seeds, button),
    element("p", {class: "note"}, "Seeds that are added after results are corrected for: p-values grow.")];
}

function compareSection(name, others) {
  if (!others.length) return null;
  const box = element("div", {"aria-live": "polite"});
  const select = element("select", {id: "compared"}, others.map((each) => element("option", {}, each.name)));
  const button = element("button", {type: "button", onclick: () => whileBusy(button, box, async () => {
    const {comparisons} = await post(`api/studies/${encodeURIComponent(name)}/compare`, {with: select.value});
    box.replaceChildren(element("ul", {}, comparisons.map((each) => element("li", {}, each.sentence))));
  })}, "Compare");
  return element("section", {}, element("h2", {}, "Compare with another study"),
    element("p", {class: "controls"}, element("label", {for: "compared"}, "Study"), select, button), box);
}
