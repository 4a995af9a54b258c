"""What an arm's outcome depends on, kept beside it; what changed since, accepted or begun again.

In: an arm's folder, facts by name. Out: differences in words, changes.json.
Knows nothing of: where facts come from, how an arm is carried out.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneproof.atomic import make_folder, read_json, rename_folder, sha256_of_text, write_json
from tuneproof.errors import TuneproofError
from tuneproof.record.study_folder import ARM, ARMS, ASIDE, CHANGES, CHECKPOINTS, FACTS, JOURNAL

Facts = Mapping[str, Any]
NAMED = 4  # differences that a sentence names
DIGEST = 16  # characters of a checksum that stands for the whole


def fingerprint_of(facts: Facts) -> str:
    """Changes with any fact."""
    return sha256_of_text(repr(sorted(facts.items())))[:DIGEST]


def write_facts(folder: Path, facts: Facts, fitted: Mapping[str, Any] | None) -> None:
    """Keep what an arm that begins depends on; `fitted`: settings chosen to fit the memory."""
    value = {"fingerprint": fingerprint_of(facts), "facts": dict(facts), "fitted": fitted}
    write_json(folder / FACTS, value)


def fitted_before(folder: Path) -> dict[str, Any] | None:
    """The settings that were chosen to fit the memory when the unfinished arm began."""
    return _read(folder / FACTS).get("fitted") if _has_state(folder) else None


def changed_since(folder: Path, facts: Facts, accepted: frozenset[str] = frozenset()) -> list[str]:
    """What differs between an arm's folder and these facts, in words; nothing where nothing is there.

    accepted: fingerprints that are taken for theirs. An arm that neither finished nor left anything to
    go on from begins anew whatever differs.
    """
    done = _read(folder / ARM)
    kept = _read(folder / FACTS)
    if not (done.get("status") == "done" or _has_state(folder)):
        return []
    was = str(done.get("fingerprint") if done.get("status") == "done" else kept.get("fingerprint"))
    if was == fingerprint_of(facts) or was in accepted:
        return []
    return differences(kept.get("facts") or {}, facts) or ["its settings"]


def differences(old: Facts, new: Facts) -> list[str]:
    """Each fact that is not the same, in words."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new or name not in old:
            found.append(f"{name} {'is not there any more' if name in old else 'is new'}")
        elif old[name] != new[name]:
            whole = all(isinstance(v, str) and len(v) == 64 for v in (old[name], new[name]))
            found.append(
                f"{name} differs" if whole else f"{name} was {_short(old[name])}, is {_short(new[name])}"
            )
    return found


def told(found: Sequence[str]) -> str:
    """Differences as one line, the first of many."""
    more = len(found) - NAMED
    return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")


class Changes:
    """A study's changes.json: what was accepted, and which arms were begun again."""

    def __init__(self, study: Path) -> None:
        self.study = Path(study)
        found = _read(self.study / CHANGES)
        self.entries: list[dict[str, Any]] = list(found.get("changes") or [])

    def accepted(self, folder: Path, fingerprint: str) -> frozenset[str]:
        """The fingerprints that are taken for this one, by what was accepted for the arm."""
        known = {fingerprint}
        mine = [e for e in self.entries if e["arm"] == folder.name and e["what"] == "accepted"]
        for _ in mine:  # one was accepted for the other, which was accepted for this
            known |= {str(entry["was"]) for entry in mine if entry["is"] in known}
        return frozenset(known - {fingerprint})

    def accept(self, folder: Path, facts: Facts, found: Sequence[str]) -> None:
        """Take the arm as it is for one with these facts."""
        done = _read(folder / ARM)
        was = done.get("fingerprint") or _read(folder / FACTS).get("fingerprint")
        self._add("accepted", folder, found, was=was, **{"is": fingerprint_of(facts)})

    def restart(self, folder: Path, found: Sequence[str]) -> Path:
        """Move the arm's folder aside, so that it begins anew. Returns where it is."""
        aside = make_folder(self.study / ASIDE)
        number = 1
        while (aside / f"{folder.name}.{number}").exists():
            number += 1
        to = aside / f"{folder.name}.{number}"
        self._add("restarted", folder, found, moved_to=str(to.relative_to(self.study)))
        rename_folder(folder, to)
        return to

    def _add(self, what: str, folder: Path, found: Sequence[str], **more: Any) -> None:
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"what": what, "arm": folder.name, "differences": list(found), "made_at": made_at}
        self.entries.append({**entry, **more})
        write_json(self.study / CHANGES, {"changes": self.entries})


def arm_folders(study: Path) -> list[Path]:
    """Every arm's folder that is there."""
    arms = Path(study) / ARMS
    return sorted(path for path in arms.iterdir() if path.is_dir()) if arms.is_dir() else []


def _has_state(folder: Path) -> bool:
    """Whether an unfinished arm left anything that a run would go on from."""
    return any((folder / CHECKPOINTS).glob("step-*")) or any((folder / JOURNAL).glob("*.jsonl"))


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of ours; empty where there is none that can be read."""
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
    except TuneproofError:
        return {}
    return found if isinstance(found, dict) else {}


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    if isinstance(value, str) and " " in text:
        text = f"'{text}'"
    return text if len(text) <= 60 else f"{text[:57]}..."
