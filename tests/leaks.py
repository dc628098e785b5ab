"""What may stay in Redis when all work is done: everything else has a time to live, or is a leak."""

from __future__ import annotations

import re

import redis

from microbatch.common.keys import KNOWN_QUEUES

__all__ = ["leaked_keys"]

# Per queue, not per job: they do not grow with the work, or (workers, dead, unique) are bounded elsewhere.
_PERMANENT = re.compile(
    r"mb:\{[^}]+\}:(lane:\w+|settings|workers|about|idle|dead|recent|side|limits|unique)\Z"
)


def leaked_keys(url: str) -> list[str]:
    """Keys of ours that would stay for ever although no job needs them.

    A record of a job that is not final is no leak while its entry is there.
    """
    leaks = []
    with (
        redis.Redis.from_url(url, protocol=2, decode_responses=True) as client,
        redis.Redis.from_url(url, protocol=2) as raw,  # payloads are bytes
    ):
        for key in client.scan_iter("mb:*"):
            if key == KNOWN_QUEUES or _PERMANENT.match(key) or client.ttl(key) >= 0:
                continue
            if ":job:" in key and client.type(key) == "hash":
                lane, _, entry_id = (client.hget(key, "entry") or "").partition(":")
                prefix = key.partition(":job:")[0]
                if entry_id and raw.xrange(f"{prefix}:lane:{lane}", entry_id, entry_id):
                    continue
            leaks.append(key)
    return sorted(leaks)
