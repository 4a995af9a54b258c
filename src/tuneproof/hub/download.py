"""Downloads a model's files from the hub and verifies their checksums.

In: a ModelSource. Out: the folder that holds its files. Knows nothing of: what the files contain.
"""

from pathlib import Path

from tuneproof.errors import ModelError, ModelUnreachedError
from tuneproof.families.models import ModelSource
from tuneproof.hub.cache_disk import cache_write_error
from tuneproof.hub.offline import is_unreachable
from tuneproof.hub.verify_cache import find_damaged, remove_from_cache

SMALL_FILES = (
    *(
        "config.json",
        "generation_config.json",
        "adapter_config.json",
        "tokenizer*",
        "special_tokens_map.json",
    ),
    *("added_tokens.json", "vocab*", "merges.txt", "*.model", "chat_template*"),
)
WEIGHT_FILES = ("model*.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


def download_model(source: ModelSource, weights: bool) -> Path:
    """The folder that holds the model: only its SMALL_FILES, and with `weights` its safetensors.

    Files in the cache whose checksum differs are downloaded again, once.

    Raises: ModelError if the hub has no such model, asks for consent, or sends a file whose checksum
    differs; ModelUnreachedError if the hub was not reached; RunError if the cache cannot be written.
    """
    if source.local:
        return Path(source.path_or_id)
    folder = _snapshot(source, weights)
    if damaged := find_damaged(folder, weights):
        remove_from_cache(damaged)
        folder = _snapshot(source, weights)
    if damaged := find_damaged(folder, weights):
        remove_from_cache(damaged)
        problem = f"the hub sent another file than it announced for {damaged[0].name} (checksum differs)."
        do = "Try again, and check whether a proxy changes downloads."
        raise ModelError(source.path_or_id, problem, do=do)
    return folder


def cached_folder(source: ModelSource) -> Path | None:
    """The folder that holds the model; None if it has not been downloaded."""
    from huggingface_hub import errors, snapshot_download

    if source.local:
        return Path(source.path_or_id)
    try:
        return Path(snapshot_download(source.path_or_id, revision=source.revision, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None


def _snapshot(source: ModelSource, weights: bool) -> Path:
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars_enabled = not are_progress_bars_disabled()
    if not weights:
        disable_progress_bars()  # small files take no time
    try:
        files = [*SMALL_FILES, *(WEIGHT_FILES if weights else ())]
        return Path(snapshot_download(source.path_or_id, revision=source.revision, allow_patterns=files))
    except errors.GatedRepoError:
        problem = "requires you to accept its terms before downloading."
        do = f"Accept them at https://huggingface.co/{source.path_or_id}, then log in with `hf auth login`."
        raise ModelError(source.path_or_id, problem, do=do) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        problem = f"the hub has no such model (revision {source.revision or 'main'})."
        do = "Check the name; if the model is private, log in with `hf auth login`."
        raise ModelError(source.path_or_id, problem, do=do) from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError, http_error_type()) as error:
        if (refusal := cache_write_error(error)) is not None:
            raise refusal from None
        kind = ModelUnreachedError if is_unreachable(error) else ModelError
        problem = f"is not on this machine and could not be downloaded ({type(error).__name__})."
        do = "Connect to the network, or name a folder that holds the model."
        raise kind(source.path_or_id, problem, do=do) from None
    finally:
        if bars_enabled:
            enable_progress_bars()


def http_error_type() -> type[Exception]:
    """The base error class of the HTTP client that the hub's library uses."""
    from huggingface_hub.errors import HfHubHTTPError

    return next((c for c in HfHubHTTPError.__mro__ if c.__name__ == "HTTPError"), HfHubHTTPError)
