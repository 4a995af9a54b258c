"""What this machine has of what a study needs, and for each lack what to do about it.

In: nothing. Out: lines with a state. Knows nothing of: recipes, studies, how lines are shown.

Nothing is written but for a file that is gone at once, and no token leaves the machine.
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
from tuneproof.redact import redacted

State = Literal["fine", "note", "problem", "broken"]
HUB = "https://huggingface.co"
HUB_S = 3.0  # seconds that the hub has to answer
LEAST_DISK = 5 * 2**30
LEAST_MEMORY = 2 * 2**30
OPTIONAL = {
    "bitsandbytes": "qlora needs it: pip install 'tuneproof[qlora]'",
    "tensorboard": "only train.trackers: [tensorboard] needs it: pip install 'tuneproof[trackers]'",
}


@dataclass(frozen=True)
class Line:
    """One thing: `fine`; a `note` (some uses lack it); a `problem`; or `broken` (no study can run)."""

    name: str
    found: str
    state: State = "fine"
    do: str = ""

    def as_json(self) -> dict[str, str]:
        """The line as plain values."""
        return asdict(self)


def examine() -> list[Line]:
    """Everything, in the order in which a person would ask."""
    hub = _ask_hub()  # it may take seconds, in which torch is loaded
    return [
        Line("python", f"{sys.version.split()[0]} at {sys.executable}"),
        *_packages(),
        *_devices(),
        _threads(),
        _memory(),
        hub(),
        _token(),
        *_places(),
        _wordnet(),
    ]


def _packages() -> Iterator[Line]:
    """Every package that tuneproof asks for, and whether its version is allowed."""
    try:
        asked = requires("tuneproof") or []
        yield Line("tuneproof", version("tuneproof"))
    except PackageNotFoundError:
        do = "Install it: pip install -e . in its folder."
        yield Line("tuneproof", "runs from a folder and is not installed", "problem", do)
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Line("packaging", "not installed", "broken", "pip install packaging")
        return
    for requirement in map(Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement.name, requirement.specifier)
    yield _package("tokenizers", "")  # transformers says which
    for name, why in OPTIONAL.items():
        try:
            yield Line(name, version(name))
        except PackageNotFoundError:
            yield Line(name, "not installed", "note", f"{why}.")


def _package(name: str, allowed: Any) -> Line:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Line(name, "not installed", "broken", f"pip install '{name}{allowed}'")
    if allowed and not allowed.contains(found, prereleases=True):
        do = f"pip install -U '{name}{allowed}'"
        return Line(name, f"{found}, and {allowed} is needed", "broken", do)
    return Line(name, found)


def _devices() -> Iterator[Line]:
    """What torch computes on, and in which precision."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        said = (str(error).splitlines() or [type(error).__name__])[0]
        yield Line("torch", f"does not load: {redacted(said)}", "broken", "Install torch anew.")
        return
    yield _cpu(torch)
    for place in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(place)
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        kinds = "fp32, bf16, fp16" if native else "fp32, fp16 (bf16 is emulated)"
        free, whole = torch.cuda.mem_get_info(place)
        yield Line(f"cuda:{place}", f"{facts.name}, {_size(free)} of {_size(whole)} free; {kinds}")
    if torch.backends.mps.is_available():
        yield Line("mps", "there; fp32, bf16, fp16")
    if not torch.cuda.is_available() and Path("/proc/driver/nvidia/version").exists():
        built = torch.version.cuda
        yield Line(
            "cuda",
            "the NVIDIA driver is there and torch sees no device",
            "problem",
            f"torch is built for CUDA {built}: is the driver too old, or CUDA_VISIBLE_DEVICES empty?"
            if built
            else "This torch is built for CPUs: install one for CUDA (pytorch.org).",
        )


def _cpu(torch: Any) -> Line:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
        fast = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
        half = f"bf16 ({', '.join(fast)})" if fast else "bf16 (slow: no instruction for it)"
    except OSError:
        half = "bf16"
    return Line("cpu", f"{torch.backends.cpu.get_cpu_capability()}; fp32, {half}; no fp16")


