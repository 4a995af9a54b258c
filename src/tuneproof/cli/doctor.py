"""Check this machine for what a study needs, and say how to fix what is missing.

In: nothing. Out: checks with a state. Knows nothing of: recipes, studies, the terminal.

It writes one temporary file, which is deleted at once. No token leaves the machine.
"""

import os
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from tuneproof.metrics.wordnet import HOW_TO_GET, wordnet_folder
from tuneproof.redact import redact

State = Literal["fine", "note", "problem", "broken"]
HUB = "https://huggingface.co"
HUB_TIMEOUT_S = 3.0
MIN_DISK_BYTES = 5 * 2**30
MIN_MEMORY_BYTES = 2 * 2**30
OPTIONAL = {
    "bitsandbytes": "needed for qlora: pip install 'tuneproof[qlora]'",
    "tensorboard": "needed for train.trackers: [tensorboard]: pip install 'tuneproof[trackers]'",
}


@dataclass(frozen=True)
class Check:
    """One result: `fine`; a `note` (some features need more); a `problem`; or `broken` (no study can run)."""

    name: str
    detail: str
    state: State = "fine"
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """The check as plain values."""
        return asdict(self)


def examine() -> list[Check]:
    """Run all checks: packages, devices, memory, hub, disk."""
    finish_hub_check = _start_hub_check()  # the answer may take seconds; torch loads in the meantime
    return [
        Check("python", f"{sys.version.split()[0]} at {sys.executable}"),
        *_packages(),
        *_devices(),
        _threads(),
        _memory(),
        finish_hub_check(),
        _token(),
        *_folders(),
        _wordnet(),
    ]


def _packages() -> Iterator[Check]:
    """Every package that tuneproof requires, and whether its version is allowed."""
    try:
        requirements = requires("tuneproof") or []
        yield Check("tuneproof", version("tuneproof"))
    except PackageNotFoundError:
        fix = "Run pip install -e . in its folder."
        yield Check("tuneproof", "runs from a folder and is not installed", "problem", fix)
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Check("packaging", "not installed", "broken", "pip install packaging")
        return
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement.name, requirement.specifier)
    yield _package("tokenizers", "")  # transformers chooses the version
    for name, purpose in OPTIONAL.items():
        try:
            yield Check(name, version(name))
        except PackageNotFoundError:
            yield Check(name, "not installed", "note", f"{purpose}.")


def _package(name: str, allowed: Any) -> Check:
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Check(name, "not installed", "broken", f"pip install '{name}{allowed}'")
    if allowed and not allowed.contains(installed, prereleases=True):
        fix = f"pip install -U '{name}{allowed}'"
        return Check(name, f"{installed}, but {allowed} is required", "broken", fix)
    return Check(name, installed)


