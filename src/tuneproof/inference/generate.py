"""Greedily generated answers.

In: a decoder, encoded prompts. Out: texts. Knows nothing of: golds, labels, metrics, probabilities.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedPrompts
from tuneproof.data.prefix_trie import PrefixTrie, batch_by_prefix, build_prefix_tries, group_tries
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.finite import refuse_nonfinite_items
from tuneproof.models.device import to_device
from tuneproof.models.heads import inner_model
from tuneproof.models.lm_logits import prefill
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.prefix_cache import PrefixTrieBatch, read_shared_prefix, shares_prefixes

IntArray = NDArray[np.int64]

NO_TOKEN = -1  # pads an array of tokens after the end of an answer
NONFINITE_TOKEN = -2  # ends an answer where the model's scores are not finite
LINE_END = "\n"
LAST_TOKENS = 8  # that are searched for the end of an answer: whole answers take quadratic time
SPARE_TOKENS = 4  # beyond the longest label: a quotation mark, a line end, a superfluous word


def max_answer_tokens(prompts: EncodedPrompts) -> int:
    """The most tokens of an answer: those of the longest label and a few."""
    lengths = (len(tokens) for labels in prompts.continuations for tokens in labels)
    return SPARE_TOKENS + max(lengths, default=0)


def generate_answers(
    model: Any,
    tokenizer: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    max_new_tokens: int,
    device: str | torch.device = "cpu",
    ends: Sequence[int] = (),
    stop: str = LINE_END,
) -> list[str]:
    """The model's greedy answer to each prompt, without the prompt; it does not depend on other rows.

    An answer ends with an end-of-text token or one of `ends`, before the text `stop` if there is one (by
    default at the end of its first line that is not empty), or after `max_new_tokens`.

    The prefix of all prompts is read once. Prompts of a batch with a common prefix (questions on one text)
    share its keys and values. A model that takes no tries (see `shares_prefixes`) reads each prompt alone.

    Raises: NonfiniteItemsError where the scores of a prompt's next token hold NaN or are all infinite.
    """
    model.eval()
    rows = prompts.prompt_ids
    answers = [""] * len(rows)
    if not answers:
        return answers
    eos = inner_model(model).generation_config.eos_token_id
    end_ids = [] if eos is None else list(eos) if isinstance(eos, list | tuple) else [eos]
    stop_rule = _StopRule(tokenizer, sorted({*end_ids, *ends}), max_new_tokens, stop)
    if shares_prefixes(model):
        shared = read_shared_prefix(model, rows, device)
        shared_length = 0 if shared is None else len(shared)
        batches: Sequence[Any] | None = batch_by_prefix(rows, shared_length, adaptive_size.size)

        def work(items: Any) -> IntArray:
            generated: list[list[int]] = [[] for _ in items]
            for tries in group_tries(build_prefix_tries([rows[item][shared_length:] for item in items])):
                extra_columns = max_new_tokens * len(tries[0].rows_R)
                with torch.inference_mode():
                    batch = PrefixTrieBatch(model, tries, pad_id, device, shared, extra_columns)
                    _generate_in_tries(batch, tries, stop_rule, generated)
            return _as_array(generated)
    else:
        batches = None

        def work(items: Any) -> IntArray:
            batch = pad_batch([rows[item] for item in items], pad_id, "left")
            return _as_array(_generate_separate_rows(model, to_device(batch, device), pad_id, stop_rule))

    nonfinite = []
    for items, tokens_BT in run_in_batches([len(ids) for ids in rows], adaptive_size, work, batches):
        for item, tokens in zip(items, tokens_BT, strict=True):
            if NONFINITE_TOKEN in tokens:
                nonfinite.append(item)
                continue
            answers[item] = stop_rule.answer(tokens[tokens != NO_TOKEN].tolist())
    refuse_nonfinite_items(nonfinite)
    return answers


def _greedy_tokens(logits_SV: torch.Tensor) -> torch.Tensor:
    """The most probable token [S] of each row; NONFINITE_TOKEN where its logit is not finite."""
    best_S, tokens_S = logits_SV.max(dim=-1)  # of a row with NaN it is NaN
    return torch.where(best_S.isfinite(), tokens_S, NONFINITE_TOKEN)


def _as_array(answers: Sequence[Sequence[int]]) -> IntArray:
    """Tokens [B, T] of B answers, for the resume log; shorter ones are padded with NO_TOKEN."""
    tokens_BT = np.full((len(answers), max(map(len, answers))), NO_TOKEN, dtype=np.int64)
    for row, tokens in zip(tokens_BT, answers, strict=True):
        row[: len(tokens)] = tokens
    return tokens_BT


@dataclass(frozen=True)
class _StopRule:
    """When an answer is finished, and the text that remains of it."""

    tokenizer: Any
    end_ids: Sequence[int]
    max_tokens: int
    stop: str

    def is_finished(self, tokens: Sequence[int]) -> bool:
        """Whether the last of these tokens ends the answer."""
        if tokens[-1] in (*self.end_ids, NONFINITE_TOKEN) or len(tokens) >= self.max_tokens:
            return True
        if not self.stop or self.stop not in self.tokenizer.decode(tokens[-LAST_TOKENS:]):
            return False
        return self.stop in self.tokenizer.decode(tokens, skip_special_tokens=True).lstrip()

    def answer(self, tokens: Sequence[int]) -> str:
        """The text before any end token, and before what stops it."""
        end = next((index for index, token in enumerate(tokens) if token in self.end_ids), len(tokens))
        text = self.tokenizer.decode(list(tokens[:end]), skip_special_tokens=True).strip()
        if self.stop == LINE_END:
            return text.splitlines()[0].strip() if text else ""
        return text.partition(self.stop)[0].strip() if self.stop else text


def _generate_in_tries(
    batch: PrefixTrieBatch, tries: Sequence[PrefixTrie], stop_rule: _StopRule, generated: list[list[int]]
) -> None:
    """Add the greedy tokens after each row of the tries to `generated`, by the row's index."""
    live = [(index, row) for index, trie in enumerate(tries) for row in range(len(trie.rows_R))]
    rows = {(index, row): int(tries[index].rows_R[row]) for index, row in live}
    lengths = {(index, row): batch.shared_length + len(tries[index].columns[row]) for index, row in live}
    ends = np.array([tries[index].columns[row][-1] for index, row in live])
    logits_SV = batch.logits_at(np.array([index for index, _ in live]), ends)
    on_device = list(range(len(tries)))  # indices of the tries
    while True:
        for key, token in zip(live, _greedy_tokens(logits_SV).tolist(), strict=True):
            generated[rows[key]].append(token)
        live = [key for key in live if not stop_rule.is_finished(generated[rows[key]])]
        if not live:
            return
        live_tries = sorted({index for index, _ in live})
        if 2 * len(live_tries) <= len(on_device):
            batch.select_tries(np.array([on_device.index(index) for index in live_tries]))
            on_device = live_tries
        queries = max(Counter(index for index, _ in live).values())
        shape = (len(on_device), queries)
        tokens_BQ, owner_BQ, positions_BQ = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        used: Counter[int] = Counter()
        positions_S = []
        for index, row in live:
            cell = on_device.index(index), used[index]
            answer = generated[rows[index, row]]
            tokens_BQ[cell], owner_BQ[cell] = answer[-1], row
            positions_BQ[cell] = lengths[index, row] + len(answer) - 1
            used[index] += 1
            positions_S.append(cell[0] * queries + cell[1])
        logits_SV = batch.append_tokens(tokens_BQ, owner_BQ, positions_BQ, np.array(positions_S))