def _threads() -> Line:
    set_to = os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = f"{cores} cores for this process"
    if set_to is None:
        return Line("threads", said)
    if set_to.isdecimal() and 0 < int(set_to) <= (cores or 1):
        return Line("threads", f"{said}, OMP_NUM_THREADS={set_to}")
    do = f"Unset it, or set it to {cores} at most: more threads than cores are slower."
    return Line("threads", f"{said}, OMP_NUM_THREADS={set_to}", "problem", do)


def _memory() -> Line:
    from tuneproof.memory.usage import free_bytes

    free = free_bytes("cpu")
    if free < LEAST_MEMORY:
        do = "Close other programs, or take a smaller model; `tuneproof fit MODEL` says what fits."
        return Line("memory", f"{_size(free)} free", "problem", do)
    return Line("memory", f"{_size(free)} free")


def _ask_hub() -> Callable[[], Line]:
    """Ask the hub whether it answers, without a token, in HUB_S seconds; the line to wait for."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            found = f"not asked: {name} is set; models come from the cache or folders"
            return partial(Line, "hub", found)
    address = os.environ.get("HF_ENDPOINT") or HUB
    shown = redacted(address)
    if not address.startswith(("https://", "http://")):
        return partial(Line, "hub", f"HF_ENDPOINT is {shown}", "problem", "It begins with https://.")
    answers: list[str] = []
    asking = threading.Thread(target=_ask, args=(address, answers), daemon=True)
    asking.start()  # a thread, because looking up a name cannot be timed out

    def wait() -> Line:
        asking.join(HUB_S)
        if answers == ["reached"]:
            return Line("hub", f"{shown} answers")
        why = answers[0] if answers else f"no answer in {HUB_S:g} s"
        do = "Use models and data in the cache or in folders; behind a proxy set HTTPS_PROXY."
        return Line("hub", f"{shown} is not reachable ({redacted(why)})", "note", do)

    return wait


def _ask(address: str, answers: list[str]) -> None:
    asked = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "tuneproof"})
    try:
        with urllib.request.urlopen(asked, timeout=HUB_S):
            answers.append("reached")
    except urllib.error.HTTPError as error:
        answers.append("reached" if error.code < 500 else f"it says {error.code}")
    except (OSError, ValueError) as error:
        answers.append(str(getattr(error, "reason", error)))


def _token() -> Line:
    """Whether there is a token; it is never shown."""
    from huggingface_hub import constants, get_token

    if not get_token():
        do = "Gated models (Llama, Gemma) need one: `hf auth login`."
        return Line("token", "none", "note", do)
    file = Path(constants.HF_TOKEN_PATH)
    if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
        return Line("token", f"there, and others can read {file}", "problem", f"chmod 600 {file}")
    return Line("token", "there (not shown)")


def _places() -> Iterator[Line]:
    """The current folder and the hub's cache: can they be written, and how much room is there."""
    from huggingface_hub import constants

    yield _place("current folder", Path.cwd(), "Go to another one, or name one with --out.")
    yield _place("cache", Path(constants.HF_HUB_CACHE), "Set HF_HOME to a folder that is yours.")


def _place(name: str, folder: Path, do: str) -> Line:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    said = f"{folder}, {_size(free)} free"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Line(name, f"{said}, cannot be written ({error.strerror})", "problem", do)
    if free < LEAST_DISK:
        return Line(name, said, "problem", "Free some room: a model and its arms take gigabytes.")
    return Line(name, said)


def _wordnet() -> Line:
    found = wordnet_folder()
    if found is None:
        return Line("wordnet", "not there", "note", f"METEOR needs it: {HOW_TO_GET}.")
    return Line("wordnet", str(found))


def _size(amount: float) -> str:
    return f"{amount / 2**30:,.1f} GiB"
