"""The facts that the doctor judges: what the servers, the user's rights and the queues look like.

Rule: pure data of one moment, without a judgement. What could not be seen is `None` or named in `refusals`,
never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AccessFacts", "ClockFacts", "Facts", "KeysFacts", "LaneFacts", "QueueFacts", "ServerFacts"]


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far Redis's clock is ahead of this host's; true to within `uncertain_s` either way."""

    ahead_s: float
    uncertain_s: float


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One server.

    Attributes:
        name: Its address, as it says itself.
        info: The fields of `INFO`; empty where that is refused.
        config: What `CONFIG GET` gave; empty where that is refused.
        refusals: What it would not tell, and its words.
        clock: None where a script could not be run.
        script_refusal: Why no script can be loaded or run; empty where one ran.
    """

    name: str
    info: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    clock: ClockFacts | None = None
    script_refusal: str = ""


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What a user may do.

    Attributes:
        user: Whom it is about; empty where not even that can be known.
        method: `ACL DRYRUN`, `ACL GETUSER`, or empty where neither was allowed.
        missing: By role, what the user lacks: commands, and keys or channels.
        refusal: Why nothing could be found out.
    """

    user: str = ""
    method: str = ""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """One stream of a queue.

    Attributes:
        length: Its entries.
        has_group: Whether the consumer group is there.
        lag_known: Whether the server can tell the group's lag; None where there is no group.
        pending: Entries by the consumer that holds them; consumers that hold none have 0.
        unlisted: Of the entries looked at, by consumer, those that no batch of his names.
    """

    length: int = 0
    has_group: bool = False
    lag_known: bool | None = None
    pending: Mapping[str, int] = field(default_factory=dict)
    unlisted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue.

    Attributes:
        name: The queue.
        known: Whether `mb:queues` names it.
        exists: Whether there is any of its keys that a job or a worker would have made.
        waiting: Jobs that no worker holds; None where the status script failed.
        oldest_age_s: How long the oldest of them has waited.
        beats_age_s: By worker, seconds since its last heartbeat.
        lanes: By lane.
        foreign: Keys that hold another type than ours: name, found, wanted.
        schedules_wait_s: By schedule that wants a look of a worker, for how many seconds it has wanted it.
        refusals: What could not be seen, and why.
        held: `paused` and `draining`, as far as an operator holds it up: for how many seconds, and who.
    """

    name: str
    known: bool = True
    exists: bool = True
    waiting: int | None = 0
    oldest_age_s: float | None = None
    beats_age_s: Mapping[str, float] = field(default_factory=dict)
    lanes: Mapping[str, LaneFacts] = field(default_factory=dict)
    foreign: tuple[tuple[str, str, str], ...] = ()
    schedules_wait_s: Mapping[str, float] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, tuple[float, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeysFacts:
    """What a walk through the keys found.

    Attributes:
        seen: Keys that were looked at.
        complete: Whether that was all of them.
        nameless: Queues that have keys and are not in `mb:queues`.
        orphans: Keys that nobody will use or delete any more, by what they are.
        refusal: Why there was no walk.
        names_refusal: Why `mb:queues` could not be read; empty where it was.
    """

    seen: int = 0
    complete: bool = True
    nameless: tuple[str, ...] = ()
    orphans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refusal: str = ""
    names_refusal: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the doctor knows.

    Attributes:
        servers: Those that hold the queues.
        access: The rights of the user.
        roles: The roles that the user has to be able to play.
        queues: Those asked about, or all.
        keys: What a walk through the keys found.
        heartbeat_limit_s: After which silence workers call each other dead.
    """

    servers: tuple[ServerFacts, ...]
    access: AccessFacts
    roles: tuple[str, ...]
    queues: tuple[QueueFacts, ...]
    keys: KeysFacts
    heartbeat_limit_s: float
