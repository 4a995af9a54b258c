"""What a server replied, as a text or probabilities for each item.

In: options, requests, the log of their replies. Out: SystemReplies, with what a reader has to know.
Knows nothing of: connections, golds, how a text is parsed for a label.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuneproof.errors import RunError
from tuneproof.methods.endpoint_labels import answer_log_probability, first_token_labels
from tuneproof.methods.endpoint_log import ReplyLog
from tuneproof.methods.endpoint_requests import ServerRequest
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.redact import printable
from tuneproof.tasks.task import Prompt

THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
USAGE = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
COUNTED = {
    "cut off": "{count} replies ended at max_tokens.",
    "empty": "{count} replies are empty.",
    "not constrained": "{count} replies are none of the choices: the server did not apply the constraint.",
    "undecided": "{count} first tokens do not tell the labels apart; the written text decides there.",
    "damaged": "{count} damaged lines of the replies were not used.",
    "bounded": "{count} items have a label that is not among the reported tokens: its probability is the "
    "lowest of theirs, which it cannot exceed.",
}


def check_first(options: Any, requests: Sequence[Sequence[ServerRequest]], log: ReplyLog) -> None:
    """Raises: RunError where the replies so far lack the log-probabilities that are needed."""
    entry = next((entry for item in requests for entry in item if entry.key in log.rows), None)
    if entry is None or options.scoring not in ("logprobs", "likelihood"):
        return
    choice = _choice(log, entry)
    if options.scoring == "logprobs":
        has_scores = first_token_labels(choice, ("a", "b")) is not None
    else:
        has_scores = answer_log_probability(choice, entry.prompt, entry.answer) is not None
    if not has_scores:
        raise _no_scores(options)


def _no_scores(options: Any) -> RunError:
    if options.scoring == "likelihood":
        problem = "the reply does not hold the log-probabilities of the prompt (echo)."
        do = "Use scoring: logprobs, choice or text."
    else:
        problem, do = "the reply holds no log-probabilities.", "Use scoring: choice or text."
    return RunError(options.address.shown, problem, do=f"One request was sent. {do}")


def read_replies(
    options: Any, request: SystemRequest, requests: Sequence[Sequence[ServerRequest]], log: ReplyLog
) -> SystemReplies:
    """The replies of all items, with their usage, time and dates."""
    from scipy.special import softmax

    counts: Counter[str] = Counter()
    words = request.prompt.words if isinstance(request.prompt, Prompt) else ()
    texts, probabilities_NC = [], np.full((len(requests), len(words)), np.nan)
    for index, item in enumerate(requests):
        choices = [_choice(log, entry) for entry in item]
        values = _label_values(options, item, choices, words, counts)
        if values is not None:
            probabilities_NC[index] = softmax(values)
        texts.append(_text(options, choices[0], counts) if values is None else "")
    rows = _rows(requests, log)
    has_values = not np.isnan(probabilities_NC).all()
    usage, notes = _usage(rows)
    about, model_notes = _about(options, rows, requests)
    counts["damaged"] = log.damaged
    notes += _describe(counts)
    return SystemReplies(
        texts=texts,
        probabilities_NC=probabilities_NC if has_values else None,
        usage=usage,
        about={"endpoint": about},
        seconds=sum(map(_seconds, rows)),
        notes=(*model_notes, *notes),
    )


def _rows(requests: Sequence[Sequence[ServerRequest]], log: ReplyLog) -> list[Mapping[str, Any]]:
    """The row of each request, of equal ones once."""
    return [log.rows[key] for key in {entry.key: None for item in requests for entry in item}]


def _describe(counts: Counter[str]) -> list[str]:
    return [text.format(count=f"{counts[name]:,}") for name, text in COUNTED.items() if counts[name]]


def _seconds(row: Mapping[str, Any]) -> float:
    return _number(row.get("seconds"))


def _choice(log: ReplyLog, entry: ServerRequest) -> Mapping[str, Any]:
    choice: Mapping[str, Any] = log.rows[entry.key]["reply"]["choices"][0]
    return choice


def _label_values(
    options: Any,
    item: Sequence[ServerRequest],
    choices: Sequence[Mapping[str, Any]],
    words: Sequence[str],
    counts: Counter[str],
) -> list[float] | None:
    """Log-probabilities of the labels; None where the text decides."""
    if options.scoring == "likelihood":
        pairs = zip(choices, item, strict=True)
        values = [answer_log_probability(choice, entry.prompt, entry.answer) for choice, entry in pairs]
        return None if None in values else [value for value in values if value is not None]
    if options.scoring != "logprobs":
        return None
    first = first_token_labels(choices[0], words)
    if first is None or first.log_probabilities is None:
        counts["undecided"] += 1
        return None
    counts["bounded"] += first.bounded
    return first.log_probabilities


def _text(options: Any, choice: Mapping[str, Any], counts: Counter[str]) -> str | None:
    """What the model wrote; None for nothing."""
    if options.scoring == "likelihood":
        return None
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    text = THOUGHTS.sub("", text).strip() if isinstance(text, str) else ""
    counts["cut off"] += choice.get("finish_reason") == "length" and options.scoring == "text"
    if not text:
        counts["empty"] += 1
        return None
    if options.scoring == "choice" and options.constraint == "json_schema":
        return _label_of_json(text, counts)
    return text


def _label_of_json(text: str, counts: Counter[str]) -> str:
    try:
        label = json.loads(text)["label"]
    except (ValueError, KeyError, TypeError, RecursionError):
        label = None
    if isinstance(label, str) and label.strip():
        return label
    counts["not constrained"] += 1
    return text


def _usage(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], list[str]]:
    """Tokens and requests; no tokens where some reply does not count them."""
    totals, silent = {}, 0
    for name, theirs in USAGE.items():
        numbers = [number for row in rows if (number := _tokens(row, theirs)) is not None]
        silent = max(silent, len(rows) - len(numbers))
        if len(numbers) == len(rows):
            totals[name] = sum(numbers)
    notes = [f"{silent:,} of {len(rows):,} replies do not say how many tokens they took."] if silent else []
    return {**totals, "requests": len(rows)}, notes


def _tokens(row: Mapping[str, Any], name: str) -> int | None:
    usage = row["reply"].get("usage")
    number = usage.get(name) if isinstance(usage, Mapping) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def _about(
    options: Any, rows: Sequence[Mapping[str, Any]], requests: Sequence[Sequence[ServerRequest]]
) -> tuple[dict[str, Any], list[str]]:
    """What is recorded of the server, and a sentence where it named another model."""
    dates = sorted(str(row.get("date", "")) for row in rows)
    models = Counter(printable(str(row["reply"].get("model", "")))[:200] for row in rows)
    first, last = (dates[0], dates[-1]) if dates else ("", "")
    about = {
        "url": options.address.shown,
        "model": options.model,
        "models_by_server": dict(models.most_common(20)),
        "protocol": options.protocol,
        "scoring": options.scoring,
        "first_reply": first,
        "last_reply": last,
        "tries": sum(int(_number(row.get("tries"))) for row in rows),
        "first_request": dict(requests[0][0].body) if requests else {},
    }
    period = first if first == last else f"{first} to {last}"
    notes = [f"Replies of {options.model} at {options.address.shown}, {period}."]
    others = models - Counter({"": models[""], options.model: models[options.model]})
    if others:
        names = ", ".join(list(others)[:5])
        notes.append(f"{others.total():,} replies name another model than {options.model}: {names}.")
    return about, notes


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
