"""Greedy answers as text, and the label that can be read off one.

In: a decoder, encoded prompts. Out: texts; for a text and the labels' words an index or UNPARSED.
Knows nothing of: golds, metrics, probabilities.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedPrompts, pad_batch
from tuneproof.metrics.metric import UNPARSED
from tuneproof.model.heads import inner_model
from tuneproof.model.shortage import AtOnce, in_batches
from tuneproof.model.words import read_ahead

SPARE_TOKENS = 4  # beyond the longest label: a quotation mark, a line end, a word to say too much


def answer_budget(prompts: EncodedPrompts) -> int:
    """Tokens an answer may have: the longest label's and a few."""
    return SPARE_TOKENS + max(
        (len(way) for ways in prompts.continuations for way in ways), default=0
    )


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

    Rows are padded on the left. An answer ends with an end-of-text token or one of `ends`, with the
    end of its first line that holds anything, or after `max_new_tokens`; what a row's neighbours do
    does not change it. Long prompts are read in pieces (see `read_ahead`).
    """
    from transformers import GenerationConfig, StoppingCriteriaList

    model.eval()
    inner = inner_model(model)
    known = inner.generation_config.eos_token_id
    end_ids = [] if known is None else list(known) if isinstance(known, list | tuple) else [known]
    end_ids = sorted({*end_ids, *ends})
    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad_id,
        eos_token_id=end_ids or None,
    )
    if not into:
        return

    def work(chosen: Any) -> NDArray[np.int64]:
        batch = pad_batch([prompts.prompts[place] for place in chosen], pad_id, "left")
        width = batch["input_ids"].shape[1]

        def line_ended(input_ids_BT: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            texts = tokenizer.batch_decode(input_ids_BT[:, width:], skip_special_tokens=True)
            done = ["\n" in text.lstrip() for text in texts]
            return torch.tensor(done, device=input_ids_BT.device)

        on_device = {name: values.to(device) for name, values in batch.items()}
        with torch.inference_mode():
            _, cache = read_ahead(model, on_device, 1)
            out_BT = model.generate(
                input_ids=on_device["input_ids"],
                attention_mask=on_device["attention_mask"],
                generation_config=settings,
                stopping_criteria=StoppingCriteriaList([line_ended]),
                **({} if cache is None else {"past_key_values": cache}),
            )
        return out_BT[:, width:].cpu().numpy()

    for chosen, new_BT in in_batches([len(ids) for ids in prompts.prompts], at_once, work):
        for place, new in zip(chosen, new_BT, strict=True):
            into[place] = _first_line(tokenizer, new, end_ids)
        yield len(chosen)


def _first_line(tokenizer: Any, new: NDArray[np.int64], end_ids: Sequence[int]) -> str:
    stops = np.flatnonzero(np.isin(new, end_ids))
    kept = new[: stops[0]] if len(stops) else new
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    return text.splitlines()[0].strip() if text else ""


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
