"""The Python code that predicts with an exported model, without torch and transformers.

In: an ExportedModel, its folder. Out: lines of Python, the same on its card and in the check of parity.
Knows nothing of: the study, what the predictions are compared with.
"""

from tuneproof.methods.exported_model import WEIGHTS, ExportedModel

BATCH_TOKENS = 128  # llama-cpp-python holds as many rows of logits
MIN_CONTEXT = 512
NEVER = "-1e9"  # the logit of a position where no answer may start or end


def loading_lines(model: ExportedModel, folder: str, threads: int | None = None) -> list[str]:
    """Lines that load the model from a folder. threads: of its computation; None: as its runtime chooses."""
    weights = repr(f"{folder}/{WEIGHTS[model.format]}")
    if model.format == "gguf":
        context = max(2 * model.max_length, MIN_CONTEXT)
        count = "" if threads is None else f", n_threads={threads}, n_threads_batch={threads}"
        return [
            "import numpy as np",
            "from llama_cpp import Llama, llama_get_logits",
            f"model = Llama({weights}, n_ctx={context}, n_batch={BATCH_TOKENS}, verbose=False{count})",
            "def log_softmax(model):",
            "    logits = np.ctypeslib.as_array(llama_get_logits(model.ctx), (model.n_vocab(),))",
            "    logits = logits.astype(np.float64)",
            "    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())",
        ]
    options = ["options = onnxruntime.SessionOptions()"]
    if threads is not None:
        options.append(f"options.intra_op_num_threads = {threads}")
    plain = not (model.objective == "words" and model.markup)
    lines = [
        "import numpy as np, onnxruntime",
        "from tokenizers import Tokenizer",
        *options,
        f"session = onnxruntime.InferenceSession({weights}, options, providers=['CPUExecutionProvider'])",
        f"tokenizer = Tokenizer.from_file({f'{folder}/tokenizer.json'!r})",
        "tokenizer.no_padding()",
        "tokenizer.no_truncation()",
        f"tokenizer.encode_special_tokens = {plain}",
    ]
    if model.objective == "labels":
        lines.append(f"tokenizer.enable_padding(pad_id={model.pad_id})")
        lines.append(f"tokenizer.enable_truncation({model.max_length}, direction={model.truncation_side!r})")
    return lines


def prediction_lines(model: ExportedModel) -> list[str]:
    """The lines that predict: from `texts`, `probabilities` [texts, labels]; or from `question` and
    `context`, `answer` ("" for none) and `null_score`."""
    if model.objective == "span":
        return _span_lines(model)
    if model.objective == "words":
        return [*_word_lines(model), *_SOFTMAX]
    return [
        "encoded = tokenizer.encode_batch(texts)",
        "feeds = {'input_ids': np.array([item.ids for item in encoded], dtype=np.int64)}",
        "feeds['attention_mask'] = np.array([item.attention_mask for item in encoded], dtype=np.int64)",
        "logits = session.run(None, feeds)[0].astype(np.float64)",
        *_SOFTMAX,
    ]


_SOFTMAX = [
    "shares = np.exp(logits - logits.max(axis=1, keepdims=True))",
    "probabilities = shares / shares.sum(axis=1, keepdims=True)",
]


def _word_lines(model: ExportedModel) -> list[str]:
    """`logits` [texts, labels]: the log-likelihood of each label's words after the prompt.

    `rows` are the tokens of prompt and words, a list for each label; `shared` of them are the same in all.
    """
    onnx = (
        f"tokenizer.encode(before + text + after + word, add_special_tokens={not model.markup}).ids",
        _onnx_score_lines(model.pad_id),
    )
    gguf = (
        "model.tokenize((before + text + after + word).encode(), "
        f"add_bos={not model.markup}, special={model.markup})",
        _GGUF_SCORES,
    )
    tokens, scores = gguf if model.format == "gguf" else onnx
    return [
        f"before, after, words = {model.before!r}, {model.after!r}, {list(model.words)!r}",
        "logits = []",
        "for text in texts:",
        f"    rows = [{tokens} for word in words]",
        "    equal = [len(set(ids)) == 1 for ids in zip(*rows)]",
        "    shared = max(equal.index(False) if False in equal else len(equal), 1)",
        *scores,
        "logits = np.array(logits)",
    ]


