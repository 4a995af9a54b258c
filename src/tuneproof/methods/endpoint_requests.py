"""What a server is asked for: each item as one or more requests of the OpenAI protocol.

In: options, items, shots, a prompt. Out: requests with a path, a body and a key.
Knows nothing of: connections, replies, golds of the items.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tuneproof.atomic import sha256_of_text
from tuneproof.methods.system import SystemRequest
from tuneproof.tasks.prompt_turns import chat_turns, fill_question, join_prompt
from tuneproof.tasks.task import Example, Prompt, QuestionPrompt

PATHS = {"chat": "chat/completions", "completions": "completions"}
TOP_TOKENS = 20  # alternatives of a token that are asked for
BYTES_PER_TOKEN = 4  # of English text, to estimate costs before anything is sent
TURN_TOKENS = 4  # that a chat template adds to a turn


@dataclass(frozen=True)
class ServerRequest:
    """One request. prompt and answer: the two halves of a text whose end is scored."""

    path: str
    body: Mapping[str, Any]
    prompt: str = ""
    answer: str = ""

    @cached_property
    def key(self) -> str:
        """Identifies model, text and parameters: equal requests get one reply."""
        return sha256_of_text(json.dumps([self.path, self.body], sort_keys=True))

    @property
    def input_tokens(self) -> int:
        """About as many as the server reads."""
        turns = self.body.get("messages")
        texts = [turn["content"] for turn in turns] if turns else [self.body["prompt"]]
        size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        return -(-size // BYTES_PER_TOKEN) + (TURN_TOKENS * len(texts) if turns else 0)

    @property
    def output_tokens(self) -> int:
        """At most as many as the server writes."""
        limit = self.body.get("max_tokens") or self.body.get("max_completion_tokens")
        return limit if isinstance(limit, int) else 0


def requests_of_items(options: Any, request: SystemRequest) -> list[list[ServerRequest]]:
    """The requests of each item: one, or of `scoring: likelihood` one for each label."""
    shots = [(_query(request.prompt, shot), _gold(request, shot)) for shot in request.shots]
    return [_requests(options, request, shots, _query(request.prompt, item)) for item in request.examples]


def _query(prompt: Prompt | QuestionPrompt, example: Example) -> str:
    if isinstance(prompt, Prompt):
        return prompt.template.replace("{text}", example.text)
    question = example.required_question
    return fill_question(prompt.template, question.question, question.context)


def _gold(request: SystemRequest, shot: Example) -> str:
    """What the model should say to an example of train."""
    if isinstance(request.prompt, Prompt):
        return request.prompt.words[shot.label]
    answers = shot.required_question.answers
    return answers[0] if answers else request.prompt.no_answer


def _requests(
    options: Any, request: SystemRequest, shots: Sequence[tuple[str, str]], query: str
) -> list[ServerRequest]:
    instruction, path = request.prompt.instruction, PATHS[options.protocol]
    words = request.prompt.words if isinstance(request.prompt, Prompt) else ()
    if options.protocol == "chat":
        body = {"messages": chat_turns(instruction, shots, query), **_parameters(options, words)}
        return [ServerRequest(path, body)]
    text, gap = join_prompt(instruction, shots, query)
    answers = [gap + word for word in words]
    if options.scoring != "likelihood":
        return [ServerRequest(path, {"prompt": text, **_parameters(options, answers)})]
    parameters = {**_parameters(options, answers), "max_tokens": 1, "echo": True, "logprobs": 1}
    return [ServerRequest(path, {"prompt": text + answer, **parameters}, text, answer) for answer in answers]


def _parameters(options: Any, answers: Sequence[str]) -> dict[str, Any]:
    """Everything of a body besides the text; the recipe's `body` overrides each."""
    parameters: dict[str, Any] = {"model": options.model, "max_tokens": options.max_tokens}
    if options.temperature is not None:
        parameters["temperature"] = options.temperature
    if options.scoring == "logprobs":
        in_chat = {"logprobs": True, "top_logprobs": TOP_TOKENS}
        parameters |= in_chat if options.protocol == "chat" else {"logprobs": TOP_TOKENS}
    if options.scoring == "choice":
        parameters |= _constraint(options.constraint, answers)
    merged = {**parameters, **options.body}
    return {name: value for name, value in merged.items() if value is not None}


def _constraint(constraint: str, answers: Sequence[str]) -> dict[str, Any]:
    """The fields with which a server writes one of these answers and nothing else."""
    if constraint == "structured_outputs":
        return {"structured_outputs": {"choice": list(answers)}}
    if constraint == "guided_choice":
        return {"guided_choice": list(answers)}
    if constraint == "regex":
        return {"regex": f"({'|'.join(re.escape(answer) for answer in answers)})"}
    if constraint == "grammar":
        literals = (json.dumps(answer, ensure_ascii=False) for answer in answers)  # of llama.cpp's grammars
        return {"grammar": f"root ::= {' | '.join(literals)}"}
    properties = {"label": {"type": "string", "enum": list(answers)}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["label"],
        "additionalProperties": False,
    }
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "label", "strict": True, "schema": schema},
        }
    }


def describe_cost(options: Any, request: SystemRequest, pending: Sequence[ServerRequest]) -> str:
    """The number of requests, their tokens by estimate, and the price if there are prices."""
    read = sum(entry.input_tokens for entry in pending)
    written = sum(entry.output_tokens for entry in pending)
    limit = f"at most {written:,}" if written else "an unknown number"
    number = f"{len(pending):,} request{'s' if len(pending) > 1 else ''}"
    sentence = (
        f"{number} to {options.address.shown} (model {options.model}): about {read:,} input tokens and "
    )
    sentence += f"{limit} of output"
    prices = request.prices
    if prices is None:
        return f"{sentence}; the recipe has no prices.per_million_tokens to say what they cost."
    if not written:
        return f"{sentence}; the input costs {_price(prices.input * read / 1e6)} {request.currency}."
    cost = (prices.input * read + prices.output * written) / 1e6
    return f"{sentence}, {_price(cost)} {request.currency} at most."


def _price(amount: float) -> str:
    return f"about {amount:,.2f}" if amount >= 0.01 or not amount else "less than 0.01"