def _generate_separate_rows(
    model: Any, batch: dict[str, torch.Tensor], pad_id: int, stop_rule: _StopRule
) -> list[list[int]]:
    """The same for the rows of a left-padded batch, each with its own keys and values."""
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    width = batch["input_ids"].shape[1]
    nonfinite: set[int] = set()

    def watch(_ids: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        rows_B = _greedy_tokens(scores_BV) == NONFINITE_TOKEN
        nonfinite.update(rows_B.nonzero().flatten().tolist())
        return scores_BV

    def is_finished(input_ids_BT: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        finished = [stop_rule.is_finished(row) for row in input_ids_BT[:, width:].tolist()]
        return torch.tensor(finished, device=input_ids_BT.device)

    ids = {"pad_token_id": pad_id, "eos_token_id": list(stop_rule.end_ids) or None}
    config = GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=stop_rule.max_tokens, **ids)
    with torch.inference_mode():
        _, cache = prefill(model, batch, 1)
        output_BT = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([is_finished]),
            logits_processor=LogitsProcessorList([watch]),
            **({} if cache is None else {"past_key_values": cache}),
        )
    answers = output_BT[:, width:].tolist()
    return [[NONFINITE_TOKEN] if row in nonfinite else answer for row, answer in enumerate(answers)]
