"""Renders a model's chat template in a separate process with bounded time, memory and output.

In: a tokenizer, turns. Out: text. Knows nothing of: labels, prompts, what the text is for.

A template comes with the checkpoint and is a program. jinja's sandbox keeps it from our objects, but not from
running for ever or writing a gigabyte; and if the sandbox fails, the process holds no tokens and no data.
"""

import json
import os
import subprocess
import sys
import threading
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.data.chat_thoughts import switches_off
from tuneproof.errors import ModelError

TIME_S = 2.0  # for one rendering; a real template takes a thousandth of it
START_S = 60.0
MEMORY_BYTES = 1 << 30
MIN_CHARACTER_LIMIT = 1_000_000
CHILD = Path(__file__).with_name("chat_sandbox.py")


def render_chat(
    tokenizer: Any, turns: list[dict[str, str]], answer_follows: bool, thoughts: bool = False
) -> str:
    """The turns in the tokenizer's chat template.

    answer_follows: the text ends with the template's opening of the model's turn. Without `thoughts`, a
    template that has a setting for them is called with it switched off.

    Raises: ModelError if the template fails, runs too long or writes too much.
    """
    template = chat_template(tokenizer)
    values = {
        **({} if thoughts else switches_off(template)),
        **tokenizer.special_tokens_map,
        "messages": turns,
        "tools": None,
        "documents": None,
        "add_generation_prompt": answer_follows,
    }
    request = json.dumps(values, default=str)
    characters = MIN_CHARACTER_LIMIT * (1 + len(request) // (MIN_CHARACTER_LIMIT // 4))
    return _process(template, characters).render(request)


def chat_template(tokenizer: Any) -> str:
    """The template that is used. Raises: ModelError where there are several without a default."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise _failed(str(error).splitlines()[0].rstrip(".")) from None


def _failed(reason: str) -> ModelError:
    return ModelError("tokenizer", f"its chat template failed: {reason}.", do="Set encode.chat: never.")


class _Process:
    """The process of one template; it lives until this process ends or the template misbehaves."""

    def __init__(self, template: str, characters: int) -> None:
        import jinja2
        import markupsafe

        path = [str(Path(str(module.__file__)).parents[1]) for module in (jinja2, markupsafe)]
        limits = {"memory": MEMORY_BYTES, "characters": characters}
        self.setup = {"path": path, "template": template, **limits}
        self.max_line_bytes = characters * 6 + 100  # JSON writes a character in at most 6 bytes
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in ("TZ", "SYSTEMROOT") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=Path(sys.executable).anchor or None,
        )
        weakref.finalize(self, process.kill)
        if self._exchange(process, json.dumps({**self.setup, "parent": os.getpid()}), START_S) is None:
            raise _failed("its process could not be started")
        return process

    def _exchange(self, process: Any, text: str, seconds: float) -> Any:
        """The answer to one line; None if there was none, because time was up or the process died."""
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline(self.max_line_bytes)
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        return json.loads(answer) if answer.endswith(b"\n") else None

    def render(self, request: str) -> str:
        """The template rendered with these values (as JSON). Raises: ModelError."""
        with self.lock:
            if self.process is None:
                self.process = self._start()
            answer = self._exchange(self.process, request, TIME_S)
            if answer is None:
                self.process.kill()
                self.process.wait()
                self.process = None
                raise _failed(f"it ran for more than {TIME_S:g} seconds, or broke its process")
        if "error" in answer:
            raise _failed(str(answer["error"]))
        return str(answer["text"])


@lru_cache(maxsize=4)
def _process(template: str, characters: int) -> _Process:
    return _Process(template, characters)
