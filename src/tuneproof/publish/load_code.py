"""The Python code that loads a published arm with transformers and peft alone.

In: what was published, and its location. Out: lines of Python, the same on the card and in the gate.
Knows nothing of: the study, the hub, the predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Form = Literal["model", "adapter", "head", "baseline"]
Objective = Literal["labels", "words", "span"]
CLASSES: dict[Objective, str] = {
    "labels": "AutoModelForSequenceClassification",
    "words": "AutoModelForCausalLM",
    "span": "AutoModelForQuestionAnswering",
}
SKOPS = "model.skops"
BF16 = "support_avx512bf16_for_cpu"
MEAN = "(states * mask).sum(1) / mask.sum(1)"
NEVER = "-1e9"  # the logit of a position where no answer may start or end


@dataclass(frozen=True)
class LoadSpec:
    """What the code needs to know of an arm.

    `form`: a whole model, an adapter beside a base, a head on the pooled states of a frozen base, or a
    baseline of scikit-learn.
    `objective`: it predicts labels by a head, labels by their words, or a span. `base`, `revision`: of the
    base ("" if the published folder holds it). `before`, `after`, `words`: the prompt around a text, and
    the words of each label; `markup`: they hold the marks of a chat template. `quantized`: the base is
    held in 4 bits, except the modules in `unquantized`, and computes in `dtype`. `token_types`: token
    types tell question and context apart. `resizes`: the base holds a head of another size. `decision`: how
    dev decided that probabilities become labels (`score/decision.py`); None: the most probable is predicted.
    """

    form: Form
    objective: Objective
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
    quantized: bool = False
    unquantized: tuple[str, ...] = ()
    dtype: str = "float32"
    token_types: bool = False
    resizes: bool = False
    answer_tokens: int = 30
    threshold: float = 0.0
    decision: Mapping[str, Any] | None = None

    def with_base(self, folder: str) -> "LoadSpec":
        """The same with its base in a folder of this machine."""
        return replace(self, base=folder, revision=None)


def loading_lines(spec: LoadSpec, location: str, local: bool = False) -> list[str]:
    """At most five lines that load the arm from a repository or (`local`) a folder."""
    source = repr(location)
    if spec.form == "baseline":
        path = _file(SKOPS, location, local)
        return ["import huggingface_hub, skops.io, unicodedata", f"model = skops.io.load({path})"]
    if spec.form == "head":
        path = _file("head.safetensors", location, local)
        return [
            "import huggingface_hub, safetensors.torch, transformers",
            f"tokenizer = transformers.AutoTokenizer.from_pretrained({source})",
            f"base = transformers.AutoModel.from_pretrained({_base_arguments(spec, location)})",
            f"head = safetensors.torch.load_file({path})",
        ]
    model_class = CLASSES[spec.objective]
    quantization = ", BitsAndBytesConfig" if spec.quantized else ""
    imports = [f"from transformers import {model_class}, AutoTokenizer{quantization}"]
    if spec.form == "adapter":
        imports.append("from peft import PeftModel")
    lines = [*imports, f"tokenizer = AutoTokenizer.from_pretrained({source})"]
    if spec.form == "model":
        return [*lines, f"model = {model_class}.from_pretrained({source})"]
    return [
        *lines,
        f"model = {model_class}.from_pretrained({_base_arguments(spec, location)})",
        f"model = PeftModel.from_pretrained(model, {source})",
    ]


def _file(name: str, location: str, local: bool) -> str:
    """The expression of a file's path, from a folder or from the hub."""
    return repr(f"{location}/{name}") if local else f"huggingface_hub.hf_hub_download({location!r}, {name!r})"


def _base_arguments(spec: LoadSpec, location: str) -> str:
    """The arguments of `from_pretrained` that load the base as the arm was made with it."""
    arguments = [repr(spec.base or location), f"dtype={spec.dtype!r}"]
    if spec.revision:
        arguments.append(f"revision={spec.revision!r}")
    if spec.form == "adapter" and spec.objective == "labels":
        arguments.append(f"id2label={dict(enumerate(spec.labels))!r}")
        if spec.pad_id is not None:
            arguments.append(f"pad_token_id={spec.pad_id}")
        if spec.resizes:
            arguments.append("ignore_mismatched_sizes=True")
    if spec.quantized:
        arguments.append(
            "quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', "
            f"bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype={spec.dtype!r}, "
            f"llm_int8_skip_modules={list(spec.unquantized)!r})"
        )
    return ", ".join(arguments)


def prediction_lines(spec: LoadSpec) -> list[str]:
    """The lines that predict: from `texts`, `probabilities` [texts, labels], and `predicted`, the labels as
    numbers, where they are not the most probable ones; or from `question` and `context`, `answer` ("" for
    none) and `null_score`."""
    return [*_probability_lines(spec), *_decision_lines(spec)]


def _decision_lines(spec: LoadSpec) -> list[str]:
    if spec.decision is None:
        return []
    if "threshold" in spec.decision:
        threshold = float(spec.decision["threshold"])
        return [f"predicted = [int(row[1] > {threshold!r}) for row in probabilities.tolist()]"]
    temperature = float(spec.decision.get("temperature", 1.0))
    power = "" if temperature == 1.0 else f" ** (1 / {temperature!r})"
    return [
        f"costs = {spec.decision['costs']!r}  # a row for each right label, a column for each predicted one",
        "expected = [[sum(share" + power + " * row[label] for share, row in zip(shares, costs)) "
        "for label in range(len(costs))] for shares in probabilities.tolist()]",
        "predicted = [row.index(min(row)) for row in expected]",
    ]


