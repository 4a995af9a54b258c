"""Greedy answers as text, and the label that can be read off one.

In: a decoder, encoded prompts. Out: texts; for a text and the labels' words an index or UNPARSED.
Knows nothing of: golds, metrics, probabilities.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedPrompts, pad_batch
from tuneproof.data.prefix_trie import Pack, batches_of_kin, even_turns, make_packs
from tuneproof.metrics.metric import UNPARSED
from tuneproof.models.device import on_device
from tuneproof.models.heads import inner_model
from tuneproof.models.lm_logits import read_ahead
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.prefix_cache import Packed, read_start, shares_prefixes

IntArray = NDArray[np.int64]

NOTHING = -1  # in an array of tokens, behind the end of an answer
SPARE_TOKENS = 4  # beyond the longest label: a quotation mark, a line end, a word to say too much


def answer_budget(prompts: EncodedPrompts) -> int:
    """Tokens an answer may have: the longest label's and a few."""
    return SPARE_TOKENS + max((len(way) for ways in prompts.continuations for way in ways), default=0)


def generate_answers(
    model: Any,
    tokenizer: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    batch_size: int,
    max_new_tokens: int,
    device: str | torch.device = "cpu",
) -> list[str]:
    """What the model answers to each prompt, greedily, without the prompt."""
    answers = [""] * len(prompts.prompts)
    for _ in answer_prompts(
        model, tokenizer, prompts, pad_id, AtOnce(batch_size), max_new_tokens, device, answers
    ):
        pass
    return answers


def answer_prompts(
    model: Any,
    tokenizer: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    at_once: AtOnce,
    max_new_tokens: int,
    device: str | torch.device,
    into: list[str],
    ends: Sequence[int] = (),
) -> Iterator[int]:
    """Fill `into` as `generate_answers` does; yields items done after every batch.

    An answer ends with an end-of-text token or one of `ends`, with the end of its first line that
    holds anything, or after `max_new_tokens`; what a row's neighbours do does not change it.

    What all prompts begin with is read once; prompts of a batch that begin alike (questions on one
    text) share the keys and values of what they begin with, also while answers are written. A row
    that has ended is not read on. A model that takes no packs (see `shares_prefixes`) reads each
    prompt by itself, padded on the left.
    """
    model.eval()
    if not into:
        return
    known = inner_model(model).generation_config.eos_token_id
    end_ids = [] if known is None else list(known) if isinstance(known, list | tuple) else [known]
    stops = _Stops(tokenizer, sorted({*end_ids, *ends}), max_new_tokens)
    rows = prompts.prompts
    if shares_prefixes(model):
        start = read_start(model, rows, device)
        begun = 0 if start is None else len(start)
        batches: Sequence[Any] | None = batches_of_kin(rows, begun, at_once.size)

        def work(chosen: Any) -> IntArray:
            new: list[list[int]] = [[] for _ in chosen]
            for packs in even_turns(make_packs([rows[place][begun:] for place in chosen])):
                more = max_new_tokens * len(packs[0].rows_R)
                with torch.inference_mode():
                    packed = Packed(model, packs, pad_id, device, start, more)
                    _write(packed, packs, stops, new)
            return _as_array(new)
    else:
        batches = None

        def work(chosen: Any) -> IntArray:
            batch = pad_batch([rows[place] for place in chosen], pad_id, "left")
            return _as_array(_written_apart(model, on_device(batch, device), pad_id, stops))

    for chosen, new in in_batches([len(ids) for ids in rows], at_once, work, batches):
        for place, tokens in zip(chosen, new, strict=True):
            into[place] = stops.first_line(tokens[tokens != NOTHING].tolist())
        yield len(chosen)


def _as_array(answers: Sequence[Sequence[int]]) -> IntArray:
    """Tokens [B, T] of B answers, as a journal keeps them; NOTHING behind the shorter ones."""
    found_BT = np.full((len(answers), max(map(len, answers))), NOTHING, dtype=np.int64)
    for row, tokens in zip(found_BT, answers, strict=True):
        row[: len(tokens)] = tokens
    return found_BT


