"""Measure the speed of alerter, each figure beside the limit of its libraries."""
