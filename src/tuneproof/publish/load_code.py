"""The lines by which a stranger loads a published arm, with transformers and peft alone.

In: what was published and where it lies. Out: lines of Python, on the card and in the gate the same.
Knows nothing of: the study, the hub, what the lines answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Holds = Literal["model", "adapter", "head"]
Asks = Literal["labels", "words", "span"]
CLASSES: dict[Asks, str] = {
    "labels": "AutoModelForSequenceClassification",
    "words": "AutoModelForCausalLM",
    "span": "AutoModelForQuestionAnswering",
}
BF16 = "support_avx512bf16_for_cpu"
NEVER = "-1e9"  # the logit of a place where no answer may begin or end


@dataclass(frozen=True)
class Published:
    """What the lines need to know of an arm.

    `holds`: a whole model, an adapter beside a base, or a head on a frozen base's pooled states; `asks`:
    for labels by a head, for labels by their words, or for a span. `base` and `revision` are where the
    base is found ("" where the published folder holds it). `before`, `after`, `words`: what stands around
    a text, and how each label goes on; `markup`: they hold a chat template's marks. `packed`: the base is
    held in 4 bits, all but the modules named `unpacked`, computed in `dtype`. `types`: question and
    context are told apart by token types.
    """

    holds: Holds
    asks: Asks
    labels: tuple[str, ...]
    max_length: int
    base: str = ""
    revision: str | None = None
    pad_id: int | None = None
    pooling: str = ""
    before: str = ""
    after: str = ""
    words: tuple[str, ...] = ()
    markup: bool = False
    packed: bool = False
    unpacked: tuple[str, ...] = ()
    dtype: str = "float32"
    types: bool = False
    answer_tokens: int = 30
    threshold: float = 0.0

    def at(self, base: str) -> "Published":
        """The same with its base in a folder of this machine."""
        return replace(self, base=base, revision=None)


def load_lines(it: Published, place: str, local: bool = False) -> list[str]:
    """At most five lines that load it from `place`, a repository or (`local`) a folder."""
    where = repr(place)
    if it.holds == "head":
        path = (
            repr(f"{place}/head.safetensors")
            if local
            else f"huggingface_hub.hf_hub_download({where}, 'head.safetensors')"
        )
        return [
            "import huggingface_hub, safetensors.torch, transformers",
            f"tokenizer = transformers.AutoTokenizer.from_pretrained({where})",
            f"base = transformers.AutoModel.from_pretrained({_base(it, place)})",
            f"head = safetensors.torch.load_file({path})",
        ]
    kind = CLASSES[it.asks]
    also = ", BitsAndBytesConfig" if it.packed else ""
    imports = [f"from transformers import {kind}, AutoTokenizer{also}"]
    if it.holds == "adapter":
        imports.append("from peft import PeftModel")
    lines = [*imports, f"tokenizer = AutoTokenizer.from_pretrained({where})"]
    if it.holds == "model":
        return [*lines, f"model = {kind}.from_pretrained({where})"]
    return [
        *lines,
        f"model = {kind}.from_pretrained({_base(it, place)})",
        f"model = PeftModel.from_pretrained(model, {where})",
    ]


def _base(it: Published, place: str) -> str:
    """The arguments of `from_pretrained` that give the base as the arm was made with it."""
    given = [repr(it.base or place), f"dtype={it.dtype!r}"]
    if it.revision:
        given.append(f"revision={it.revision!r}")
    if it.holds == "adapter" and it.asks == "labels":
        given.append(f"id2label={dict(enumerate(it.labels))!r}")
        if it.pad_id is not None:
            given.append(f"pad_token_id={it.pad_id}")
    if it.packed:
        given.append(
            "quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', "
            f"bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype={it.dtype!r}, "
            f"llm_int8_skip_modules={list(it.unpacked)!r})"
        )
    return ", ".join(given)


def ask_lines(it: Published) -> list[str]:
    """The lines that ask it: `texts` in and `probabilities` [texts, labels] out, or `question` and
    `context` in and `answer` ("" for none) and `null_score` out."""
    if it.asks == "span":
        return _span_lines(it)
    if it.asks == "words":
        plain = "add_special_tokens=False" if it.markup else "split_special_tokens=True"
        return [
            f"before, after, words = {it.before!r}, {it.after!r}, {list(it.words)!r}",
            "ways = [[tokenizer(before + text + after + word, return_tensors='pt', "
            f"{plain}).input_ids for word in words] for text in texts]",
            "scores = [[-(len(ids[0]) - 1) * model(input_ids=ids, labels=ids).loss.item() for ids in way] "
            "for way in ways]",
            "probabilities = torch.tensor(scores).softmax(-1)",
        ]
    batch = (
        f"batch = tokenizer(texts, truncation=True, max_length={it.max_length}, padding=True, "
        "padding_side='right', split_special_tokens=True, return_tensors='pt')"
    )
    if it.holds != "head":
        return [batch, "probabilities = model(**batch).logits.float().softmax(-1)"]
    pooled = {
        "first": "states[:, 0]",
        "last": "states[range(len(texts)), batch['attention_mask'].sum(1) - 1]",
        "mean": "(states * mask).sum(1) / mask.sum(1)",
    }[it.pooling]
    return [
        batch,
        "states = base(**batch).last_hidden_state.float()",
        *(["mask = batch['attention_mask'][..., None]"] if it.pooling == "mean" else []),
        f"logits = {pooled} @ head['weight'].T + head['bias']",
        "probabilities = logits.softmax(-1)",
    ]


def _span_lines(it: Published) -> list[str]:
    return [
        "batch = tokenizer(question, context, return_tensors='pt', return_offsets_mapping=True, "
        f"return_token_type_ids={it.types}, split_special_tokens=True)",
        "places, sides = batch.pop('offset_mapping')[0].tolist(), batch.sequence_ids(0)",
        "out = model(**batch)",
        "scores = out.start_logits[0][:, None] + out.end_logits[0]",
        "inside = torch.tensor([side == 1 for side in sides])",
        f"spans = (inside[:, None] & inside).triu().tril({it.answer_tokens - 1})",
        f"scores_of_spans = scores.masked_fill(~spans, {NEVER})",
        "first, last = divmod(int(scores_of_spans.argmax()), len(places))",
        "null_score = float(scores[0, 0] - scores_of_spans.max())",
        f"found = null_score <= {it.threshold!r}",
        "answer = context[places[first][0]:places[last][1]].strip() if found else ''",
    ]


def program(it: Published, place: str, merge: bool = False) -> str:
    """A whole program of the same lines: it reads a JSON list of groups of texts, or of [question,
    context], and ends with a line of JSON. `merge`: the adapter is merged into its base first."""
    span = it.asks == "span"
    lines = ["import json, sys", "import torch", *load_lines(it, place, local=True)]
    if merge:
        lines.append("model = model.merge_and_unload()")
    if it.packed:  # else bitsandbytes computes in bf16 on some CPUs, and the study never does
        lines += [
            "for module in model.modules():",
            f"    if hasattr(module, {BF16!r}):",
            f"        module.{BF16} = False",
        ]
    lines += ["torch.set_grad_enabled(False)", "found_all = []"]
    lines.append(f"for {'question, context' if span else 'texts'} in json.load(sys.stdin):")
    lines += _indented(ask_lines(it))
    kept = "[[answer, null_score]]" if span else "probabilities.tolist()"
    lines += _indented([f"found_all += {kept}"])
    return "\n".join([*lines, "print()", "print(json.dumps(found_all))"])


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def card_lines(it: Published, repo: str) -> tuple[str, str]:
    """What the card shows: how to load it, and how to ask it."""
    given: dict[str, Any] = (
        {"question": "Who wrote it?", "context": "It was written by Ada."}
        if it.asks == "span"
        else {"texts": ["The first half drags; the second is why you came."]}
    )
    torch = ["import torch"] if it.asks in ("words", "span") else []
    first = [f"{name} = {value!r}" for name, value in given.items()]
    shown = "print(answer)" if it.asks == "span" else f"print({list(it.labels)!r}, probabilities)"
    return ("\n".join(load_lines(it, repo)), "\n".join([*torch, *first, *ask_lines(it), shown]))
