"""Counters of this process, which the metrics report."""

from collections import Counter

counts: Counter[str] = Counter()
