"""Find what a review complains about, by lists of words in each language. Pure.

The lists are `topic_words/*.toml`; how they are written and read is in `docs/topics.md`.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from alerter.watch.keywords import contains_folded, fold
from alerter.watch.stems import Stems, stems_in, stems_of_entry, without_accents

_REMEMBERED = 20_000  # different words of customers
_GAP = "..."
_IN_GAP = 4  # words at most
_NEGATED_BEFORE = 3  # words at most from a negation to what it negates
_WORD = re.compile(r"[^\W_]+|[.!?;]")
_ENDS = frozenset(".!?;")
# "doesn't", "doesnt" and "cannot": two words, as "does not" and "can not" are.
_CONTRACTED = re.compile(
    r"\b(do|does|did|is|are|was|were|has|have|had|could|would|should|ca|can|wo)(?:n't|nt|not)\b"
)
_WHOLE = {"ca": "can", "wo": "will"}


class _Part(NamedTuple):
    """A word of a phrase: by its stems or by its beginning, with up to `gap` words before it."""

    stems: Stems
    start: str
    gap: int


@dataclass(frozen=True, slots=True, eq=False)
class _Phrase:
    """An entry of a list. An `exception` keeps its topic from being found where it stands.

    `negates`: it begins with a negation itself, as "not fresh" does.
    """

    topic: str
    text: str
    language: str
    parts: tuple[_Part, ...]
    exception: bool
    negates: bool


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: _Phrase


class Topics:
    """The topics of one config: the lists of its languages, and the owner's own words."""

    def __init__(self, languages: Collection[str], own: Mapping[str, Sequence[str]]) -> None:
        self._lists = {language: word_lists(language) for language in sorted(languages)}
        self._own = {topic: [(word, fold(word)) for word in words] for topic, words in own.items()}
        self._stems = {language: stems_in(language) for language in self._lists}
        self._negations = {
            language: frozenset(map(fold, lists["negations"]))
            for language, lists in self._lists.items()
        }
        phrases = [*self._built_in(), *self._owners(own)]
        self._beginnings = {stem[:3] for each in phrases for stem in _beginnings(each)}
        self._by_stem, self._by_start = _indexed(phrases)
        self._phrases_at = lru_cache(_REMEMBERED)(self._find_phrases_at)

    @property
    def mark(self) -> str:
        """A short text that is another one for other lists or words."""
        all_of_it = json.dumps([self._lists, self._own], sort_keys=True)
        return hashlib.sha256(all_of_it.encode()).hexdigest()[:16]

    def of(self, *texts: str) -> tuple[str, ...]:
        """Return the topics of the texts of a review, sorted."""
        return tuple(self.words_in(*texts))

    def words_in(self, *texts: str) -> dict[str, list[str]]:
        """Return the topics of the texts, sorted, each with the entries of the lists found."""
        found: dict[str, set[str]] = {}
        for text in filter(None, texts):
            folded = fold(text)
            for phrase in self._found_in(_words_of(folded)):
                found.setdefault(phrase.topic, set()).add(phrase.text)
            for topic, words in self._own.items():
                for word, wanted in words:
                    if contains_folded(wanted, folded):
                        found.setdefault(topic, set()).add(word)
        return {topic: sorted(found[topic]) for topic in sorted(found)}

    def _built_in(self) -> Iterator[_Phrase]:
        for language, lists in self._lists.items():
            for topic, entries in lists.items():
                for entry in entries if topic != "negations" else ():
                    yield self._parsed(topic, entry, language)

    def _owners(self, own: Mapping[str, Sequence[str]]) -> Iterator[_Phrase]:
        """Yield the owner's words in each language; those without a letter are only compared."""
        for topic, words in own.items():
            for word in words:
                for language in self._lists if _WORD.search(fold(word)) else ():
                    yield self._parsed(topic, word, language)

    def _parsed(self, topic: str, entry: str, language: str) -> _Phrase:
        text, gap, parts = entry.removeprefix("-"), 0, list[_Part]()
        for piece in fold(text).split():
            if piece == _GAP:
                gap = _IN_GAP
                continue
            for word in _words_of(piece.rstrip("*")):
                start = without_accents(word) if piece.endswith("*") else ""
                stems = frozenset[str]() if start else stems_of_entry(language, word)
                parts.append(_Part(stems, start, gap))
                gap = 0
        negates = _words_of(fold(text))[0] in self._negations[language]
        return _Phrase(topic, text, language, tuple(parts), entry.startswith("-"), negates)

    def _found_in(self, words: Sequence[str]) -> Iterator[_Phrase]:
        hits = [
            _Hit(begin, end, phrase)
            for begin, word in enumerate(words)
            for phrase in self._phrases_at(word)
            if (end := self._end(phrase, words, begin)) is not None
        ]
        exceptions = [hit for hit in hits if hit.phrase.exception]
        for hit in hits:
            if not hit.phrase.exception and not any(
                each.phrase.topic == hit.phrase.topic
                and each.begin <= hit.end
                and hit.begin <= each.end
                for each in exceptions
            ):
                yield hit.phrase

    def _find_phrases_at(self, word: str) -> tuple[_Phrase, ...]:
        """Return the phrases that begin with a word, of all languages."""
        plain = without_accents(word)
        found = [each for start, each in self._by_start if plain.startswith(start)]
        for language, by_stem in self._by_stem.items():
            # A stem costs far more than a look: few words begin as one of the phrases does.
            if language == "he" or plain[:3] in self._beginnings or plain[:2] in self._beginnings:
                for stem in self._stems[language](word):
                    found += by_stem.get(stem, ())
        return tuple(dict.fromkeys(found))

    def _end(self, phrase: _Phrase, words: Sequence[str], begin: int) -> int | None:
        """Return where a phrase that begins at a word ends; None where it is not there."""
        if not (phrase.negates or phrase.exception) and self._is_negated(phrase, words, begin):
            return None
        at = begin
        for part in phrase.parts[1:]:
            for following in range(at + 1, at + 2 + part.gap):
                if following >= len(words) or words[following] in _ENDS:
                    return None
                if self._is(part, words[following], phrase.language):
                    at = following
                    break
            else:
                return None
        return at

    def _is(self, part: _Part, word: str, language: str) -> bool:
        if part.start:
            return without_accents(word).startswith(part.start)
        return not part.stems.isdisjoint(self._stems[language](word))

    def _is_negated(self, phrase: _Phrase, words: Sequence[str], begin: int) -> bool:
        negations = self._negations[phrase.language]
        for before in range(begin - 1, max(begin - 1 - _NEGATED_BEFORE, -1), -1):
            if words[before] in _ENDS:
                return False
            if words[before] in negations:
                return True
        return False


