"""A model's chat template filled in, in a process of its own with little time, memory and room.

In: a tokenizer, turns. Out: text.
Knows nothing of: labels, prompts' words, what is done with the text.

A template comes with the checkpoint and is a program. jinja's sandbox keeps it from our objects, but
not from running for ever or writing a gigabyte; and where the sandbox fails, the process has no
token, no data and nothing of ours in it.
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

from tuneproof.errors import ModelError

TIME_S = 2.0  # for one filling in; a real template takes a thousandth of it
START_S = 60.0
MEMORY_BYTES = 1 << 30
LEAST_CHARACTERS = 1_000_000
CHILD = Path(__file__).with_name("chat_sandbox.py")


def fill_in(tokenizer: Any, turns: list[dict[str, str]], answer_follows: bool) -> str:
    """The turns as the tokenizer's chat template writes them.

    answer_follows: the template's opening of the model's turn ends the text.

    Raises: ModelError where the template fails, runs too long or writes too much.
    """
    values = {
        **tokenizer.special_tokens_map,
        "messages": turns,
        "tools": None,
        "documents": None,
        "add_generation_prompt": answer_follows,
    }
    asked = json.dumps(values, default=str)
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several templates and none is the default
        raise _failed(str(error).splitlines()[0].rstrip(".")) from None
    characters = LEAST_CHARACTERS * (1 + len(asked) // (LEAST_CHARACTERS // 4))
    return _process(str(template), characters).ask(asked)


def _failed(why: str) -> ModelError:
    return ModelError("tokenizer", f"its chat template failed: {why}.", do="Set encode.chat: never.")


class _Process:
    """The process of one template; it lives until this one ends or the template misbehaves."""

    def __init__(self, template: str, characters: int) -> None:
        import jinja2
        import markupsafe

        path = [str(Path(str(module.__file__)).parents[1]) for module in (jinja2, markupsafe)]
        self.begin = {"path": path, "template": template, "memory": MEMORY_BYTES, "characters": characters}
        self.most = characters * 6 + 100  # bytes of a line: JSON writes a character in 6 at most
        self.lock = threading.Lock()
        self.running: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("TZ", "SYSTEMROOT") if name in os.environ}
        running = subprocess.Popen(
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept,
            cwd=Path(sys.executable).anchor or None,
        )
        weakref.finalize(self, running.kill)
        if self._line(running, json.dumps(self.begin), START_S) is None:
            raise _failed("its process could not be started")
        return running

    def _line(self, running: Any, text: str, seconds: float) -> Any:
        """The answer to one line; None where none came, because time was up or the process died."""
        timer = threading.Timer(seconds, running.kill)
        timer.start()
        try:
            running.stdin.write(text.encode() + b"\n")
            running.stdin.flush()
            answer = running.stdout.readline(self.most)
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        return json.loads(answer) if answer.endswith(b"\n") else None

    def ask(self, text: str) -> str:
        """The template filled in with these values (as JSON).

        Raises: ModelError.
        """
        with self.lock:
            if self.running is None:
                self.running = self._start()
            answer = self._line(self.running, text, TIME_S)
            if answer is None:
                self.running.kill()
                self.running.wait()
                self.running = None
                raise _failed(f"it ran for more than {TIME_S:g} seconds, or broke its process")
        if "error" in answer:
            raise _failed(str(answer["error"]))
        return str(answer["text"])


@lru_cache(maxsize=4)
def _process(template: str, characters: int) -> _Process:
    return _Process(template, characters)
