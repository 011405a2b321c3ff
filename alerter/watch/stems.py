"""Stems of words, so that `return` finds `returned`: by Snowball, and for Hebrew by hand. Pure."""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from unicodedata import category, normalize

_SNOWBALL = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "pt": "portuguese",
}
# German umlauts as they are written without them, and English "dying", whose stem is "die".
_ALIKE = (("ae", "a"), ("oe", "o"), ("ue", "u"), ("y", "i"))
# How many different words of each language are remembered: a stem costs about 0.1 ms, and few are
# asked for again, as the phrases that begin with a word are remembered too (`topics.py`).
_REMEMBERED = 2_000
# And, the, in, to, from, as, that: up to three of these letters stand before a word.
_HEBREW_PREFIXES = set("והבלמכש")
_HEBREW_FINALS = str.maketrans("ךםןףץ", "כמנפצ")
_HEBREW_SUFFIX = re.compile(r"(?<=..)(?:ימ|ות|ה|ת)$")
_LONGEST_PREFIX = 3

Stems = frozenset[str]


@cache
def stems_in(language: str) -> Callable[[str], Stems]:
    """Return the function from a folded word of a text to its stems in a language.

    A word with accents has the stem of the word without them as well, as many customers leave them
    out.
    """
    if language == "he":
        return lru_cache(_REMEMBERED)(_hebrew_stems)
    import snowballstemmer  # noqa: PLC0415 - 2 MB that only words of low-rated reviews need

    stem = snowballstemmer.stemmer(_SNOWBALL[language]).stemWord

    @lru_cache(_REMEMBERED)
    def stems(word: str) -> Stems:
        if word.isdecimal():  # it has no other form
            return frozenset({word})
        once = stem(word)
        # French "petite" becomes "petit", but "petit" becomes "pet".
        found = {once, once if once == word else stem(once)}
        if not word.isascii():
            found.add(stem(without_accents(word)))
        return frozenset(map(without_accents, found))

    return stems


def stems_of_entry(language: str, word: str) -> Stems:
    """Return the stems of a folded word of a list: a word of a text is it where they share one."""
    return frozenset({_plain_hebrew(word)}) if language == "he" else stems_in(language)(word)


def first_letters(word: str) -> str:
    """Return the first letters that a word has in common with its stems.

    All three of them, or the first two: the last letter of a stem may be another than the word's,
    as "try" becomes "tri". A word of three letters or less may have a shorter stem still. Snowball
    takes the spellings of `_ALIKE` for the same.
    """
    letters = without_accents(word)[:6]
    for spelling, letter in _ALIKE:
        letters = letters.replace(spelling, letter)
    return letters[:3]


def without_accents(word: str) -> str:
    """Return a word without accents and other marks."""
    if word.isascii():
        return word
    return "".join(char for char in normalize("NFD", word) if category(char) != "Mn")


def _hebrew_stems(word: str) -> Stems:
    """Return a word, and what it may be without the letters of other words before it.

    Which of the letters belong to the word itself is not known without a dictionary.
    """
    found = (
        word[length:]
        for length in range(_LONGEST_PREFIX + 1)
        if set(word[:length]) <= _HEBREW_PREFIXES and (not length or len(word) - length >= 2)
    )
    return frozenset(map(_plain_hebrew, found))


def _plain_hebrew(word: str) -> str:
    """Return a word with the usual forms of its letters and without the endings of many words."""
    return _HEBREW_SUFFIX.sub("", without_accents(word).translate(_HEBREW_FINALS))
