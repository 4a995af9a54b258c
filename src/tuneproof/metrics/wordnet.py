"""WordNet's synonyms, read from the database's own files.

In: a folder with index.*, data.* and *.exc. Out: the words that share a meaning with a word.
Knows nothing of: metrics, answers.

The database is not part of the package: Debian's and Ubuntu's `wordnet-base` installs it into
/usr/share/wordnet; elsewhere unpack WordNet 3.0's database and set WORDNET to its folder.

Source: Miller 1995, doi:10.1145/219717.219748; the files: wndb(5WN), base forms: morphy(7WN).
"""

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDERS = ("/usr/share/wordnet", "/usr/local/share/wordnet", "/usr/share/wordnet-3.0/dict")
HOW_TO_GET = "install Debian's wordnet-base, or unpack WordNet 3.0's database and set WORDNET to its folder"
KINDS = ("noun", "verb", "adj", "adv")
_ENDINGS = {  # ending:base form, as in morphy(7WN)
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
ENDINGS = {kind: [tuple(pair.split(":")) for pair in pairs.split()] for kind, pairs in _ENDINGS.items()}


@dataclass(frozen=True)
class Lemma:
    """One word of a synset."""

    word: str

    def name(self) -> str:
        """The word as WordNet writes it."""
        return self.word


@dataclass(frozen=True)
class Synset:
    """Words that share a meaning."""

    words: tuple[str, ...]

    def lemmas(self) -> list[Lemma]:
        """The words, as nltk calls for them."""
        return [Lemma(word) for word in self.words]


@dataclass(frozen=True)
class WordNet:
    """The database in memory, by part of speech; nltk's METEOR calls `synsets`."""

    offsets: dict[str, dict[str, tuple[int, ...]]]
    exceptions: dict[str, dict[str, tuple[str, ...]]]
    data: dict[str, bytes]
    _cache: dict[str, list[Synset]] = field(default_factory=dict, repr=False)

    def synsets(self, word: str) -> list[Synset]:
        """Every synset that the word, or a base form of it, belongs to."""
        word = word.lower()
        if word not in self._cache:
            self._cache[word] = [
                self._synset(kind, offset)
                for kind in KINDS
                for form in self._base_forms(word, kind)
                for offset in self.offsets[kind][form]
            ]
        return self._cache[word]

    def _base_forms(self, word: str, kind: str) -> list[str]:
        """The word and its base forms that are in the database."""
        words = self.offsets[kind]
        if word in self.exceptions[kind]:
            return _in(words, [word, *self.exceptions[kind][word]])
        forms = _shorter([word], kind)
        base_forms = _in(words, [word, *forms])
        while forms and not base_forms:
            forms = _shorter(forms, kind)
            base_forms = _in(words, forms)
        return base_forms

    def _synset(self, kind: str, offset: int) -> Synset:
        """offset lex_filenum ss_type w_cnt word lex_id [word lex_id ...] ..."""
        line = self.data[kind][offset : self.data[kind].index(b"\n", offset)].decode("utf-8")
        fields = line.split(" ")
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        return Synset(tuple(word.partition("(")[0] for word in words))


def _in(words: dict[str, tuple[int, ...]], forms: list[str]) -> list[str]:
    return [form for form in dict.fromkeys(forms) if form in words]


def _shorter(forms: list[str], kind: str) -> list[str]:
    return [
        form[: len(form) - len(old)] + new
        for form in forms
        for old, new in ENDINGS[kind]
        if form.endswith(old)
    ]


def wordnet_folder() -> Path | None:
    """The folder that WORDNET names, else a usual one; None where none has the database."""
    named = os.environ.get("WORDNET")
    for folder in (named,) if named else FOLDERS:
        if folder and all((Path(folder) / f"data.{kind}").is_file() for kind in KINDS):
            return Path(folder)
    return None


@cache
def read_wordnet(folder: Path) -> WordNet:
    """The whole database, about 30 MB of text, read once for each process."""
    offsets, exceptions = {}, {}
    for kind in KINDS:
        lines = (folder / f"index.{kind}").read_text("utf-8").split("\n")
        offsets[kind] = dict(_index_line(line) for line in lines if line and line[0] != " ")
        file = folder / f"{kind}.exc"
        rows = file.read_text("utf-8").split("\n") if file.is_file() else []
        exceptions[kind] = {row.split()[0]: tuple(row.split()[1:]) for row in rows if len(row.split()) > 1}
    data = {kind: (folder / f"data.{kind}").read_bytes() for kind in KINDS}
    return WordNet(offsets, exceptions, data)


def _index_line(line: str) -> tuple[str, tuple[int, ...]]:
    """lemma pos synset_cnt p_cnt [ptr ...] sense_cnt tagsense_cnt offset [offset ...]"""
    fields = line.split()
    return fields[0], tuple(int(offset) for offset in fields[-int(fields[2]) :])
