"""A model's files from the hub: the named small ones, or the safetensors too, as announced.

In: a ModelSource. Out: the folder that holds them.
Knows nothing of: what stands in the files.
"""

from pathlib import Path

from tuneproof.errors import ModelError, ModelUnreachedError
from tuneproof.families.models import ModelSource
from tuneproof.hub.offline import never_reached
from tuneproof.hub.verify_cache import damaged, drop

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
)
WEIGHT_FILES = ("model*.safetensors", "model.safetensors.index.json")


def fetch(source: ModelSource, weights: bool) -> Path:
    """The folder that holds the model; from the hub only the named small files or safetensors come.

    What the cache holds under another checksum than its own is fetched again, once.

    Raises: ModelError where the hub has no such model, asks for consent, or sends other files than
    it announces; ModelUnreachedError where it was not reached.
    """
    if source.local:
        return Path(source.path_or_id)
    folder = _snapshot(source, weights)
    if bad := damaged(folder, weights):
        drop(bad)
        folder = _snapshot(source, weights)
    if bad := damaged(folder, weights):
        drop(bad)
        raise ModelError(
            source.path_or_id,
            f"what the hub sent as {bad[0].name} is not what it announced (checksum differs).",
            do="Try again; is there a proxy between?",
        )
    return folder


def _snapshot(source: ModelSource, weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    if not weights:
        disable_progress_bars()  # small files are there at once
    try:
        return Path(
            snapshot_download(
                source.path_or_id,
                revision=source.revision,
                allow_patterns=list(SMALL_FILES + (WEIGHT_FILES if weights else ())),
            )
        )
    except GatedRepoError:
        raise ModelError(
            source.path_or_id,
            "asks for consent before it is downloaded.",
            do=f"Accept its terms at https://huggingface.co/{source.path_or_id}, then log in with "
            "`hf auth login`.",
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise ModelError(
            source.path_or_id,
            f"the hub has no such model (revision {source.revision}).",
            do="Check the name, or log in with `hf auth login` where it is private.",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, client_error()) as error:
        kind = ModelUnreachedError if never_reached(error) else ModelError
        raise kind(
            source.path_or_id,
            f"is not on this machine and could not be fetched ({type(error).__name__}).",
            do="Connect to the network, or name a folder that holds the model.",
        ) from None
    finally:
        if shown:
            enable_progress_bars()


def client_error() -> type[Exception]:
    """The HTTP client's own error, whichever client the hub's library is built on."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError"), HfHubHTTPError)
