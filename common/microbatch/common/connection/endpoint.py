"""The endpoint: where Redis is, and how patient to be.

Rule: every option of redis-py's connections that is the same for asynchronous and blocking ones is set here,
explicitly. redis-py's defaults would re-send commands that were executed already, so it repeats nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from microbatch.common.errors import SettingsError
from microbatch.common.redis_url import redact_url

__all__ = ["Endpoint", "backoff_s", "refused_url"]

BACKOFF_FIRST_S = 0.02
BACKOFF_MOST_S = 0.5
MOST_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where Redis is and how patient to be.

    Attributes:
        url: Any that `check_redis_url` accepts, but `embedded://`.
        command_timeout_s: Longest time of a call, its repetitions included.
        name: Shown by `CLIENT LIST`.
    """

    url: str
    command_timeout_s: float
    name: str

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return redact_url(self.url)

    @property
    def patience_s(self) -> float:
        """How long one sentinel or node may take to say where something lives: there are others to ask."""
        return min(MOST_PATIENCE_S, self.command_timeout_s / 8)

    def line_options(self) -> dict[str, Any]:
        """Options of every connection."""
        return {
            "protocol": 2,
            "decode_responses": False,
            "client_name": self.name,
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": self.command_timeout_s / 2,
            "socket_keepalive": True,
            "health_check_interval": 0,
            # Without this every connection to a plain server begins with an error reply.
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }


def backoff_s(failures: int) -> float:
    """How long to wait after that many failures in a row: full jitter, 20 ms doubling up to 0.5 s."""
    return random.uniform(0, min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))  # noqa: S311 - jitter


def refused_url(endpoint: Endpoint) -> SettingsError:
    """The error of a URL that redis-py cannot use."""
    return SettingsError(f"redis_url {endpoint.shown!r} cannot be used")
