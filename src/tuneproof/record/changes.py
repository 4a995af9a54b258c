"""The facts that an arm's result depends on, and the log of changes to them that a user accepted.

In: an arm's folder, facts by name. Out: differences in words, facts.json, changes.json.
Knows nothing of: where facts come from, how an arm runs.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneproof.atomic import make_folder, rename_folder, sha256_of_text, write_json
from tuneproof.errors import TuneproofError
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARM, ARMS, CHANGES, CHECKPOINTS, FACTS, RESUME_LOGS, SUPERSEDED

Facts = Mapping[str, Any]
LISTED = 4  # differences that a sentence lists
DIGEST = 16  # characters of the checksum
MORE_EPOCHS = "more_epochs"  # the option by which an arm is extended


def fingerprint_of(facts: Facts) -> str:
    """A short checksum of all facts."""
    return sha256_of_text(repr(sorted(facts.items())))[:DIGEST]


def write_facts(folder: Path, facts: Facts, memory_settings: Mapping[str, Any] | None) -> None:
    """Write the facts that a starting arm depends on, and the settings chosen to fit the memory."""
    fingerprint = fingerprint_of(facts)
    value = {"fingerprint": fingerprint, "facts": dict(facts), "memory_settings": memory_settings}
    write_json(folder / FACTS, value)


def read_memory_settings(folder: Path) -> dict[str, Any] | None:
    """The settings that were chosen to fit the memory when the unfinished arm started."""
    return _read(folder / FACTS).get("memory_settings") if _is_resumable(folder) else None


def find_differences(folder: Path, facts: Facts, accepted: frozenset[str] = frozenset()) -> list[str]:
    """What differs between an arm's folder and these facts, in words.

    accepted: fingerprints that count as equal to that of `facts`. Nothing differs for an arm that has
    neither finished nor left anything to resume from: it starts afresh.
    """
    about, stored = _read(folder / ARM), _read(folder / FACTS)
    is_done = about.get("status") == "done"
    if not (is_done or _is_resumable(folder)):
        return []
    fingerprint = str(about.get("fingerprint") if is_done else stored.get("fingerprint"))
    if fingerprint == fingerprint_of(facts) or fingerprint in accepted:
        return []
    return describe_differences(stored.get("facts") or {}, facts) or ["its settings"]


def adds_epochs_only(folder: Path, facts: Facts) -> bool:
    """Whether these facts differ from those of the folder's finished arm in `more_epochs` alone."""
    old = _read(folder / FACTS).get("facts") or {}
    differing = [name for name in {**old, **facts} if old.get(name) != facts.get(name)]
    is_done = _read(folder / ARM).get("status") == "done"
    return is_done and len(differing) == 1 and differing[0].endswith(f".{MORE_EPOCHS}")


def describe_differences(old: Facts, new: Facts) -> list[str]:
    """Each fact that differs, in words."""
    differences = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new or name not in old:
            differences.append(f"{name} {'was removed' if name in old else 'is new'}")
        elif old[name] != new[name]:
            checksums = all(isinstance(v, str) and len(v) == 64 for v in (old[name], new[name]))
            change = "differs" if checksums else f"was {_short(old[name])}, is {_short(new[name])}"
            differences.append(f"{name} {change}")
    return differences


def join_differences(differences: Sequence[str]) -> str:
    """The first few differences as one line."""
    more = len(differences) - LISTED
    return "; ".join(differences[:LISTED]) + (f"; and {more} more" if more > 0 else "")


class ChangeLog:
    """A study's changes.json: accepted changes, and arms that were restarted or extended."""

    def __init__(self, study: Path) -> None:
        self.study = Path(study)
        file = self.study / CHANGES
        self.entries: list[dict[str, Any]] = (
            (read_object(file).get("changes") or []) if file.is_file() else []
        )

    def accepted(self, folder: Path, fingerprint: str) -> frozenset[str]:
        """The fingerprints that count as equal to this one after the changes accepted for the arm."""
        equal = {fingerprint}
        changes = [e for e in self.entries if e["arm"] == folder.name and e["action"] == "accepted"]
        for _ in changes:  # acceptance is transitive
            equal |= {str(c.get("old_fingerprint")) for c in changes if c.get("new_fingerprint") in equal}
        return frozenset(equal - {fingerprint})

    def accept(self, folder: Path, facts: Facts, differences: Sequence[str]) -> None:
        """Accept the stored arm as the result for these facts."""
        old = _read(folder / ARM).get("fingerprint") or _read(folder / FACTS).get("fingerprint")
        new = fingerprint_of(facts)
        self._add("accepted", folder, differences, old_fingerprint=old, new_fingerprint=new)

    def restart(self, folder: Path, differences: Sequence[str]) -> Path:
        """Move the arm's folder away so that the arm starts afresh. Returns the new path."""
        path = self._path_aside(folder)
        self._add("restarted", folder, differences, moved_to=str(path.relative_to(self.study)))
        rename_folder(folder, path)
        return path

    def extend(self, folder: Path, name: str, facts: Facts) -> None:
        """Log that the arm of this name goes on with more epochs; its folder moves afterwards."""
        stored, new = _read(folder / FACTS), fingerprint_of(facts)
        fingerprints = {"old_fingerprint": stored["fingerprint"], "new_fingerprint": new}
        path = self._path_aside(folder).relative_to(self.study)
        differences = describe_differences(stored["facts"], facts)
        self._add("extended", folder, differences, name=name, moved_to=str(path), **fingerprints)

    def extension(self, folder: Path, fingerprint: str) -> dict[str, Any] | None:
        """The entry by which the arm was extended to what this fingerprint stands for."""
        entries = [e for e in self.entries if (e["action"], e["arm"]) == ("extended", folder.name)]
        return next((e for e in reversed(entries) if e.get("new_fingerprint") == fingerprint), None)

    def resumable(self, folder: Path, fingerprint: str) -> frozenset[str]:
        """The fingerprints whose checkpoints the arm may use besides its own."""
        extension = self.extension(folder, fingerprint)
        before = {str(extension.get("old_fingerprint"))} if extension else set()
        return self.accepted(folder, fingerprint) | before

    def _path_aside(self, folder: Path) -> Path:
        superseded = make_folder(self.study / SUPERSEDED)
        number = 1
        while (superseded / f"{folder.name}.{number}").exists():
            number += 1
        return superseded / f"{folder.name}.{number}"

    def _add(self, action: str, folder: Path, differences: Sequence[str], **details: Any) -> None:
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"action": action, "arm": folder.name, "differences": list(differences), "made_at": made_at}
        self.entries.append({**entry, **details})
        write_json(self.study / CHANGES, {"changes": self.entries})


def arm_folders(study: Path) -> list[Path]:
    """Every existing folder of an arm."""
    arms = Path(study) / ARMS
    return sorted(path for path in arms.iterdir() if path.is_dir()) if arms.is_dir() else []


def _is_resumable(folder: Path) -> bool:
    """Whether an unfinished arm left anything to resume from."""
    return any((folder / CHECKPOINTS).glob("step-*")) or any((folder / RESUME_LOGS).glob("*.jsonl"))


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is missing or cannot be read."""
    if not path.is_file():
        return {}
    try:
        return read_object(path)
    except TuneproofError:
        return {}


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    if isinstance(value, str) and " " in text:
        text = f"'{text}'"
    return text if len(text) <= 60 else f"{text[:57]}..."
