"""Where the rounds of sites lie in the period, and which sites share the jobs of a cluster."""

import zlib
from datetime import timedelta

from alerter.config import Config

# The parts of a cluster's sites; one job at a time makes the rounds of each.
SHARDS = 64
_SPREAD = timedelta(seconds=0.05)


def share_of(name: str) -> float:
    """Return a fixed number from 0 to 1 for the id of a site: its place in the period."""
    return zlib.crc32(name.encode()) / 0xFFFFFFFF


def shard_of(site_id: str) -> int:
    """Return the shard of a site, the same in every process and version."""
    return zlib.crc32(site_id.encode()) % SHARDS


def first_rounds_within(config: Config) -> timedelta:
    """Return over which time the first rounds of many sites are spread."""
    return min(config.poll.every, _SPREAD * max(len(config.sites) - 1, 0))
