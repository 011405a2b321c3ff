"""Servers that do the minimum for an answer of the right shape."""
