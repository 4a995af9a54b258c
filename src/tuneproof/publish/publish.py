"""Publish an arm: write it, pass the gate, then send it or leave the folder.

In: an arm's folder, a repository's name or a folder. Out: where it is.
Knows nothing of: how the files, the card, the gate and the hub work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuneproof.atomic import MANIFEST, read_json, remove_folder, remove_leftovers, whole_folder, write_text
from tuneproof.errors import RecipeError, RunError
from tuneproof.publish.card import UNKNOWN, Named, known_licence, make_card
from tuneproof.publish.files import Material, copy_file, material_of, write_weights
from tuneproof.publish.gate import Passed, pass_gate
from tuneproof.publish.hub import (
    Sent,
    check_free,
    check_name,
    check_token,
    holds,
    licence_of,
    look,
    send,
    sums_of,
)
from tuneproof.record.study_folder import REPORT_HTML, REPORT_JSON, REPORT_MD, slug

CARD = "README.md"
PUBLISHED = "published"  # of a study: the folders of arms while they are sent
REPORTS = (REPORT_HTML, REPORT_JSON, REPORT_MD)


@dataclass(frozen=True)
class Outcome:
    """What the gate saw, and the folder or what became of the upload."""

    passed: Passed
    folder: Path | None
    sent: Sent | None


def publish(
    arm: Path | str,
    repo: str,
    to: Path | str | None = None,
    *,
    public: bool = False,
    update: bool = False,
    merged: bool = False,
    report: bool = False,
    base: str | None = None,
    licence: str | None = None,
) -> Outcome:
    """Write an arm's weights, tokenizer and card, load them in a fresh process, and send them.

    repo: OWNER/NAME, which the card's lines load from. With `to` a folder is written and no network
    used. The repository is private unless `public`. `update`: files that are there may be replaced.
    `merged`: the base is in it. `report`: the study's report is beside it. `base`: the base's hub id,
    where the study's is a folder. `licence`: as the hub writes it; None: the base's, where known.

    Raises: RecipeError where it may not or cannot be published; RunError where the written files do
    not reproduce the study's predictions (nothing is uploaded), or the hub refuses.
    """
    check_name(repo)
    if base is not None:
        check_name(base)
    remote = None
    if to is None:
        check_token()
        remote = look(repo)
        perhaps = remote is not None and MANIFEST in remote.files  # this very arm, sent before
        check_free(repo, remote, public, update or perhaps)
    else:
        _check_place(Path(to), update)
    material = material_of(Path(arm), merged, base)
    if to is not None and Path(to).resolve().is_relative_to(material.study.folder.resolve()):
        raise RecipeError(str(to), "lies in the study's folder.", do="Name a folder beside it.")
    attached = _reports(material) if report else ()
    theirs = licence_of(material.base_name) if to is None and material.base_name else UNKNOWN
    known = known_licence(material)
    named = Named(repo, licence or (theirs if known == UNKNOWN else known), attached)
    if to is not None:
        passed = write_published(material, Path(to), named)
        return Outcome(passed, Path(to), None)
    with _sending(material) as folder:
        passed = write_published(material, folder, named)
        if remote is not None and not holds(remote, sums_of(folder)):
            check_free(repo, remote, public, update)
        return Outcome(passed, None, send(repo, folder, remote, public))


def _check_place(to: Path, update: bool) -> None:
    """Raises RecipeError where something is there that may not be replaced by a written folder."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    if not update or not to.is_dir():
        raise RecipeError(str(to), "is there already.", do="Name another folder, or add --update.")
    sums = read_json(to / MANIFEST) if (to / MANIFEST).is_file() else {}
    ours = {*sums, MANIFEST} if isinstance(sums, dict) and CARD in sums else set()
    others = sorted(file.name for file in to.iterdir() if file.name not in ours)
    if others:
        raise RecipeError(
            str(to),
            f"holds {others[0]}, which is nothing that was published.",
            "--update replaces a whole folder, and only one that this command wrote.",
            "Name another folder.",
        )


@contextmanager
def _sending(material: Material) -> Iterator[Path]:
    """A folder in the study that is there while it is sent; a later call begins it anew."""
    home = material.study.folder / PUBLISHED
    remove_leftovers(home)
    folder = home / slug(material.record.folder.name)
    try:
        yield folder
    finally:
        if folder.is_dir():
            remove_folder(folder)


def _reports(material: Material) -> tuple[str, ...]:
    found = tuple(name for name in REPORTS if (material.study.folder / name).is_file())
    if not found:
        raise RunError(
            str(material.study.folder),
            "has no report.",
            do=f"Render it first: tuneproof report {material.study.folder}.",
        )
    return found


def write_published(material: Material, folder: Path, named: Named) -> Passed:
    """The folder, complete or absent: it is there only where the gate was passed.

    Raises: RunError where it was not.
    """
    with whole_folder(folder) as inside:
        it = write_weights(material, inside)
        passed = pass_gate(material, it, inside)
        write_text(inside / CARD, make_card(material, it, passed, named))
        for name in named.attached:
            copy_file(material.study.folder / name, inside / name)
        _refuse_secrets(inside)
    return passed


def _refuse_secrets(folder: Path) -> None:
    """Raises RunError where a file holds the hub's token."""
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    for file in sorted(path for path in folder.iterdir() if path.suffix != ".safetensors"):
        if token and token in file.read_bytes():
            raise RunError(
                file.name,
                "holds the hub's token.",
                "Nothing is uploaded.",
                "Make a new token, and look where this one came from.",
            )
