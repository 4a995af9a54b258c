"""A model behind a server that speaks the OpenAI protocol: vLLM, SGLang, llama.cpp, Ollama, a hosted one.

In: options, items, a folder for what must survive a stop. Out: a reply for each item.
Knows nothing of: golds of the items, scores, weights.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tuneproof.errors import RecipeError
from tuneproof.methods.endpoint_client import ServerAddress, check_url
from tuneproof.methods.endpoint_log import ReplyLog
from tuneproof.methods.endpoint_replies import read_replies
from tuneproof.methods.endpoint_requests import describe_cost, requests_of_items
from tuneproof.methods.endpoint_workers import fetch_replies, pending_requests
from tuneproof.methods.method import Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.redact import is_secret
from tuneproof.tasks.task import Prompt

VARIABLE = re.compile("[A-Z_][A-Z0-9_]{0,99}")
NEUTRAL = ("allow", "concurrency", "timeout_s", "retries", "key_env")


class EndpointOptions(MethodOptions):
    """Settings of a model behind a server."""

    url: str = Field(
        max_length=2000, description="Base address of the server, such as http://localhost:8000/v1."
    )
    model: str = Field(min_length=1, max_length=500, description="The model, as the server names it.")
    protocol: Literal["chat", "completions"] = Field(
        "chat", description="chat: turns, for instructed models; completions: one text, for base models."
    )
    shots: int = Field(
        0, ge=0, le=256, description="Examples in the prompt, drawn from train, balanced by label."
    )
    scoring: Literal["text", "choice", "logprobs", "likelihood"] = Field(
        "text",
        description="text: what the model writes is searched for a label. choice: the server lets it write a "
        "label and nothing else (see constraint). logprobs: the probabilities of the first token, as far as "
        "it tells the labels apart. likelihood: the probability of each label's words, a request for each "
        "label, on servers that echo the prompt (completions alone). Questions have text alone.",
    )
    constraint: Literal["json_schema", "structured_outputs", "guided_choice", "grammar", "regex"] = Field(
        "json_schema",
        description="How scoring: choice is asked for. json_schema: OpenAI, llama.cpp, Ollama, vLLM, SGLang "
        "(chat); structured_outputs: vLLM; guided_choice: old versions of vLLM; grammar: llama.cpp; regex: "
        "SGLang.",
    )
    max_tokens: int | None = Field(
        32, ge=1, le=100_000, description="Tokens of a reply at most; null leaves the field out."
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Temperature of the replies; null leaves the field out."
    )
    body: dict[str, Any] = Field(
        default_factory=dict,
        description="Further fields of each request, such as seed or reasoning_effort; null removes one.",
    )
    allow: bool = Field(
        False,
        description="Whether requests may be sent. Without it, check and run say how many they would be and "
        "what they cost, and send none.",
    )
    concurrency: int = Field(4, ge=1, le=256, description="Requests at once. It changes no result.")
    timeout_s: float = Field(120.0, gt=0, le=3600, description="Seconds of a request at most.")
    retries: int = Field(
        6, ge=0, le=20, description="Further tries of a request that fails, each after a longer wait."
    )
    key_env: str | None = Field(
        None,
        description="Name of the environment variable that holds the key, such as OPENAI_API_KEY. The key "
        "itself is in no file.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        check_url(value)
        return value

    @field_validator("key_env")
    @classmethod
    def _check_key_env(cls, value: str | None) -> str | None:
        if value is not None and not VARIABLE.fullmatch(value):
            raise ValueError("give the name of an environment variable in capitals, such as OPENAI_API_KEY")
        return value

    @field_validator("body")
    @classmethod
    def _check_body(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if is_secret(name) and not name.startswith(("max_", "min_")):
                raise ValueError(f"{name} would be a secret in a file: use key_env")
            if name in ("stream", "n", "model", "messages", "prompt", "echo"):
                raise ValueError(f"{name} cannot be set here")
        return value

    @model_validator(mode="after")
    def _check_scoring(self) -> "EndpointOptions":
        if self.scoring == "likelihood" and self.protocol != "completions":
            raise ValueError(
                "scoring: likelihood needs protocol: completions; in a chat use logprobs or choice"
            )
        if (self.scoring, self.protocol, self.constraint) == ("choice", "completions", "json_schema"):
            raise ValueError("constraint: json_schema needs protocol: chat; choose another constraint")
        return self

    @property
    def address(self) -> ServerAddress:
        """Where the server is."""
        return ServerAddress(self.url, self.key_env, self.timeout_s, self.retries)


def reply_from_server(options: EndpointOptions, request: SystemRequest) -> SystemReplies:
    """The model's reply to each item; those in the arm's folder are not requested again.

    Raises: RecipeError where requests are not allowed; RunError where the server refuses or keeps failing.
    """
    _check_settings(options, request)
    requests = requests_of_items(options, request)
    log = ReplyLog(request.folder)
    try:
        if pending := pending_requests(requests, log):
            cost = describe_cost(options, request, pending)
            _check_allowed(options, cost)
            request.message(cost)
        fetch_replies(options, log, requests, request)
    finally:
        log.close()
    return read_replies(options, request, requests, log)


def announce_requests(options: EndpointOptions, request: SystemRequest) -> Sequence[str]:
    """What is still to be requested, and what it costs.

    Raises: RecipeError where that is not allowed, or the settings do not fit the task or the environment.
    """
    _check_settings(options, request)
    requests, log = requests_of_items(options, request), ReplyLog(request.folder)
    pending = pending_requests(requests, log)
    cost = describe_cost(options, request, pending_requests(requests, ReplyLog(None)))
    if pending:
        options.address.key()
        _check_allowed(options, cost)
    count = len(log.rows)
    return [f"{cost} {count:,} replies are in the arm's folder and are not paid again." if count else cost]


def _check_settings(options: EndpointOptions, request: SystemRequest) -> None:
    if options.scoring != "text" and not isinstance(request.prompt, Prompt):
        problem = f"{options.scoring} scores labels, and the task asks questions."
        raise RecipeError("endpoint.scoring", problem, do="Use scoring: text.")


def _check_allowed(options: EndpointOptions, cost: str) -> None:
    if not options.allow:
        do = "Nothing was sent. Set allow: true in this arm to send them."
        raise RecipeError(f"arms: {options.name or 'endpoint'}", cost, do=do)


def shots_from_options(options: EndpointOptions) -> int:
    """As many as the recipe sets."""
    return options.shots


ENDPOINT = Method(
    name="endpoint",
    kind="system",
    title="a model behind a server that speaks the OpenAI protocol",
    options=EndpointOptions,
    chance=False,
    paper="none",
    differs="Shots are drawn once, with seed 0, so that no request is paid for each seed.",
    shots=shots_from_options,
    reply=reply_from_server,
    announce=announce_requests,
    neutral=NEUTRAL,
)
