"""A folder becomes a repository of the model hub: made private, sent in one commit, read back.

In: a folder, a repository's name. Out: the repository holds the folder and nothing else.
Knows nothing of: studies, models, cards.

The token is the hub library's own, from its environment variable or its store: it is never read
into a file, a message or a process of ours.
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
from tuneproof.hub.download import client_error

UNKNOWN = "unknown"  # the hub's own word for a licence that nobody said
THEIRS = ".gitattributes"  # the hub writes it into every repository
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
RESUME = "What was sent is kept: the same command goes on."


@dataclass(frozen=True)
class Remote:
    """A repository as it is: its commit, and the checksums of its files (without the hub's own)."""

    commit: str
    private: bool
    files: Mapping[str, str]


@dataclass(frozen=True)
class Sent:
    """What became of it: the address, the commit, how many files were sent and removed."""

    url: str
    commit: str
    sent: int
    removed: int


def check_name(repo: str) -> None:
    """Raises RecipeError where this is no name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        whole = bool(NAME.fullmatch(repo))
    except HFValidationError:
        whole = False
    if not whole:
        raise RecipeError(
            repo or "REPO",
            "is not a name of a repository.",
            "Letters, digits, dots and dashes on both sides of one slash.",
            "Write OWNER/NAME.",
        )


def check_token() -> None:
    """Raises RecipeError where no token is at hand; nothing is asked of the hub."""
    from huggingface_hub import get_token

    if not get_token():
        raise RecipeError(
            "publish",
            "there is no token for the hub.",
            do="Log in with `hf auth login`, set HF_TOKEN, or write a folder with --to.",
        )


def look(repo: str) -> Remote | None:
    """The repository as it is; None where there is none that this token sees.

    Raises: RunError where the hub cannot be asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    with _said(repo):
        try:
            info = api.model_info(repo)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
            return None
        tree = api.list_repo_tree(repo, recursive=True, revision=info.sha)
        files = {entry.path: _their_sum(entry) for entry in tree if hasattr(entry, "blob_id")}
    files.pop(THEIRS, None)
    return Remote(str(info.sha), bool(info.private), files)


def licence_of(base: str) -> str:
    """The licence that the base's card names at the hub, as the hub writes it; else "unknown".

    Raises: RecipeError where the hub has no such model: the card would name what nobody can load;
    RunError where the hub cannot be asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with _said(base):
        try:
            card = HfApi().model_info(base).card_data
        except GatedRepoError:
            return UNKNOWN
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
            raise RecipeError(
                base,
                "is to be the base, and the hub has no such model that the token sees.",
                do="Name the base's repository with --base, or leave --base out and add --merged.",
            ) from None
    value = card.get("license") if card else None
    return value if isinstance(value, str) and value.strip() else UNKNOWN


def _their_sum(entry: Any) -> str:
    return str(entry.lfs.sha256 if entry.lfs else entry.blob_id)


def sums_of(folder: Path) -> dict[str, set[str]]:
    """Of every file both checksums under which the hub may hold it: SHA-256, and git's of a blob."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        found[name] = {sha256_of_file(file), _git_sum(file)}
    return found


def _git_sum(file: Path) -> str:
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(file, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def holds(remote: Remote, ours: Mapping[str, set[str]]) -> bool:
    """Whether the repository is the folder with these checksums already."""
    same = set(ours) == set(remote.files)
    return same and all(remote.files[name] in sums for name, sums in ours.items())


def check_free(repo: str, remote: Remote | None, public: bool, update: bool) -> None:
    """What can be known before anything is written.

    An empty repository is as good as none: a stopped upload leaves one behind.

    Raises: RecipeError where the repository holds files and may not be changed, or is open to all
    and what is published should not be.
    """
    if remote is None:
        return
    if not remote.private and not public:
        raise RecipeError(
            repo,
            "is there and open to everyone.",
            "What is published is private unless it is said.",
            "Add --public, make the repository private, or name another.",
        )
    if remote.private and public:
        raise RecipeError(
            repo,
            "is there and private.",
            "--public is for a repository that is made.",
            "Leave it out, and open the repository on the hub.",
        )
    if remote.files and not update:
        raise RecipeError(
            repo,
            f"is there and holds {len(remote.files)} files.",
            do="Name another repository, or add --update: what is in it becomes this arm, "
            "its earlier commits stay.",
        )


def send(repo: str, folder: Path, remote: Remote | None, public: bool) -> Sent:
    """Make the repository where it is missing, send what it lacks in one commit, read it back.

    Raises: RunError where the hub refuses, breaks off, or holds other files afterwards.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, ours = HfApi(), sums_of(folder)
    with _said(repo):
        if remote is None:
            api.create_repo(repo, private=not public, exist_ok=False)
            remote = look(repo)
    if remote is None or (not remote.private and not public):
        raise RunError(
            repo,
            "was made, and is not as it was asked for: it is not private.",
            "Nothing is uploaded.",
            "Look at it on the hub.",
        )
    lacks = [name for name, sums in ours.items() if remote.files.get(name) not in sums]
    more = [name for name in remote.files if name not in ours]
    if lacks or more:
        operations: list[Any] = [
            *(CommitOperationAdd(name, str(folder / name)) for name in lacks),
            *(CommitOperationDelete(name) for name in more),
        ]
        with _said(repo):
            api.create_commit(
                repo, operations, commit_message="Published by tuneproof", parent_commit=remote.commit
            )
    return _read_back(repo, api, ours, len(lacks), len(more))


def _read_back(repo: str, api: Any, ours: Mapping[str, set[str]], sent: int, removed: int) -> Sent:
    there = look(repo)
    held = there.files if there else {}
    unlike = [name for name, sums in ours.items() if held.get(name) not in sums]
    unlike += [name for name in held if name not in ours]
    if there is None or unlike:
        raise RunError(
            repo,
            f"does not hold what was sent: {', '.join(unlike[:3]) or 'nothing is there'} differs.",
            do="Run the same command with --update.",
        )
    return Sent(f"{api.endpoint}/{repo}", there.commit, sent, removed)


@contextmanager
def _said(repo: str) -> Iterator[None]:
    """What the hub and the way to it say, as an error that tells what to do."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise RunError(
            repo,
            "HF_HUB_OFFLINE is set: the hub may not be asked.",
            do="Unset it, or write a folder with --to.",
        ) from None
    except HfHubHTTPError as error:
        raise _answered(repo, error.response.status_code) from None
    except ValueError as error:
        raise RunError(repo, f"the hub refuses it: {' '.join(str(error).split())}") from None
    except (OSError, RuntimeError, client_error()) as error:
        code = _status(error)
        if code:
            raise _answered(repo, code) from None
        raise RunError(
            repo,
            f"could not be reached or broke off ({type(error).__name__}).",
            RESUME,
            "Look whether the network is there.",
        ) from None


def _status(error: BaseException | None) -> int:
    """The hub's status under an error that wraps it; 0 where there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return 0


def _answered(repo: str, code: int) -> RunError:
    owner = repo.partition("/")[0]
    found, do = {
        401: (
            "the hub does not know the token (401).",
            "Log in again with `hf auth login`, or set another HF_TOKEN.",
        ),
        403: (
            f"the token may not write there (403): it reads only, or {owner} is not yours.",
            "Make a token with the right to write, or name a repository of your own.",
        ),
        404: (
            "the hub has no such repository (404), or the token may not see it.",
            "Check the name, and the token's rights.",
        ),
        409: ("is there already, and the token may not see it (409).", "Name another repository."),
        412: ("was changed by someone else meanwhile (412).", "Look at it, and run the command again."),
    }.get(code, (f"the hub answered {code}.", RESUME))
    return RunError(repo, found, "Nothing more is uploaded.", do)
