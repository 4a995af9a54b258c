"""Upload a folder to a repository of the model hub: private, in one commit, read back.

In: a folder, a repository's name. Out: the repository holds the folder and nothing else.
Knows nothing of: studies, models, cards.

The hub library reads the token from its environment variable or its store; it never enters a file, a
message or a process of ours.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.atomic import sha256_of_file
from tuneproof.errors import RecipeError, RunError
from tuneproof.hub.download import http_error_type

UNKNOWN_LICENCE = "unknown"  # the hub's own word
HUB_FILE = ".gitattributes"  # the hub writes it into every repository
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
RETRY = "Uploaded files are kept: run the same command to continue."


@dataclass(frozen=True)
class RemoteRepository:
    """The state of a repository: its commit, and the checksums of its files (without the hub's own)."""

    commit: str
    private: bool
    files: Mapping[str, str]


@dataclass(frozen=True)
class Upload:
    """A finished upload: the address, the commit, the numbers of files uploaded and removed."""

    url: str
    commit: str
    uploaded: int
    removed: int


def check_repository_name(repo: str) -> None:
    """Raises RecipeError if this is not the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        is_valid = bool(NAME.fullmatch(repo))
    except HFValidationError:
        is_valid = False
    if not is_valid:
        allowed = "Allowed: letters, digits, dots and dashes on both sides of one slash."
        raise RecipeError(repo or "REPO", "is not a name of a repository.", allowed, "Write OWNER/NAME.")


def check_token() -> None:
    """Raises RecipeError if there is no token; does not query the hub."""
    from huggingface_hub import get_token

    if not get_token():
        do = "Log in with `hf auth login`, set HF_TOKEN, or write a folder with --to."
        raise RecipeError("publish", "there is no token for the hub.", do=do)


def read_repository(repo: str) -> RemoteRepository | None:
    """The state of the repository; None if it does not exist or the token cannot see it.

    Raises: RunError if the hub does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    with _explained_errors(repo):
        try:
            info = api.model_info(repo)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
            return None
        tree = api.list_repo_tree(repo, recursive=True, revision=info.sha)
        stored: list[Any] = [entry for entry in tree if hasattr(entry, "blob_id")]
        files = {entry.path: str(entry.lfs.sha256 if entry.lfs else entry.blob_id) for entry in stored}
    files.pop(HUB_FILE, None)
    return RemoteRepository(str(info.sha), bool(info.private), files)


def read_licence(base: str) -> str:
    """The licence on the base's card at the hub, as the hub writes it; otherwise "unknown".

    Raises: RecipeError if the hub has no such model, which nobody could load; RunError if the hub does
    not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with _explained_errors(base):
        try:
            card = HfApi().model_info(base).card_data
        except GatedRepoError:
            return UNKNOWN_LICENCE
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
            problem = "the hub has no such base model, or the token cannot see it."
            do = "Name the base's repository with --base, or use --merged instead of --base."
            raise RecipeError(base, problem, do=do) from None
    value = card.get("license") if card else None
    return value if isinstance(value, str) and value.strip() else UNKNOWN_LICENCE


def file_checksums(folder: Path) -> dict[str, set[str]]:
    """For every file, both checksums under which the hub may list it: SHA-256, and git's of a blob."""
    checksums = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        checksums[name] = {sha256_of_file(file), _git_checksum(file)}
    return checksums


def _git_checksum(file: Path) -> str:
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(file, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_equal(remote: RemoteRepository, checksums: Mapping[str, set[str]]) -> bool:
    """Whether the repository already is the folder with these checksums."""
    return set(checksums) == set(remote.files) and not _differing_files(remote, checksums)


def _differing_files(remote: RemoteRepository, checksums: Mapping[str, set[str]]) -> list[str]:
    return [name for name, allowed in checksums.items() if remote.files.get(name) not in allowed]


def check_repository(repo: str, remote: RemoteRepository | None, public: bool, update: bool) -> None:
    """Check before anything is written that the repository may be changed.

    An empty repository counts as none: an interrupted upload leaves one behind.

    Raises: RecipeError if it holds files that may not be replaced, or its visibility is not the
    requested one.
    """
    if remote is None:
        return
    if not remote.private and not public:
        problem = "The repository exists and is public."
        do = "Pass --public, make the repository private, or name another one."
        raise RecipeError(repo, problem, "tuneproof publishes privately unless you pass --public.", do)
    if remote.private and public:
        problem = "The repository exists and is private."
        allowed = "--public applies only to a new repository."
        raise RecipeError(repo, problem, allowed, "Omit --public, and make the repository public on the hub.")
    if remote.files and not update:
        do = (
            "Name another repository, or add --update to replace its files by this arm; earlier commits stay."
        )
        raise RecipeError(repo, f"The repository exists and holds {len(remote.files)} files.", do=do)


def upload(repo: str, folder: Path, remote: RemoteRepository | None, public: bool) -> Upload:
    """Create the repository if it is missing, upload what differs in one commit, and read it back.

    Raises: RunError if the hub refuses, the connection breaks, or other files are there afterwards.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, checksums = HfApi(), file_checksums(folder)
    with _explained_errors(repo):
        if remote is None:
            api.create_repo(repo, private=not public, exist_ok=False)
            remote = read_repository(repo)
    if remote is None or (not remote.private and not public):
        problem = "The hub created the repository, but not as a private one."
        raise RunError(repo, problem, "Nothing is uploaded.", "Check the repository on the hub.")
    changed = _differing_files(remote, checksums)
    removed = [name for name in remote.files if name not in checksums]
    if changed or removed:
        operations: list[Any] = [
            *(CommitOperationAdd(name, str(folder / name)) for name in changed),
            *(CommitOperationDelete(name) for name in removed),
        ]
        with _explained_errors(repo):
            api.create_commit(
                repo, operations, commit_message="Published by tuneproof", parent_commit=remote.commit
            )
    commit = _read_back(repo, checksums)
    return Upload(f"{api.endpoint}/{repo}", commit, len(changed), len(removed))


def _read_back(repo: str, checksums: Mapping[str, set[str]]) -> str:
    """The commit, once the repository holds exactly these files."""
    remote = read_repository(repo)
    if remote is None:
        raise RunError(
            repo, "The repository is gone after the upload.", do="Run the same command with --update."
        )
    differing = _differing_files(remote, checksums)
    differing += [name for name in remote.files if name not in checksums]
    if differing:
        problem = f"The repository differs from what was uploaded: {', '.join(differing[:3])}."
        raise RunError(repo, problem, do="Run the same command with --update.")
    return remote.commit


@contextmanager
def _explained_errors(repo: str) -> Iterator[None]:
    """Turn errors of the hub and the network into errors that say what to do."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        problem = "HF_HUB_OFFLINE is set, so the hub cannot be used."
        raise RunError(repo, problem, do="Unset it, or write a folder with --to.") from None
    except HfHubHTTPError as error:
        raise _http_error(repo, error.response.status_code) from None
    except ValueError as error:
        raise RunError(repo, f"the hub refuses it: {' '.join(str(error).split())}") from None
    except (OSError, RuntimeError, http_error_type()) as error:
        code = _status_code(error)
        if code:
            raise _http_error(repo, code) from None
        problem = f"the hub could not be reached, or the connection broke ({type(error).__name__})."
        raise RunError(repo, problem, RETRY, "Check the network connection.") from None


def _status_code(error: BaseException | None) -> int:
    """The HTTP status under an error that wraps it; 0 if there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return 0


def _http_error(repo: str, code: int) -> RunError:
    owner = repo.partition("/")[0]
    problem, do = {
        401: (
            "the hub does not accept the token (401).",
            "Log in again with `hf auth login`, or set another HF_TOKEN.",
        ),
        403: (
            f"the token may not write there (403): it is read-only, or {owner} is not yours.",
            "Create a token with write access, or name a repository of your own.",
        ),
        404: (
            "the hub has no such repository (404), or the token cannot see it.",
            "Check the name and the token's permissions.",
        ),
        409: ("the repository exists, but the token cannot see it (409).", "Name another repository."),
        412: ("someone else changed the repository meanwhile (412).", "Check it, and run the command again."),
    }.get(code, (f"the hub answered {code}.", RETRY))
    return RunError(repo, problem, "Nothing more is uploaded.", do)
