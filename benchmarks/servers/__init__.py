"""Servers that do as little as an answer of the right shape takes, so that the client is what is measured."""
