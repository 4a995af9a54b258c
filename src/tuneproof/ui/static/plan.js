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
    ...plan.skipped.slice(0, 3).map((line) => element("p", {class: "note"}, `Not checked: ${line}`)),
    ...(forecast?.notes ?? []).map((line) => element("p", {class: "note"}, line)),
    ...plan.findings.filter((finding) => finding.level !== "note").map((finding) =>
      element("p", {class: "warning"}, finding.message)),
  ].filter(Boolean);
}
