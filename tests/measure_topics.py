"""Measure the topics that are found in labelled reviews: `python -m tests.measure_topics FILE`.

FILE is a JSON Lines file of Wix's reviews that holds those of `watch/topic_labels.json`; how these
were labelled, and what they were used for, stands beside it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from alerter.watch.topics import Topics

LABELS = Path(__file__).parent / "watch" / "topic_labels.json"


def labelled(file: Path, part: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield the id, the text and the labels of each review of a part of the labels."""
    labels = json.loads(LABELS.read_text("utf-8"))[part]
    for line in file.read_text("utf-8").splitlines():
        review = json.loads(line)
        if review["id"] in labels:
            content = review["content"]
            texts = content.get("title") or "", content.get("body") or ""
            yield review["id"], "\n".join(texts), set(labels[review["id"]])


def main() -> None:
    """Print for each topic how many labels it has, and the precision and recall of the lists."""
    parser = argparse.ArgumentParser(description="Measure the topics found in labelled reviews.")
    parser.add_argument("file", type=Path, help="reviews as JSON Lines")
    parser.add_argument("--built-on", action="store_true", help="those that the lists are built on")
    parser.add_argument("--errors", action="store_true", help="show what was found wrongly or not")
    wanted = parser.parse_args()
    topics = Topics({"en"}, {})
    right, found, labels = Counter[str](), Counter[str](), Counter[str]()
    reviews = list(labelled(wanted.file, "labels" if wanted.built_on else "third"))
    for review_id, text, own in reviews:
        words = topics.words_in(text)
        found.update(words.keys())
        labels.update(own)
        right.update(own & words.keys())
        if wanted.errors and own != words.keys():
            wrong = {topic: words[topic] for topic in words.keys() - own}
            print(f"{review_id} wrong={wrong} missed={sorted(own - words.keys())}\n  {text}\n")
    print(f"{len(reviews)} reviews")
    print(f"{'topic':<14}{'labels':>8}{'found':>8}{'precision':>11}{'recall':>8}")
    for topic in sorted(labels | found, key=lambda each: (-labels[each], each)):
        precision = f"{right[topic] / found[topic]:.2f}" if found[topic] else "-"
        recall = f"{right[topic] / labels[topic]:.2f}" if labels[topic] else "-"
        print(f"{topic:<14}{labels[topic]:>8}{found[topic]:>8}{precision:>11}{recall:>8}")


if __name__ == "__main__":
    main()
