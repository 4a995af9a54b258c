"""What a written answer says: the label that it names, or the answer to a question.

In: a text, the labels' words. Out: an index or UNPARSED; an answer or "".
Knows nothing of: golds, models, torch.
"""

import re
from collections.abc import Sequence

from tuneproof.metrics.metric import UNPARSED


def parse_answer(text: str, words: Sequence[str]) -> int:
    """The index of the label whose words begin the answer, or UNPARSED.

    Case, spaces and punctuation before the words do not matter ("**Positive**." is positive). The words
    must be whole and come first. If words of another label follow in the same line, the answer is ambiguous
    and UNPARSED. If one label's words begin another's, the longer ones count.
    """
    first_line = next((line for line in text.splitlines() if line.strip()), "")
    line = " ".join(first_line.casefold().split())
    order = sorted(range(len(words)), key=lambda label: -len(words[label]))
    phrases = {label: re.escape(" ".join(words[label].casefold().split())) for label in order}
    patterns = {label: re.compile(rf"(?<!\w){phrase}(?!\w)") for label, phrase in phrases.items()}
    punctuation = re.match(r"\W*", line)
    start = punctuation.end() if punctuation else 0
    for label in order:
        match = patterns[label].match(line, start) or patterns[label].match(line)
        if match is None:
            continue
        rest = line[match.end() :]
        is_ambiguous = any(patterns[other].search(rest) for other in order if other != label)
        return UNPARSED if is_ambiguous else label
    return UNPARSED


def parse_question_answer(text: str, no_answer: str) -> str:
    """The generated answer, or "" if it begins with `no_answer` as whole words, after any punctuation.

    Without `no_answer` the text is the answer, line breaks included.
    """
    if not no_answer:
        return text.strip()
    answer = " ".join(text.split())
    phrase = re.escape(" ".join(no_answer.split()))
    return "" if re.match(rf"\W*{phrase}(?!\w)", answer, flags=re.IGNORECASE) else answer
