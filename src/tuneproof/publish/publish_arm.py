"""Publish an arm: write it, pass the gate, then upload it or leave the folder.

In: an arm's folder, a repository's name or a folder. Out: its new location.
Knows nothing of: the contents of files and card, the gate's process, the hub's API.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuneproof.atomic import MANIFEST, atomic_folder, read_json, remove_folder, remove_leftovers, write_text
from tuneproof.errors import RecipeError, RunError
from tuneproof.publish import hub
from tuneproof.publish.card import CardOptions, find_licence, make_card
from tuneproof.publish.files import Publication, copy_file, prepare_publication, write_weights
from tuneproof.publish.gate import GateResult, run_gate
from tuneproof.publish.hub import Upload, upload
from tuneproof.record.study_folder import REPORT_HTML, REPORT_JSON, REPORT_MD, slug

CARD = "README.md"
PUBLISHED = "published"  # in a study: the folders of arms during their upload
REPORTS = (REPORT_HTML, REPORT_JSON, REPORT_MD)


@dataclass(frozen=True)
class PublishResult:
    """The gate's result, and the written folder or the upload."""

    gate: GateResult
    folder: Path | None
    upload: Upload | None


def publish_arm(
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
) -> PublishResult:
    """Write an arm's weights, tokenizer and card, load them in a fresh process, and upload them.

    repo: OWNER/NAME, from which the card's code loads; private unless `public`. to: write this folder
    instead and do not use the network. update: replace existing files. merged: include the base.
    report: include the study's report. base: the base's hub id, if the study's is a folder. licence: as
    the hub writes it; None: the base's, if known.

    Raises: RecipeError if the arm cannot or may not be published; RunError if the written files do not
    reproduce the study's predictions (nothing is uploaded), or the hub refuses.
    """
    hub.check_repository_name(repo)
    if base is not None:
        hub.check_repository_name(base)
    remote = None
    if to is None:
        hub.check_token()
        remote = hub.read_repository(repo)
        perhaps_equal = remote is not None and MANIFEST in remote.files  # this arm, uploaded before
        hub.check_repository(repo, remote, public, update or perhaps_equal)
    else:
        _check_target(Path(to), update)
    publication = prepare_publication(Path(arm), merged, base)
    if to is not None and Path(to).resolve().is_relative_to(publication.study.folder.resolve()):
        raise RecipeError(str(to), "lies in the study's folder.", do="Name a folder outside it.")
    attachments = _find_reports(publication) if report else ()
    on_hub = (
        hub.read_licence(publication.base_name)
        if to is None and publication.base_name
        else hub.UNKNOWN_LICENCE
    )
    local = find_licence(publication)
    options = CardOptions(repo, licence or (on_hub if local == hub.UNKNOWN_LICENCE else local), attachments)
    if to is not None:
        return PublishResult(write_published(publication, Path(to), options), Path(to), None)
    with _temporary_folder(publication) as folder:
        gate = write_published(publication, folder, options)
        if remote is not None and not hub.is_equal(remote, hub.file_checksums(folder)):
            hub.check_repository(repo, remote, public, update)
        return PublishResult(gate, None, upload(repo, folder, remote, public))


def _check_target(to: Path, update: bool) -> None:
    """Raises RecipeError if the folder exists and may not be replaced."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    if not update or not to.is_dir():
        raise RecipeError(str(to), "already exists.", do="Name another folder, or add --update.")
    checksums = read_json(to / MANIFEST) if (to / MANIFEST).is_file() else {}
    published = {*checksums, MANIFEST} if isinstance(checksums, dict) and CARD in checksums else set()
    foreign = sorted(file.name for file in to.iterdir() if file.name not in published)
    if foreign:
        problem = f"holds {foreign[0]}, which `tuneproof publish` did not write."
        allowed = "--update replaces a whole folder, and only one that this command wrote."
        raise RecipeError(str(to), problem, allowed, "Name another folder.")


@contextmanager
def _temporary_folder(publication: Publication) -> Iterator[Path]:
    """A folder in the study that exists during the upload; a later call starts with a new one."""
    parent = publication.study.folder / PUBLISHED
    remove_leftovers(parent)
    folder = parent / slug(publication.record.folder.name)
    try:
        yield folder
    finally:
        if folder.is_dir():
            remove_folder(folder)


def _find_reports(publication: Publication) -> tuple[str, ...]:
    folder = publication.study.folder
    reports = tuple(name for name in REPORTS if (folder / name).is_file())
    if not reports:
        raise RunError(str(folder), "has no report.", do=f"Write it first: tuneproof report {folder}.")
    return reports


def write_published(publication: Publication, folder: Path, options: CardOptions) -> GateResult:
    """Write the folder, complete or not at all: it exists only if the gate was passed.

    Raises: RunError if it was not.
    """
    with atomic_folder(folder) as inside:
        load_spec = write_weights(publication, inside)
        gate = run_gate(publication, load_spec, inside)
        write_text(inside / CARD, make_card(publication, load_spec, gate, options))
        for name in options.attachments:
            copy_file(publication.study.folder / name, inside / name)
        _refuse_secrets(inside)
    return gate


def _refuse_secrets(folder: Path) -> None:
    """Raises RunError if a file holds the hub's token."""
    from huggingface_hub import get_token

    token = (get_token() or "").encode()
    for file in sorted(path for path in folder.iterdir() if path.suffix != ".safetensors"):
        if token and token in file.read_bytes():
            do = "Create a new token, and find out how this one got into the file."
            raise RunError(file.name, "holds the hub's token.", "Nothing is uploaded.", do)