def _devices() -> Iterator[Check]:
    """The devices that torch sees, and their precisions."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        message = (str(error).splitlines() or [type(error).__name__])[0]
        yield Check("torch", f"does not load: {redact(message)}", "broken", "Reinstall torch.")
        return
    yield _cpu(torch)
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        precisions = "fp32, bf16, fp16" if native else "fp32, fp16 (bf16 is emulated)"
        free, total = torch.cuda.mem_get_info(index)
        yield Check(f"cuda:{index}", f"{properties.name}, {_size(free)} of {_size(total)} free; {precisions}")
    if torch.backends.mps.is_available():
        yield Check("mps", "available; fp32, bf16")
    if not torch.cuda.is_available() and Path("/proc/driver/nvidia/version").exists():
        fix = "This torch is built for CPUs. Install a CUDA build (pytorch.org)."
        if built := torch.version.cuda:
            fix = f"This torch is built for CUDA {built}. Check the driver version and CUDA_VISIBLE_DEVICES."
        yield Check("cuda", "an NVIDIA driver is installed, but torch sees no device", "problem", fix)


def _cpu(torch: Any) -> Check:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
        native = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
        bf16 = f"bf16 ({', '.join(native)})" if native else "bf16 (slow: this CPU has no bf16 instructions)"
    except OSError:
        bf16 = "bf16"
    return Check("cpu", f"{torch.backends.cpu.get_cpu_capability()}; fp32, {bf16}; no fp16")


def _threads() -> Check:
    threads = os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{cores} cores for this process"
    if threads is None:
        return Check("threads", detail)
    detail = f"{detail}, OMP_NUM_THREADS={threads}"
    if threads.isdecimal() and 0 < int(threads) <= (cores or 1):
        return Check("threads", detail)
    fix = f"Unset OMP_NUM_THREADS, or set it to at most {cores}: more threads than cores are slower."
    return Check("threads", detail, "problem", fix)


def _memory() -> Check:
    from tuneproof.memory.usage import free_bytes

    free = free_bytes("cpu")
    if free < MIN_MEMORY_BYTES:
        fix = "Close other programs, or use a smaller model; `tuneproof memory MODEL` shows what fits."
        return Check("memory", f"{_size(free)} free", "problem", fix)
    return Check("memory", f"{_size(free)} free")


def _start_hub_check() -> Callable[[], Check]:
    """Start a request to the hub without a token; the returned function waits for the answer."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            detail = f"not contacted, because {name} is set; models come from the cache or from folders"
            return partial(Check, "hub", detail)
    address = os.environ.get("HF_ENDPOINT") or HUB
    hub = redact(address)
    if not address.startswith(("https://", "http://")):
        return partial(Check, "hub", f"HF_ENDPOINT is {hub}", "problem", "Set it to an https:// address.")
    answers: list[str] = []
    thread = threading.Thread(target=_request, args=(address, answers), daemon=True)
    thread.start()  # in a thread, because a name lookup has no timeout

    def finish() -> Check:
        thread.join(HUB_TIMEOUT_S)
        if answers == ["reached"]:
            return Check("hub", f"{hub} answers")
        reason = answers[0] if answers else f"no answer in {HUB_TIMEOUT_S:g} s"
        fix = "Use models and data from the cache or from folders. Behind a proxy, set HTTPS_PROXY."
        return Check("hub", f"{hub} is not reachable ({redact(reason)})", "note", fix)

    return finish


def _request(address: str, answers: list[str]) -> None:
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "tuneproof"})
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):
            answers.append("reached")
    except urllib.error.HTTPError as error:
        answers.append("reached" if error.code < 500 else f"HTTP status {error.code}")
    except (OSError, ValueError) as error:
        answers.append(str(getattr(error, "reason", error)))


def _token() -> Check:
    """Whether there is a token. The token itself is never shown."""
    from huggingface_hub import constants, get_token

    if not get_token():
        fix = "Gated models (Llama, Gemma) need a token: run `hf auth login`."
        return Check("token", "none", "note", fix)
    file = Path(constants.HF_TOKEN_PATH)
    if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
        return Check("token", f"set, but other users can read {file}", "problem", f"chmod 600 {file}")
    return Check("token", "set (not shown)")


def _folders() -> Iterator[Check]:
    """The current folder and the hub's cache: whether they are writable, and their free space."""
    from huggingface_hub import constants

    yield _folder("current folder", Path.cwd(), "Change to another folder, or use --out.")
    yield _folder("cache", Path(constants.HF_HUB_CACHE), "Set HF_HOME to a folder of your own.")


def _folder(name: str, folder: Path, fix: str) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {_size(free)} free"
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(name, f"{detail}, not writable ({error.strerror})", "problem", fix)
    if free < MIN_DISK_BYTES:
        return Check(name, detail, "problem", "Free some disk space: a model and its arms take gigabytes.")
    return Check(name, detail)


def _wordnet() -> Check:
    folder = wordnet_folder()
    if folder is None:
        return Check("wordnet", "not installed", "note", f"METEOR needs it: {HOW_TO_GET}.")
    return Check("wordnet", str(folder))


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"