@dataclass(frozen=True)
class _Stops:
    """When an answer has ended, and the text that is left of it then."""

    tokenizer: Any
    end_ids: Sequence[int]
    budget: int

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether the last one of these tokens of an answer ends it."""
        if tokens[-1] in self.end_ids or len(tokens) >= self.budget:
            return True
        return "\n" in self.tokenizer.decode(tokens, skip_special_tokens=True).lstrip()

    def first_line(self, tokens: Sequence[int]) -> str:
        """The first line that holds anything, before an end."""
        kept = list(tokens)
        for place, token in enumerate(kept):
            if token in self.end_ids:
                kept = kept[:place]
                break
        text = self.tokenizer.decode(kept, skip_special_tokens=True).strip()
        return text.splitlines()[0].strip() if text else ""


def _write(packed: Packed, packs: Sequence[Pack], stops: _Stops, new: list[list[int]]) -> None:
    """Put what the model writes after each row of the packs, greedily, to the row's own place."""
    at = [(pack, row) for pack, one in enumerate(packs) for row in range(len(one.rows_R))]
    ids = {one: int(packs[one[0]].rows_R[one[1]]) for one in at}
    lengths = {one: packed.before + len(packs[one[0]].columns[one[1]]) for one in at}
    ends = np.array([packs[pack].columns[row][-1] for pack, row in at])
    logits_SV = packed.logits_at(np.array([pack for pack, _ in at]), ends)
    held = list(range(len(packs)))  # the packs that are still on the device
    while True:
        for one, token in zip(at, logits_SV.argmax(-1).tolist(), strict=True):
            new[ids[one]].append(token)
        at = [one for one in at if not stops.ended(new[ids[one]])]
        if not at:
            return
        live = sorted({pack for pack, _ in at})
        if 2 * len(live) <= len(held):
            packed.keep_packs(np.array([held.index(pack) for pack in live]))
            held = live
        most = max(Counter(pack for pack, _ in at).values())
        tokens_BQ, owner_BQ, positions_BQ = (np.zeros((len(held), most), dtype=np.int64) for _ in range(3))
        taken: Counter[int] = Counter()
        places = []
        for pack, row in at:
            place = held.index(pack), taken[pack]
            written = new[ids[pack, row]]
            tokens_BQ[place], owner_BQ[place] = written[-1], row
            positions_BQ[place] = lengths[pack, row] + len(written) - 1
            taken[pack] += 1
            places.append(place[0] * most + place[1])
        logits_SV = packed.add(tokens_BQ, owner_BQ, positions_BQ, np.array(places))


def _written_apart(model: Any, batch: dict[str, torch.Tensor], pad_id: int, stops: _Stops) -> list[list[int]]:
    """The same for the rows of a left-padded batch, each with its own keys and values."""
    from transformers import GenerationConfig, StoppingCriteriaList

    width = batch["input_ids"].shape[1]

    def ended(input_ids_BT: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        done = [stops.ended(row) for row in input_ids_BT[:, width:].tolist()]
        return torch.tensor(done, device=input_ids_BT.device)

    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=stops.budget,
        pad_token_id=pad_id,
        eos_token_id=list(stops.end_ids) or None,
    )
    with torch.inference_mode():
        _, cache = read_ahead(model, batch, 1)
        out_BT = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList([ended]),
            **({} if cache is None else {"past_key_values": cache}),
        )
    return out_BT[:, width:].tolist()


def parse_answer(text: str, words: Sequence[str]) -> int:
    """The label whose words open the answer, as its index, or UNPARSED.

    Case, spaces and signs before the words do not matter ("**Positive**." is positive). The words
    must stand whole ("positively" is not positive) and at the beginning ("not positive" is
    nothing); where words of another label follow in the same line ("positive or negative") the
    answer is ambiguous and UNPARSED. Where one label's words open another's, the longer count.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = " ".join(line.casefold().split())
    order = sorted(range(len(words)), key=lambda place: -len(words[place]))
    whole = {
        place: re.compile(rf"(?<!\w){re.escape(' '.join(words[place].casefold().split()))}(?!\w)")
        for place in order
    }
    start = re.match(r"\W*", line)
    at = start.end() if start else 0
    for place in order:
        found = whole[place].match(line, at) or whole[place].match(line)
        if found is None:
            continue
        rest = line[found.end() :]
        others = any(whole[other].search(rest) for other in order if other != place)
        return UNPARSED if others else place
    return UNPARSED


def parse_question_answer(text: str, no_answer: str) -> str:
    """The answer that a model wrote, or "" where it says that there is none.

    It says so where `no_answer` stands whole at the beginning; case, spaces and signs before it do
    not matter.
    """
    said = " ".join(text.split())
    wanted = re.escape(" ".join(no_answer.split()))
    return "" if re.match(rf"\W*{wanted}(?!\w)", said, flags=re.IGNORECASE) else said
