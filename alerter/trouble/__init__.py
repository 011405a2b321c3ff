"""Trouble: when a fault and its end are notified, to whom, and in which text."""
