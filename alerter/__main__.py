"""Lets `python -m alerter` do what the console script does."""

from alerter.cli import main

main()