@cache
def word_lists(language: str) -> Mapping[str, Sequence[str]]:
    """Return the lists of a language by topic, and its `negations`."""
    file = files("alerter.watch") / "topic_words" / f"{language}.toml"
    return tomllib.loads(file.read_text("utf-8"))


def _words_of(folded: str) -> list[str]:
    """Return the words of a folded text, with the ends of its sentences."""
    whole = _CONTRACTED.sub(lambda found: f"{_WHOLE.get(found[1], found[1])} not", folded)
    return _WORD.findall(whole)


def _beginnings(phrase: _Phrase) -> Iterator[str]:
    first = phrase.parts[0]
    yield from first.stems
    if first.start:
        yield first.start


_ByStem = dict[str, dict[str, list[_Phrase]]]


def _indexed(phrases: Sequence[_Phrase]) -> tuple[_ByStem, list[tuple[str, _Phrase]]]:
    """Return the phrases by language and by each stem of their first word, else by its start."""
    by_stem: _ByStem = {}
    by_start = []
    for phrase in phrases:
        first = phrase.parts[0]
        if first.start:
            by_start.append((first.start, phrase))
        for stem in first.stems:
            by_stem.setdefault(phrase.language, {}).setdefault(stem, []).append(phrase)
    return by_stem, by_start
