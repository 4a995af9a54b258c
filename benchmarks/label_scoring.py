"""Labels' words scored after prompts: ours and lm-evaluation-harness's HFLM in turn.

In: real texts, a decoder of random or real weights. Out: a table of ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks labels [--short FILE.parquet] [--long FILE.parquet] [--model FOLDER]

Both score the same token ids, so that no tokenizer is timed; log-probabilities must agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alternating import row, timed
from benchmarks.stand_ins import common_options, read_texts, real_decoder, small_decoder, word_tokenizer

LOG_BAR = 1e-4
CLASSES = 20
CUT = 200  # words of a long text
READ = 20_000  # short texts whose words are counted, and a tenth of the long ones


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    texts: str
    items: int  # at most
    shots: int
    words: tuple[str, ...]
    mark: float
    shipped: bool = False  # the peer with torch's own choice of kernels


TWO = ("good", "bad")
CASES = (
    Case("SST-2, 0 shots", "short", 200, 0, TWO, 1.3),
    Case("SST-2, 0 shots, as shipped", "short", 200, 0, TWO, 2.2, True),
    Case("SST-2, 5 shots", "short", 200, 5, TWO, 3.0),
    Case("IMDB, 5 shots", "long", 100, 5, TWO, 8.0),
    Case(f"SST-2, {CLASSES} classes of several tokens, 0 shots", "short", 16, 0, (), 5.0),
)


def _encoded(case: Case, texts: Sequence[str], model: Any, tokenizer: Any, items: int) -> Any:
    from tuneproof.data.encode import encode_prompts
    from tuneproof.families import family_of
    from tuneproof.tasks.task import Example, Prompt

    words = case.words
    if not words:  # classes of three words each, the first of which some share
        vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
        plain = [word for word in vocabulary if word.isalpha()]
        words = tuple(f"{plain[100 + at // 2]} {plain[200 + at]} {plain[300 + at]}" for at in range(CLASSES))
    prompt = Prompt(
        instruction="Is the review good or bad ?",
        template="Review : {text}\nSentiment :",
        words=words,
        cloze="{text} {mask}",
        cloze_words=TWO,
    )
    cut = [" ".join(text.split()[:CUT]) for text in texts]
    shots = [Example(f"s{at}", cut[at], at % 2, "") for at in range(case.shots)]
    examples = [Example(str(at), cut[at], 0, "") for at in range(10, 10 + items)]
    return encode_prompts(tokenizer, family_of(model.config), prompt, examples, shots, 4096, "end")


def scores_by_peer(peer: Any, prompts: Any) -> Any:
    """What lm-evaluation-harness's HFLM scores each label of `EncodedPrompts` with: [N, C]."""
    requests = [
        (("", ""), context.tolist(), tokens.tolist())
        for context, labels in zip(prompts.contexts, prompts.continuations, strict=True)
        for tokens in labels
    ]
    likelihoods = peer._loglikelihood_tokens(requests, disable_tqdm=True)
    return np.array([log for log, _ in likelihoods]).reshape(len(prompts.contexts), -1)


def _row(case: Case, model: Any, tokenizer: Any, texts: Sequence[str], options: Any) -> bool:
    import torch
    from lm_eval.models.huggingface import HFLM

    from tuneproof.inference.label_likelihood import score_labels
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.models.oom import AdaptiveBatchSize

    prompts = _encoded(case, texts, model, tokenizer, min(options.items, case.items))
    longest = int(prompts.tokens_N.max())
    peer = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=options.batch, max_length=4096, device="cpu"
    )

    def ours() -> Any:
        choose_matmul("cpu", longest)
        return score_labels(model, prompts, 0, AdaptiveBatchSize(options.batch))

    def theirs() -> Any:
        choose_matmul("cpu", longest)
        if case.shipped:
            torch.set_float32_matmul_precision("highest")
            torch.backends.cuda.enable_flash_sdp(True)
        return scores_by_peer(peer, prompts)

    def apart(a: Any, b: Any) -> float:
        return float(np.abs(a - b).max())

    tokens = sum(map(len, prompts.contexts)) / len(prompts.contexts)
    name = f"{case.name} ({tokens:.0f} tokens a prompt)"
    return row(name, options.times, lambda: timed(ours), lambda: timed(theirs), case.mark, apart, LOG_BAR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where log-probabilities differ."""
    parser = common_options("labels")
    parser.add_argument("--short", help="a Parquet file of short texts (default: the demo's)")
    parser.add_argument("--short-column", default="sentence")
    parser.add_argument("--long", help="a Parquet file of long texts (default: short ones joined)")
    parser.add_argument("--long-column", default="text")
    parser.add_argument("--model", help="a decoder's folder (default: random weights of hidden x layers)")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    options = parser.parse_args(arguments)
    import lm_eval
    import torch
    import transformers

    torch.set_num_threads(1)
    short = read_texts(options.short, options.short_column)
    joined = [" ".join(short[at : at + 20]) for at in range(0, len(short), 20)]
    long = read_texts(options.long, options.long_column) if options.long else joined
    if options.model:
        model = real_decoder(options.model)
        tokenizer = transformers.AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    else:
        tokenizer = word_tokenizer([*short[:READ], *long[: READ // 10]])
        model = small_decoder(options.hidden, options.layers)
    config = model.config
    print(
        f"ours against lm-eval {lm_eval.__version__} (transformers {transformers.__version__}, torch "
        f"{torch.__version__}), one thread, process-CPU time, median (spread) of {options.times} "
        f"alternations; {options.items} items, batch {options.batch}, "
        f"hidden {config.hidden_size} x {config.num_hidden_layers}, {config.vocab_size:,} words"
    )
    agreed = True
    for case in CASES:
        if options.only in case.name:
            texts = short if case.texts == "short" else long
            agreed &= _row(case, model, tokenizer, texts, options)
    return 0 if agreed else 1
