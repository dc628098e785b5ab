"""What the agents of a worker share: made once by the worker, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from microbatch.common.connection import Connection
    from microbatch.common.register import Register
    from microbatch.common.settings import WorkerSettings
    from microbatch.worker.isolation import Isolation
    from microbatch.worker.observer import Observer
    from microbatch.worker.retirement import Retirement

__all__ = ["AgentParts"]


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What the agents of a worker share."""

    connection: Connection
    worker_id: str
    settings: WorkerSettings
    register: Register
    isolation: Isolation
    retirement: Retirement
    hooks: Mapping[str, Callable[..., Any]]
    observer: Observer
