"""Submit options: what a caller may say about a job, checked and brought into the form that travels.

Rule: an option that is not given costs nothing, and one that cannot be is refused before anything is sent.
What every job of one call has in common is encoded once, as `Terms`. Nothing here does I/O.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict
from urllib.parse import quote

from microbatch.common.codec import encode
from microbatch.common.errors import JobTooCostly
from microbatch.common.identifiers import is_name
from microbatch.common.scripts import JobOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_TERMS", "Caps", "Durability", "OnFull", "SubmitOptions", "Terms", "terms_of", "ttl_ms_of"]

OnFull = Literal["raise", "wait"]
Durability = Literal["fast", "replicated"]
_MOST_S = 315_360_000
_MOST_ATTEMPTS = 1_000
_HIGHEST = 100
_MOST_COST = 1_000_000_000
_LONGEST_KEY = 256


class SubmitOptions(TypedDict, total=False):
    """What may be said about jobs when they are submitted; all of it is optional.

    Attributes:
        on_full: What to do where the queue is full: `raise` QueueFull (the default), or `wait` for room.
        timeout_s: How long the whole call may take, in seconds; None: no limit beyond `command_timeout_s` for
            each try. A job that was not accepted by then does not appear later.
        kind: Which of the processors that share the queue is to process it; None: the one for jobs without a
            kind. It travels as the header `kind`.
        headers: Small facts that travel with the job (trace ids, tenant); the processor sees them.
        result_ttl_s: How long to keep the result after the job's end, in seconds; 0 keeps no record, so that
            only a client that holds the handle right then gets it; None: the settings', else the worker's.
        max_attempts: How many runs the job may have where its processor fails it; None: as the worker says.
        expires_in_s: By when it must have been started, in seconds from now; later it is never processed and
            ends as `expired`. None: no deadline.
        delay_s: Not to be run before that many seconds from now; None: at once. Not with `run_at`.
        run_at: Not to be run before this moment, an aware datetime, by Redis's clock.
        unique_key: Only one job of the queue may have this key: where one has it, nothing is added, and the
            answer is the handle of that job, whatever its payload. It has the key while it is alive.
            At most 256 characters. Only for a single job.
        unique_for_s: It has the key at least that many seconds from its acceptance, unless it does not
            succeed. Its outcome is kept as long.
        priority: Higher goes first, -100 to 100; None: 0. See docs/lanes.md.
        batch_key: Only jobs of one key share a batch, such as a model's name; letters, digits and `_.:-`, at
            most 128. None: only jobs without a key do.
        cost: What the job takes, in a unit of your choice such as tokens; budgets and limits count it.
            None: 1.
        durability: When the job counts as accepted: `fast` (the default), once the primary has it, or
            `replicated`, once `ClientSettings.replicas` replicas have it as well; else `NotReplicated`.
    """

    on_full: OnFull
    timeout_s: float | None
    kind: str | None
    headers: Mapping[str, Any] | None
    result_ttl_s: float | None
    max_attempts: int | None
    expires_in_s: float | None
    delay_s: float | None
    run_at: datetime | None
    unique_key: str | None
    unique_for_s: float | None
    priority: int | None
    batch_key: str | None
    cost: int | None
    durability: Durability


class Caps(NamedTuple):
    """What the settings of a client allow its jobs for one queue.

    Attributes:
        max_batch_keys: How many lanes may be open for a job to open another one.
        max_job_cost: The highest cost; None: any.
    """

    max_batch_keys: int
    max_job_cost: int | None

    def applied(self, said: JobOptions) -> JobOptions:
        """The options of a job, with what the server has to know of these.

        Raises:
            JobTooCostly: The cost is too high.
        """
        if said.cost is not None and self.max_job_cost is not None and said.cost > self.max_job_cost:
            raise JobTooCostly(said.cost, self.max_job_cost)
        return said._replace(max_batch_keys=self.max_batch_keys) if said.batch_key or said.priority else said


class Terms(NamedTuple):
    """What every job of one call has in common, checked and encoded."""

    wait: bool = False
    timeout_s: float | None = None
    options: JobOptions | None = None
    replicated: bool = False


DEFAULT_TERMS = Terms()
_KNOWN = frozenset(SubmitOptions.__annotations__)
_OF_THE_CALL = frozenset({"on_full", "timeout_s", "durability"})
"""Said about the call: the job remains a plain one."""


def terms_of(options: SubmitOptions, *, max_headers_bytes: int) -> Terms:
    """Check and encode options.

    Raises:
        ValueError: A value that cannot be.
        TypeError: An option that does not exist.
        PayloadError: Headers that cannot travel.
    """
    if not options:
        return DEFAULT_TERMS
    if not _KNOWN.issuperset(options):
        unknown = next(name for name in options if name not in _KNOWN)
        raise TypeError(f"submit has no option {unknown!r}; it has {', '.join(sorted(_KNOWN))}")
    on_full = options.get("on_full", "raise")
    if on_full not in ("raise", "wait"):
        raise ValueError(f"on_full is 'raise' or 'wait', not {on_full!r}")
    durability = options.get("durability", "fast")
    if durability not in ("fast", "replicated"):
        raise ValueError(f"durability is 'fast' or 'replicated', not {durability!r}")
    terms = Terms(on_full == "wait", options.get("timeout_s"), None, durability == "replicated")
    if _OF_THE_CALL.issuperset(options):
        return terms
    headers = _headers(options)
    travelling = JobOptions(
        headers=encode(headers, limit_bytes=max_headers_bytes) if headers else b"",
        ttl_ms=ttl_ms_of(options.get("result_ttl_s")),
        max_attempts=_attempts(options.get("max_attempts")),
        expires_in_ms=_ms("expires_in_s", options.get("expires_in_s")),
        delay_ms=_ms("delay_s", options.get("delay_s")),
        due_ms=_due_ms(options),
        priority=_priority(options.get("priority")),
        cost=_cost(options.get("cost")),
        batch_key=_batch_key(options.get("batch_key")),
        unique_for_ms=_ms("unique_for_s", options.get("unique_for_s")),
        unique=_unique(options),
    )
    return terms if travelling == JobOptions() else terms._replace(options=travelling)


def ttl_ms_of(ttl_s: float | None) -> str:
    """A time to live as it travels; empty for None.

    Raises:
        ValueError: It is negative or beyond ten years.
    """
    if ttl_s is None:
        return ""
    return "0" if ttl_s == 0 else str(_ms("result_ttl_s", ttl_s))


def _ms(name: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 <= seconds <= _MOST_S:
        raise ValueError(f"{name} is {seconds!r}, and may be 0 to {_MOST_S} seconds")
    return 0 if seconds == 0 else max(1, round(seconds * 1000))


def _attempts(attempts: int | None) -> int | None:
    if attempts is None or (type(attempts) is int and 1 <= attempts <= _MOST_ATTEMPTS):
        return attempts
    raise ValueError(f"max_attempts is {attempts!r}, and may be 1 to {_MOST_ATTEMPTS}")


def _headers(options: SubmitOptions) -> dict[str, Any]:
    headers = dict(options.get("headers") or {})
    kind = options.get("kind")
    if kind is not None:
        if not isinstance(kind, str) or not is_name(kind):
            raise ValueError(f"a kind has 1 to 128 of A-Z a-z 0-9 _ . : - and no others, not {kind!r:.140}")
        headers["kind"] = kind
    return headers


def _priority(priority: int | None) -> int | None:
    if priority is None or (type(priority) is int and -_HIGHEST <= priority <= _HIGHEST):
        return priority or None
    raise ValueError(f"priority is {priority!r}, and may be an integer from -{_HIGHEST} to {_HIGHEST}")


def _cost(cost: int | None) -> int | None:
    if cost is None or (type(cost) is int and 0 <= cost <= _MOST_COST):
        return cost
    raise ValueError(f"cost is {cost!r}, and may be an integer from 0 to {_MOST_COST}")


def _batch_key(key: str | None) -> str:
    if key is None:
        return ""
    if not isinstance(key, str) or not is_name(key):
        raise ValueError(f"batch_key is 1 to 128 letters, digits and _.:-, not {key!r:.80}")
    return key


def _unique(options: SubmitOptions) -> str:
    key = options.get("unique_key")
    if key is None:
        if options.get("unique_for_s") is not None:
            raise ValueError("unique_for_s goes with unique_key")
        return ""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise ValueError(f"unique_key is a str of 1 to {_LONGEST_KEY} characters, not {key!r:.80}")
    return quote(key, safe=":/,;@!$*()'~+")  # readable in Redis, and without white space


def _due_ms(options: SubmitOptions) -> int | None:
    run_at = options.get("run_at")
    if run_at is None:
        return None
    if options.get("delay_s") is not None:
        raise ValueError("delay_s and run_at exclude each other")
    if not isinstance(run_at, datetime) or run_at.utcoffset() is None:
        raise ValueError(f"run_at is a datetime with a time zone, not {run_at!r:.80}")
    return max(0, round(run_at.timestamp() * 1000))
