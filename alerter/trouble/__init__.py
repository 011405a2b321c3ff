"""Troubles: when a fault is notified, when its end is, and in which words."""
