"""Plain numbers that anything counts."""

from collections import Counter

counts: Counter[str] = Counter()
