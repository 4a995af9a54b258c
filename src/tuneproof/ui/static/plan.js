// What a study would cost and could show, from `tuneproof check`.
import {bytes, duration, element, number, percent} from "./dom.js";

export function showPlan(plan) {
  const {forecast, detectable} = plan;
  const impossible = plan.arms.filter((arm) => arm.impossible);
  const facts = [];
  if (forecast) {
    const steps = forecast.arms.reduce((sum, arm) => sum + arm.steps, 0);
    facts.push(["Time, predicted", duration(forecast.time_s)], ["Memory, predicted", bytes(forecast.memory_bytes)],
      ["Training steps", number(steps)]);
  } else facts.push(["Cost", "cannot be predicted without the items and the models' files"]);
  if (detectable.difference !== null) {
    facts.push(["Smallest difference that the test items can show",
      `${(100 * detectable.difference).toFixed(1)} points on ${number(detectable.items)} items, with ` +
      `${percent(detectable.power, 0)} power where two arms differ on ${percent(detectable.discordance, 0)} of them`]);
  }
  const slowest = [...(forecast?.arms ?? [])].filter((arm) => arm.time_s).sort((a, b) => b.time_s - a.time_s);
  return [
    element("dl", {}, facts.flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)])),
    slowest.length > 1 ? element("details", {}, element("summary", {}, "Each arm"), element("ul", {},
      slowest.map((arm) => element("li", {}, `${arm.label}: ${duration(arm.time_s)}`)))) : null,
    ...impossible.map((arm) => element("p", {class: "warning"}, `${arm.model ?? ""} ${arm.arm}: ${arm.impossible}`)),
    ...skippedParts(plan, "Not checked"),
    ...(forecast?.notes ?? []).map((line) => element("p", {class: "note"}, line)),
    ...plan.findings.filter((finding) => finding.level !== "note").map((finding) =>
      element("p", {class: "warning"}, finding.message)),
  ].filter(Boolean);
}

// What the data have wrong, from `tuneproof check --no-cost`.
export function auditParts(plan) {
  const sizes = Object.entries(plan.sizes).map(([part, count]) => `${part} ${number(count)}`).join(", ");
  const dropped = Object.entries(plan.dropped).map(([reason, count]) => `${number(count)} dropped: ${reason}`);
  const labels = Object.entries(plan.labels.train ?? {}).map(([label, count]) => `${label} (${number(count)})`);
  const isQuiet = plan.findings.every((finding) => finding.level === "note");
  return [
    element("p", {}, sizes ? `Items: ${sizes}.` : "Nothing is audited yet: the task needs the hub for its items. "
      + "They are audited when the study runs."),
    ...skippedParts(plan, sizes ? "Not checked" : "Not audited"),
    labels.length ? element("p", {}, `Labels in train: ${labels.join(", ")}.`) : null,
    ...dropped.map((line) => element("p", {}, line)),
    ...plan.findings.map((finding) => element("p", {class: finding.level === "note" ? "note" : "warning"},
      finding.message)),
    sizes && isQuiet ? element("p", {}, "Nothing suspicious.") : null,
  ].filter(Boolean);
}

const skippedParts = (plan, title) =>
  plan.skipped.map((line) => element("p", {class: "note"}, `${title}: ${line}`));
