"""Settings: what can be configured, what each value means, and where values come from.

`sides` has what a producer and what a worker uses, `redis` what both use to reach Redis, `queue` what may
differ by queue and which of several values wins, `defence` and `lanes` a part each, `bounds` what a value may
be. `sources` reads them where they are written, `errors` says what is wrong with one, `report` shows all.

It never prints, connects or shows a password.
"""

from typing import TYPE_CHECKING

from microbatch.common.on_demand import on_demand

if TYPE_CHECKING:
    from microbatch.common.redis_url import redact_url
    from microbatch.common.settings.queue import QueueOverrides, QueueSettings, queue_settings
    from microbatch.common.settings.redis import RedisSettings
    from microbatch.common.settings.sides import ClientSettings, WorkerSettings
    from microbatch.common.settings.sources import UnknownSettingWarning, queue_key

__all__ = [
    "ClientSettings",
    "QueueOverrides",
    "QueueSettings",
    "RedisSettings",
    "UnknownSettingWarning",
    "WorkerSettings",
    "queue_key",
    "queue_settings",
    "redact_url",
]

if not TYPE_CHECKING:  # a child process reads what its processors declare, and needs no settings classes
    __getattr__ = on_demand(
        __name__,
        {
            "microbatch.common.redis_url": ("redact_url",),
            "microbatch.common.settings.queue": ("QueueOverrides", "QueueSettings", "queue_settings"),
            "microbatch.common.settings.redis": ("RedisSettings",),
            "microbatch.common.settings.sides": ("ClientSettings", "WorkerSettings"),
            "microbatch.common.settings.sources": ("UnknownSettingWarning", "queue_key"),
        },
    )
