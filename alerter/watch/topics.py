"""Find what a review complains about, by lists of words in each language. Pure.

The lists are `topic_words/*.toml`; how they are written and read is in `docs/topics.md`.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import NamedTuple, Self

from alerter.config import Config, Limits
from alerter.models import Review, Status, StoredReview
from alerter.watch.keywords import contains_folded, fold
from alerter.watch.stems import Stems, first_letters, stems_in, stems_of_entry, without_accents

_REMEMBERED = 20_000  # different words of customers
_GAP = "..."
_IN_GAP = 4  # words at most
_NEGATED_BEFORE = 3  # words at most from a negation to what it negates
_WORD = re.compile(r"[^\W_]+|[.!?;]")
_ENDS = ".!?;"
# What says how an entry is read: it is no text of its own.
_MARKS = re.compile(r"^-|\*|\.\.\.|(?<!\S)=\w")
_VERBS = (
    "do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "could", "would",
    "should", "ca", "can", "wo",
)  # fmt: skip
# "doesn't", "doesnt" and "cannot": two words, as "does not" and "can not" are.
_CONTRACTED = re.compile(rf"\b({'|'.join(_VERBS)})(?:n't|nt|not)\b")
_WHOLE = {"ca": "can", "wo": "will"}
# A text with a contraction has one of these words; to look for them takes less than the pattern.
_CONTRACTIONS = frozenset(verb + end for verb in _VERBS for end in ("n", "nt", "not"))


class _Part(NamedTuple):
    """A word of a phrase, with up to `gap` words before it.

    It is found by its stems; by its beginning; or, where `whole`, by that alone and no other form.
    """

    stems: Stems
    start: str
    whole: bool
    gap: int

    @property
    def forms(self) -> Collection[str]:
        """Its stems, or itself where no other form is it; none where it is found by a beginning."""
        return self.stems or ((self.start,) if self.whole else ())

    def begins(self, word: str) -> bool:
        """Return whether a word begins so, its accents left out, or is exactly so."""
        return word == self.start if self.whole else without_accents(word).startswith(self.start)


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

    @property
    def seconds(self) -> Collection[str]:
        """The forms of its second word."""
        return self.parts[1].forms if len(self.parts) > 1 else ()


class _Role(NamedTuple):
    """What a word of a text may be in phrases: the first word of some, the second of others.

    Of those that it begins, the ones that go on with a word that has forms stand by each of them:
    the word comes `directly` after, or `later`. All others are `unknown` to go on. `forms`: its own
    of those by which second words stand.
    """

    unknown: Sequence["_Phrase"]
    directly: Mapping[str, Sequence["_Phrase"]]
    later: Mapping[str, Sequence["_Phrase"]]
    forms: Collection[str]

    @classmethod
    def of(cls, phrases: Iterable["_Phrase"], forms: Collection[str]) -> Self:
        """Return the role of a word that begins these phrases, and has these forms."""
        unknown: list[_Phrase] = []
        directly: dict[str, list[_Phrase]] = {}
        later: dict[str, list[_Phrase]] = {}
        for phrase in phrases:
            if not phrase.seconds:
                unknown.append(phrase)
            for form in phrase.seconds:
                by_form = later if phrase.parts[1].gap else directly
                by_form.setdefault(form, []).append(phrase)
        return cls(unknown, directly, later, tuple(forms))


_NO_ROLE = _Role((), {}, {}, ())


class _Hit(NamedTuple):
    begin: int
    end: int
    phrase: _Phrase


class Topics:
    """The topics of one config: the lists of its languages, and the owner's own words.

    The stems and the phrases are made when the first words are looked at: some 4 MB for one
    language.
    """

    def __init__(self, languages: Collection[str], own: Mapping[str, Sequence[str]]) -> None:
        self._lists = {language: word_lists(language) for language in sorted(languages)}
        # An owner's word is looked for as it stands too: it may be of any language and script.
        self._own = {
            topic: [(entry, fold(entry)) for entry in entries if not _MARKS.search(entry)]
            for topic, entries in own.items()
        }
        self._owners_words = own
        self._negations = {
            language: frozenset(map(fold, lists["negations"]))
            for language, lists in self._lists.items()
        }
        all_of_it = json.dumps([self._lists, own], sort_keys=True)
        # Another one for other lists or words.
        self.mark = hashlib.sha256(all_of_it.encode()).hexdigest()[:16]
        self._role_of = lru_cache(_REMEMBERED)(self._find_role_of)

    def of(self, *texts: str) -> tuple[str, ...]:
        """Return the topics of the texts of a review, sorted."""
        return tuple(self.words_in(*texts))

    def tagged(self, review: Review) -> Review:
        """Return a review with the topics of its words; without any it keeps those on record."""
        if not (review.title or review.body):
            return review
        return replace(review, topics=self.of(review.title, review.body))

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

    @cached_property
    def _stems(self) -> Mapping[str, Callable[[str], Stems]]:
        return {language: stems_in(language) for language in self._lists}

    @cached_property
    def _index(self) -> "_Index":
        return _Index.of([*self._built_in(), *self._owners()])

    def _built_in(self) -> Iterator[_Phrase]:
        for language, lists in self._lists.items():
            for topic, entries in lists.items():
                for entry in entries if topic != "negations" else ():
                    yield self._parsed(topic, entry, language)

    def _owners(self) -> Iterator[_Phrase]:
        """Yield the owner's entries in each language, those that hold a word."""
        for topic, entries in self._owners_words.items():
            for entry in entries:
                for language in self._lists if _words_without_ends(fold(entry)) else ():
                    yield self._parsed(topic, entry, language)

    def _parsed(self, topic: str, entry: str, language: str) -> _Phrase:
        text, gap, parts = entry.removeprefix("-"), 0, list[_Part]()
        for piece in fold(text).split():
            if piece == _GAP:
                gap = _IN_GAP
                continue
            whole = piece.startswith("=")
            for word in _words_without_ends(piece.strip("=*")):
                start = word if whole else without_accents(word) if piece.endswith("*") else ""
                stems = frozenset[str]() if start else stems_of_entry(language, word)
                parts.append(_Part(stems, start, whole, gap))
                gap = 0
        negates = _words_without_ends(fold(text))[0] in self._negations[language]
        return _Phrase(topic, text, language, tuple(parts), entry.startswith("-"), negates)

    def _found_in(self, words: Sequence[str]) -> Iterator[_Phrase]:
        hits = [
            _Hit(begin, end, phrase)
            for begin, phrase in self._candidates(words)
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

    def _candidates(self, words: Sequence[str]) -> Iterator[tuple[int, _Phrase]]:
        """Yield where phrases may begin in a text, by their first two words, some twice."""
        roles = [*map(self._role_of, words), _NO_ROLE]
        for begin, (unknown, directly, later, _) in enumerate(roles):
            for phrase in unknown:
                yield begin, phrase
            if directly:
                for form in roles[begin + 1].forms:
                    for phrase in directly.get(form, ()):
                        yield begin, phrase
            if later:
                for following in roles[begin + 1 : begin + 2 + _IN_GAP]:
                    for form in following.forms:
                        for phrase in later.get(form, ()):
                            yield begin, phrase

    def _find_role_of(self, word: str) -> _Role:
        """Return what a word is in the phrases of all languages."""
        plain, index, forms = without_accents(word), self._index, {word}
        begun = [phrase for start, phrase in index.by_start if plain.startswith(start)]
        begun += index.by_word.get(word, ())
        # A stem costs far more than a look: few words begin as one of the phrases does.
        may_have_stem = index.may_have_stem(word)
        for language, stems in self._stems.items():
            if may_have_stem or language == "he":
                for stem in stems(word):
                    forms.add(stem)
                    begun += index.by_stem.get((language, stem), ())
        forms &= index.seconds
        return _Role.of(dict.fromkeys(begun), forms) if begun or forms else _NO_ROLE

    def _end(self, phrase: _Phrase, words: Sequence[str], begin: int) -> int | None:
        """Return where a phrase that begins at a word ends; None where it is not there."""
        at, negations = begin, self._negations[phrase.language]
        for part in phrase.parts[1:]:
            for following in range(at + 1, at + 2 + part.gap):
                if following >= len(words) or words[following] in _ENDS:
                    return None
                if self._is(part, words[following], phrase.language):
                    at = following
                    break
                if phrase.exception and words[following] in negations:
                    return None  # "staff was not friendly" is no "staff ... friendly"
            else:
                return None
        if not (phrase.negates or phrase.exception) and self._is_negated(phrase, words, begin):
            return None
        return at

    def _is(self, part: _Part, word: str, language: str) -> bool:
        if part.start:
            return part.begins(word)
        return not part.stems.isdisjoint(self._stems[language](word))

    def _is_negated(self, phrase: _Phrase, words: Sequence[str], begin: int) -> bool:
        negations = self._negations[phrase.language]
        for before in range(begin - 1, max(begin - 1 - _NEGATED_BEFORE, -1), -1):
            if words[before] in _ENDS:
                return False
            if words[before] in negations:
                return True
        return False


def topics_of(config: Config) -> Topics:
    """Return the topics of a config; the lists are read once."""
    own = tuple((each.name, each.words) for each in config.topics)
    return _topics(config.languages, own)


@lru_cache(4)
def _topics(languages: frozenset[str], own: tuple[tuple[str, tuple[str, ...]], ...]) -> Topics:
    return Topics(languages, dict(own))


def judged_topics(
    topics: Topics,
    review: Review,
    known: StoredReview | None,
    limits: Limits,
    *,
    anonymized: bool = False,
) -> tuple[str, ...]:
    """Return the topics by which a review is judged, as it is read; `known` is its record.

    Above both thresholds none are looked for. Those on record stay where the words are erased, and
    while a review is open that is low-rated by its topics alone: once people were alerted, it waits
    for an answer, whatever its words become.
    """
    if review.rating > limits.with_topic:
        return ()
    on_record = known.review.topics if known else ()
    if anonymized:
        return on_record
    found = topics.of(review.title, review.body)
    is_open = known is not None and known.status is Status.OPEN
    return on_record if is_open and not found and review.rating > limits.plain else found


@cache
def word_lists(language: str) -> Mapping[str, Sequence[str]]:
    """Return the lists of a language by topic, and its `negations`."""
    file = files("alerter.watch") / "topic_words" / f"{language}.toml"
    return tomllib.loads(file.read_text("utf-8"))


def _words_of(folded: str) -> list[str]:
    """Return the words of a folded text, with the ends of sentences among them."""
    words = _WORD.findall(folded)
    if _CONTRACTIONS.isdisjoint(words):
        return words
    whole = _CONTRACTED.sub(lambda found: f"{_WHOLE.get(found[1], found[1])} not", folded)
    return _WORD.findall(whole)


def _words_without_ends(folded: str) -> list[str]:
    return [word for word in _words_of(folded) if word not in _ENDS]


@dataclass(frozen=True, slots=True)
class _Index:
    """Phrases by their first word: its language and each of its stems, itself, or its start.

    `seconds`: the forms of their second words. `beginnings`: the first letters of the stems.
    """

    by_stem: Mapping[tuple[str, str], Sequence[_Phrase]]
    by_word: Mapping[str, Sequence[_Phrase]]
    by_start: Sequence[tuple[str, _Phrase]]
    seconds: frozenset[str]
    beginnings: Collection[str]

    def may_have_stem(self, word: str) -> bool:
        """Return whether a word that is not Hebrew may have one of the stems, by its letters."""
        letters = first_letters(word)
        return letters in self.beginnings or letters[:2] in self.beginnings or len(word) <= 3

    @classmethod
    def of(cls, phrases: Sequence[_Phrase]) -> Self:
        by_stem: dict[tuple[str, str], list[_Phrase]] = {}
        by_word: dict[str, list[_Phrase]] = {}
        by_start = []
        for phrase in phrases:
            first = phrase.parts[0]
            if first.whole:
                by_word.setdefault(first.start, []).append(phrase)
            elif first.start:
                by_start.append((first.start, phrase))
            for stem in first.stems:
                by_stem.setdefault((phrase.language, stem), []).append(phrase)
        beginnings = {
            first_letters(stem)[: max(2, len(stem) - 1)]
            for phrase in phrases
            for part in phrase.parts[:2]
            for stem in part.stems
        }
        seconds = frozenset(form for phrase in phrases for form in phrase.seconds)
        return cls(by_stem, by_word, by_start, seconds, beginnings)
