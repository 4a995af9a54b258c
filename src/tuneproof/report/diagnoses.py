"""What the training curves say against arms: marks, titles, sentences and the commands that go on.

In: comparisons.json's diagnoses, which `record` made from the curves. Out: plain values.
Knows nothing of: HTML, scores, how a diagnosis is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuneproof.record.diagnose import MIN_GAIN
from tuneproof.record.study_folder import ArmRecord, StudyRecord

SIGN = "⚠"
NO_FINDING = (
    "The loss of every trained arm was checked, on dev where it was evaluated more than once: in none was it "
    "still falling so much when training ended that as much training again would take more than "
    f"{100 * MIN_GAIN:.0f}\u00a0% off it. Accuracy on dev is drawn, but not checked: it may still have "
    "risen. A dev loss that rises again does no harm: the weights at its lowest point are the arm's."
)
AT_THE_END = "best_is_last"
TITLES = {"one_label": "one label only", AT_THE_END: "best at the end"}  # others: their own words


@dataclass(frozen=True)
class Diagnosis:
    """The findings of one arm: a title and a sentence for each, and the command that trains it further.

    `name` is the arm's label; `under_trained` says that a finding speaks against judging the arm.
    """

    name: str
    under_trained: bool
    findings: tuple[tuple[str, str], ...]
    command: str


def finding_title(finding: dict[str, Any]) -> str:
    """A finding in two or three words."""
    name = str(finding.get("name") or "")
    return TITLES.get(name, name.replace("_", " "))


def _entries(study: StudyRecord) -> list[dict[str, Any]]:
    """One entry per run with findings; runs on samples of train stay out, as in the table of arms."""
    entries = study.comparisons.get("diagnoses") or []
    return [entry for entry in entries if entry.get("findings") and not entry.get("train_size")]


def first_finding(study: StudyRecord, records: Sequence[ArmRecord]) -> str:
    """The title of the first finding that makes one of these runs under-trained; "" if there is none."""
    runs = [tuple(record.about.get(key) for key in ("arm", "model", "seed")) for record in records]
    entries = [e for e in _entries(study) if tuple(e.get(key) for key in ("arm", "model", "seed")) in runs]
    return next((finding_title(_main_finding(entry)) for entry in entries if entry.get("under_trained")), "")


def _main_finding(entry: dict[str, Any]) -> dict[str, Any]:
    """The first finding that is more than a best evaluation at the end."""
    findings: list[dict[str, Any]] = entry["findings"]
    return next((finding for finding in findings if finding.get("name") != AT_THE_END), findings[0])


def read_diagnoses(study: StudyRecord) -> list[Diagnosis]:
    """The diagnosed arms in the order of the table, each with the findings of all its seeds."""
    many = len({arm.about["model"] for arm in study.arms if arm.about.get("model")}) > 1
    arms: dict[str, list[dict[str, Any]]] = {}
    for entry in _entries(study):
        name = f"{entry['model']} {entry['arm']}" if many and entry.get("model") else str(entry["arm"])
        arms.setdefault(name, []).append(entry)
    return [_diagnosis(name, entries) for name, entries in arms.items()]


def _diagnosis(name: str, entries: Sequence[dict[str, Any]]) -> Diagnosis:
    """The findings of all seeds of an arm, those about its end last."""
    pairs = [(entry, finding) for entry in entries for finding in entry["findings"]]
    pairs.sort(key=lambda pair: pair[1].get("name") == AT_THE_END)
    findings = tuple((_title(entry, finding), str(finding.get("sentence") or "")) for entry, finding in pairs)
    commands = (str(entry["command"]) for entry in entries if entry.get("command"))
    return Diagnosis(name, any(e.get("under_trained") for e in entries), findings, next(commands, ""))


def _title(entry: dict[str, Any], finding: dict[str, Any]) -> str:
    seed = "" if entry.get("seed") is None else f", seed {entry['seed']}"
    return f"{finding_title(finding)}{seed}"


def withheld_verdicts(study: StudyRecord) -> list[tuple[str, str]]:
    """The pairs of arms whose verdict "worse" is withheld for one reason, and the reason."""
    pairs_by_reason: dict[str, list[str]] = {}
    for pair in study.comparisons.get("comparisons") or []:
        if pair.get("withheld"):
            pairs_by_reason.setdefault(str(pair["withheld"]), []).append(f"{pair['arm']} over {pair['over']}")
    return [(", ".join(pairs), reason) for reason, pairs in pairs_by_reason.items()]


def diagnosis_lines(study: StudyRecord) -> list[str]:
    """One line per under-trained arm, for the terminal and the Markdown."""
    lines = []
    for diagnosis in (entry for entry in read_diagnoses(study) if entry.under_trained):
        title, sentence = diagnosis.findings[0]
        more = f" ({len(diagnosis.findings) - 1} more in the report)" if len(diagnosis.findings) > 1 else ""
        command = f" Go on with: {diagnosis.command}" if diagnosis.command else ""
        lines.append(f"{SIGN} {diagnosis.name}, {title}: {sentence}{more}{command}")
    return lines