def _onnx_score_lines(pad_id: int) -> list[str]:
    """All rows but their last tokens at once, equal ones once."""
    return [
        "    inputs = list(dict.fromkeys(tuple(row[:-1]) for row in rows))",
        "    width = max(map(len, inputs))",
        f"    ids = np.array([[*row, *[{pad_id}] * (width - len(row))] for row in inputs])",
        "    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in inputs])",
        "    feeds = {'input_ids': ids, 'attention_mask': mask, 'positions': np.arange(shared - 1, width)}",
        "    scores = session.run(None, feeds)[0].astype(np.float64)",
        "    scores -= scores.max(axis=2, keepdims=True)",
        "    scores -= np.log(np.exp(scores).sum(axis=2, keepdims=True))",
        "    of_row = [scores[inputs.index(tuple(row[:-1]))] for row in rows]",
        "    logits.append([sum(own[i - shared, row[i]] for i in range(shared, len(row))) "
        "for own, row in zip(of_row, rows)])",
    ]


_GGUF_SCORES = [  # llama.cpp reads the shared tokens once and goes back to their end for each label
    "    model.reset()",
    "    model.eval(rows[0][:shared])",
    "    first = log_softmax(model)",
    "    row_logits = []",
    "    for row in rows:",
    "        model.n_tokens, after_token, total = shared, first, 0.0",
    "        for i in range(shared, len(row)):",
    "            total += after_token[row[i]]",
    "            if i + 1 < len(row):",
    "                model.eval([row[i]])",
    "                after_token = log_softmax(model)",
    "        row_logits.append(total)",
    "    logits.append(row_logits)",
]


def _span_lines(model: ExportedModel) -> list[str]:
    types = "token_type_ids" in model.inputs
    return [
        "item = tokenizer.encode(question, context)",
        "feeds = {'input_ids': np.array([item.ids], dtype=np.int64)}",
        "feeds['attention_mask'] = np.array([item.attention_mask], dtype=np.int64)",
        *(["feeds['token_type_ids'] = np.array([item.type_ids], dtype=np.int64)"] if types else []),
        "start, end = (values[0].astype(np.float64) for values in session.run(None, feeds))",
        "scores = start[:, None] + end",
        "in_context = np.array([side == 1 for side in item.sequence_ids])",
        "spans = np.triu(in_context[:, None] & in_context)",
        f"spans &= ~np.triu(np.ones_like(spans), {model.answer_tokens})",
        f"span_scores = np.where(spans, scores, {NEVER})",
        "first, last = divmod(int(span_scores.argmax()), len(item.ids))",
        "null_score = float(scores[0, 0] - span_scores.max())",
        f"has_answer = null_score <= {model.threshold!r}",
        "answer = context[item.offsets[first][0]:item.offsets[last][1]].strip() if has_answer else ''",
    ]


def make_program(model: ExportedModel, folder: str, threads: int | None = None) -> str:
    """A complete program of the same lines.

    It reads JSON: groups (lists of texts, or [question, context]), single (groups to time alone) and seconds
    (for that at most), and prints as JSON: predictions, group_s and single_s (seconds of each call).
    """
    is_span = model.objective == "span"
    head = "def predict(question, context):" if is_span else "def predict(texts):"
    result = "return [[answer, null_score]]" if is_span else "return probabilities.tolist()"
    call = "predict(*group)" if is_span else "predict(group)"
    lines = [
        "import json, sys, time",
        *loading_lines(model, folder, threads),
        head,
        *[f"    {line}" for line in [*prediction_lines(model), result]],
        "request = json.load(sys.stdin)",
        "predictions, group_s, single_s = [], [], []",
        "for group in request['groups']:",
        "    started = time.perf_counter()",
        f"    predictions += {call}",
        "    group_s.append(time.perf_counter() - started)",
        "end = time.perf_counter() + request['seconds']",
        "for group in request['single']:",
        "    started = time.perf_counter()",
        "    if started > end:",
        "        break",
        f"    {call}",
        "    single_s.append(time.perf_counter() - started)",
        "print()",
        "print(json.dumps({'predictions': predictions, 'group_s': group_s, 'single_s': single_s}))",
    ]
    return "\n".join(lines)


def card_code(model: ExportedModel) -> str:
    """The code on the card: how to load the model in its folder, and how to predict with it."""
    inputs = ["texts = ['The first half drags; the second is why you came.']"]
    last = f"print({list(model.labels)!r}, probabilities)"
    if model.objective == "span":
        inputs = ["question, context = 'Who wrote it?', 'It was written by Ada.'"]
        last = "print(answer)"
    return "\n".join([*loading_lines(model, "."), *inputs, *prediction_lines(model), last])
