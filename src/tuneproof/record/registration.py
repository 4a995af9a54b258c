"""What a study claimed, with which arms and seeds, and how many results there were when that was written.

In: a study's folder, its recipe. Out: registration.json, what was changed after results, in words.
Knows nothing of: predictions, scores, how arms run.

A claim chosen after the scores were seen is likelier to hold by chance: the best of eight equal arms is
called better in 12 % of studies. The first entry is written before the first arm runs, and an entry is
added where the claims, arms or seeds differ from the last one.

Source: Nosek et al. 2018, The preregistration revolution, doi:10.1073/pnas.1708274114.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tuneproof.atomic import sha256_of_text, write_json
from tuneproof.data.findings import plural
from tuneproof.recipe.recipe import Recipe
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARMS, PREDICTIONS, REGISTRATION
from tuneproof.score.verdict import join_names

Entry = Mapping[str, Any]
UNRECORDED = {"claim_changes": [], "other_changes": [], "seed_additions": 0}  # of a study without entries


def register(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """Write the entry of this recipe where it is new. Returns all entries.

    Raises: RunError if registration.json is damaged.
    """
    entries = entries_with(folder, recipe)
    if entries != recorded_entries(folder):
        write_json(folder / REGISTRATION, {"entries": entries})
    return entries


def recorded_entries(folder: Path) -> list[dict[str, Any]]:
    """The entries of registration.json; none without the file.

    An entry: time (UTC), digest of the rest (SHA-256), `finished` (arms with test predictions at that time),
    claims, arms, models, seeds, train_sizes.

    Raises: RunError if registration.json is damaged.
    """
    path = folder / REGISTRATION
    return list(read_object(path)["entries"]) if path.is_file() else []


def entries_with(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    """The recorded entries and, where it is new, that of this recipe, which is not written.

    Raises: RunError if registration.json is damaged.
    """
    entries, design = recorded_entries(folder), _design_of(recipe)
    digest = sha256_of_text(repr(sorted(design.items())))
    if not entries or entries[-1]["digest"] != digest:
        finished = sum((arm / PREDICTIONS).is_file() for arm in (folder / ARMS).glob("*"))
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entries.append({"time": time, "digest": digest, "finished": finished, **design})
    return entries


def registration_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The study's registration in comparisons.json.

    Keys: digest and finished of the first entry, whose time is in registration.json; `claim_changes` and
    `other_changes`: what was changed after the first test predictions, a sentence for each change;
    `seed_additions`: how often seeds were added then.
    """
    claim_changes, other_changes, seed_additions = [], [], 0
    if entries[0]["finished"]:  # by a version that recorded none
        other_changes.append(f"The claims were first recorded {_when(entries[0])}.")
    for before, after in pairwise(entries):
        if after["finished"]:
            claim_changes += [f"{change} {_when(after)}." for change in _claim_changes(before, after)]
            other_changes += [f"{change} {_when(after)}." for change in _additions(before, after)]
            seed_additions += not set(after["seeds"]) <= set(before["seeds"])
    first = {key: entries[0][key] for key in ("digest", "finished")}
    changes = {"claim_changes": claim_changes, "other_changes": other_changes}
    return {**first, **changes, "seed_additions": seed_additions}


def _design_of(recipe: Recipe) -> dict[str, Any]:
    return {
        "claims": [claim.model_dump(mode="json") for claim in recipe.claims],
        "arms": [arm.name for arm in recipe.arms],
        "models": [model.name or model.id for model in recipe.models],
        "seeds": list(recipe.seeds),
        "train_sizes": list(recipe.train_sizes),
    }


def _claim_changes(before: Entry, after: Entry) -> list[str]:
    made, dropped = _claims_beyond(after, before), _claims_beyond(before, after)
    if made and dropped:
        return [f"The claim was changed from {join_names(dropped)} to {join_names(made)}"]
    if made or dropped:
        return [f"The claim {join_names(made or dropped)} was {'added' if made else 'dropped'}"]
    return []


def _claims_beyond(entry: Entry, other: Entry) -> list[str]:
    return [_claim_name(claim) for claim in entry["claims"] if claim not in other["claims"]]


def _additions(before: Entry, after: Entry) -> list[str]:
    """The arms, models, seeds and samples that were added."""
    additions = []
    for key, noun in (("arms", "arm"), ("models", "model"), ("seeds", "seed"), ("train_sizes", "train size")):
        added = [str(value) for value in after[key] if value not in before[key]]
        if len(added) == 1:
            additions.append(f"The {noun} {added[0]} was added")
        elif added:
            additions.append(f"The {noun}s {join_names(added)} were added")
    return additions


def _claim_name(claim: Entry) -> str:
    metric = f" by {claim['metric']}" if claim.get("metric") else ""
    margin = f" with a margin of {claim['margin']:g}" if claim.get("margin") else ""
    return f"{claim['arm']} over {claim['over']}{metric}{margin}"


def _when(entry: Entry) -> str:
    return f"after {plural(entry['finished'], 'arm', 'arms')} had finished ({entry['time'][:10]})"