def _probability_lines(spec: LoadSpec) -> list[str]:
    if spec.form == "baseline":
        return [
            "folded = [unicodedata.normalize('NFKC', text) for text in texts]",
            "probabilities = model.predict_proba(folded)",
        ]
    if spec.objective == "span":
        return _span_lines(spec)
    if spec.objective == "words":
        plain = "add_special_tokens=False" if spec.markup else "split_special_tokens=True"
        return [
            f"before, after, words = {spec.before!r}, {spec.after!r}, {list(spec.words)!r}",
            "encoded = [[tokenizer(before + text + after + word, return_tensors='pt', "
            f"{plain}).input_ids for word in words] for text in texts]",
            "scores = [[-(len(ids[0]) - 1) * model(input_ids=ids, labels=ids).loss.item() for ids in row] "
            "for row in encoded]",
            "probabilities = torch.tensor(scores).softmax(-1)",
        ]
    batch = (
        f"batch = tokenizer(texts, truncation=True, max_length={spec.max_length}, padding=True, "
        "padding_side='right', split_special_tokens=True, return_tensors='pt')"
    )
    if spec.form != "head":
        return [batch, "probabilities = model(**batch).logits.float().softmax(-1)"]
    pooled = {
        "first": "states[:, 0]",
        "last": "states[range(len(texts)), batch['attention_mask'].sum(1) - 1]",
        "mean": MEAN,
        "unit-mean": f"torch.nn.functional.normalize({MEAN}, dim=-1)",
    }[spec.pooling]
    return [
        batch,
        "states = base(**batch).last_hidden_state.float()",
        *(["mask = batch['attention_mask'][..., None]"] if MEAN in pooled else []),
        f"logits = {pooled} @ head['weight'].T + head['bias']",
        "probabilities = logits.softmax(-1)",
    ]


def _span_lines(spec: LoadSpec) -> list[str]:
    return [
        "batch = tokenizer(question, context, return_tensors='pt', return_offsets_mapping=True, "
        f"return_token_type_ids={spec.token_types}, split_special_tokens=True)",
        "offsets, sides = batch.pop('offset_mapping')[0].tolist(), batch.sequence_ids(0)",
        "out = model(**batch)",
        "scores = out.start_logits[0][:, None] + out.end_logits[0]",
        "in_context = torch.tensor([side == 1 for side in sides])",
        f"spans = (in_context[:, None] & in_context).triu().tril({spec.answer_tokens - 1})",
        f"span_scores = scores.masked_fill(~spans, {NEVER})",
        "first, last = divmod(int(span_scores.argmax()), len(offsets))",
        "null_score = float(scores[0, 0] - span_scores.max())",
        f"has_answer = null_score <= {spec.threshold!r}",
        "answer = context[offsets[first][0]:offsets[last][1]].strip() if has_answer else ''",
    ]


def make_program(spec: LoadSpec, location: str, merge: bool = False) -> str:
    """A complete program of the same lines.

    It reads a JSON list of groups of texts, or of [question, context], and prints a line of JSON at the
    end: probabilities, with the label where it is decided by them. merge: it first merges the adapter into
    its base.
    """
    is_span = spec.objective == "span"
    is_model = spec.form != "baseline"
    torch_lines = ["import torch"] if is_model else []
    lines = ["import json, sys", *torch_lines, *loading_lines(spec, location, local=True)]
    if merge:
        lines.append("model = model.merge_and_unload()")
    if spec.quantized:  # otherwise bitsandbytes computes in bf16 on some CPUs; studies never do
        lines += [
            "for module in model.modules():",
            f"    if hasattr(module, {BF16!r}):",
            f"        module.{BF16} = False",
        ]
    lines += [*(["torch.set_grad_enabled(False)"] if is_model else []), "predictions = []"]
    lines.append(f"for {'question, context' if is_span else 'texts'} in json.load(sys.stdin):")
    lines += _indent(prediction_lines(spec))
    outputs = "[[answer, null_score]]" if is_span else "probabilities.tolist()"
    if spec.decision is not None:
        outputs = "list(zip(probabilities.tolist(), predicted))"
    lines += _indent([f"predictions += {outputs}"])
    return "\n".join([*lines, "print()", "print(json.dumps(predictions))"])


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def card_code(spec: LoadSpec, repo: str) -> tuple[str, str]:
    """The code on the card: how to load the arm, and how to predict with it."""
    inputs: dict[str, Any] = (
        {"question": "Who wrote it?", "context": "It was written by Ada."}
        if spec.objective == "span"
        else {"texts": ["The first half drags; the second is why you came."]}
    )
    lines = prediction_lines(spec)
    torch = ["import torch"] if any("torch." in line for line in lines) else []
    first = [f"{name} = {value!r}" for name, value in inputs.items()]
    last = "print(answer)" if spec.objective == "span" else f"print({list(spec.labels)!r}, probabilities)"
    if spec.decision is not None:
        last = f"print([{list(spec.labels)!r}[label] for label in predicted], probabilities)"
    return ("\n".join(loading_lines(spec, repo)), "\n".join([*torch, *first, *lines, last]))
