"""Measure the topics that are found in labelled reviews: `python -m tests.measure_topics FILE`.

FILE is a JSON Lines file of Wix's reviews that holds those of `watch/topic_labels.json`, or a
folder with the public files of `watch/topic_labels_of_trades.json`; how these were labelled, and
what they were used for, stands beside them.
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Collection, Iterator
from hashlib import sha256
from math import sqrt
from pathlib import Path

from alerter.config.fields import LANGUAGES
from alerter.watch.topics import Topics

LABELS = Path(__file__).parent / "watch" / "topic_labels.json"
OF_TRADES = Path(__file__).parent / "watch" / "topic_labels_of_trades.json"
# The parts of the labels by what was done with them (`watch/topic_labels.md`).
BUILT_ON = {"up to 3 stars": "labels", "4 and 5 stars": "above_built_on"}
REPORTED = {"up to 3 stars": "third", "4 and 5 stars, since corrected by these": "above"}
TRADES_PARTS = {
    "at random": ("random",),
    "all": ("random", "enriched", "second", "third", "fourth", "fifth"),
}
_Z = 1.96  # 95 %


def labelled(file: Path, part: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield the id, the text and the labels of each review of a part of the labels."""
    labels = json.loads(LABELS.read_text("utf-8"))[part]
    for line in file.read_text("utf-8").splitlines():
        review = json.loads(line)
        if review["id"] in labels:
            content = review["content"]
            texts = content.get("title") or "", content.get("body") or ""
            yield review["id"], "\n".join(texts), set(labels[review["id"]])


def labelled_of_trades(
    folder: Path, language: str, parts: Collection[str]
) -> Iterator[tuple[str, str, set[str]]]:
    """Yield the id, the text and the labels of the reviews of a language, of some parts."""
    found = json.loads(OF_TRADES.read_text("utf-8"))
    labels = {each: topics for part in parts for each, topics in found[part].items()}
    for name, source in found["sources"].items():
        if source["language"] != language:
            continue
        file = folder / source["file"]
        if sha256(file.read_bytes()).hexdigest() != source["sha256"]:
            raise SystemExit(f"{file} is not the file that was labelled")
        for number, row in enumerate(_rows(file), 1):
            if (review_id := f"{name}:{number}") in labels:
                texts = ((row[column] or "").strip() for column in source["columns"])
                yield review_id, "\n".join(texts), set(labels[review_id])


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        if file.suffix == ".tsv":
            yield from csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE)
        else:
            yield from csv.DictReader(opened)


def interval(right: int, found: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson's)."""
    share, squared = right / found, _Z * _Z
    middle = share + squared / (2 * found)
    half = _Z * sqrt(share * (1 - share) / found + squared / (4 * found * found))
    whole = 1 + squared / found
    return max(0.0, middle - half) / whole, (middle + half) / whole


def report(
    name: str, reviews: list[tuple[str, str, set[str]]], topics: Topics, *, errors: bool
) -> None:
    """Print for each topic its labels and findings, their precision and its interval, and recall.

    With `errors` it prints what was found wrongly or not.
    """
    right, found, labels = Counter[str](), Counter[str](), Counter[str]()
    for review_id, text, own in reviews:
        words = topics.words_in(text)
        found.update(words.keys())
        labels.update(own)
        right.update(own & words.keys())
        if errors and own != words.keys():
            wrong = {topic: words[topic] for topic in words.keys() - own}
            print(f"{review_id} wrong={wrong} missed={sorted(own - words.keys())}\n  {text}\n")
    print(f"\n{name}: {len(reviews)} reviews")
    print(f"{'topic':<14}{'labels':>8}{'found':>8}{'precision':>11}{'95 %':>16}{'recall':>8}")
    for topic in sorted(labels | found, key=lambda each: (-labels[each], each)):
        precision = between = recall = "-"
        if found[topic]:
            low, high = interval(right[topic], found[topic])
            precision, between = f"{right[topic] / found[topic]:.2f}", f"{low:.2f} to {high:.2f}"
        if labels[topic]:
            recall = f"{right[topic] / labels[topic]:.2f}"
        counts = f"{labels[topic]:>8}{found[topic]:>8}"
        print(f"{topic:<14}{counts}{precision:>11}{between:>16}{recall:>8}")


def report_trades(folder: Path, *, all_languages: bool, errors: bool) -> None:
    """Print the figures of each language: of its random sample, and of all its reviews."""
    for language in LANGUAGES:
        topics = Topics(LANGUAGES if all_languages else {language}, {})
        for name, parts in TRADES_PARTS.items():
            reviews = list(labelled_of_trades(folder, language, parts))
            report(f"{language}, {name}", reviews, topics, errors=errors)


def main() -> None:
    """Print the figures of each part of the labels."""
    parser = argparse.ArgumentParser(description="Measure the topics found in labelled reviews.")
    parser.add_argument("file", type=Path, help="reviews as JSON Lines, or the folder of trades")
    parser.add_argument("--built-on", action="store_true", help="those that the lists are built on")
    parser.add_argument("--errors", action="store_true", help="show what was found wrongly or not")
    parser.add_argument("--all-languages", action="store_true", help="with the lists of all")
    wanted = parser.parse_args()
    if wanted.file.is_dir():
        report_trades(wanted.file, all_languages=wanted.all_languages, errors=wanted.errors)
        return
    topics = Topics(LANGUAGES if wanted.all_languages else {"en"}, {})
    for name, part in (BUILT_ON if wanted.built_on else REPORTED).items():
        report(name, list(labelled(wanted.file, part)), topics, errors=wanted.errors)


if __name__ == "__main__":
    main()
