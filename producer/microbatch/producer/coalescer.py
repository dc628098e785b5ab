"""The coalescer: which jobs of a queue leave together, and when.

Rule: parcels leave in the order in which they came, in flights within `FlightLimits`. A flight that is
not full leaves only while few are in the air, so that jobs which came meanwhile share the next one; a
full flight need not wait for that. A parcel that is larger than a flight leaves alone.

Pure: it never awaits, reads no clock and knows neither Redis nor what a parcel holds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Coalescer", "FlightLimits", "Parcel"]


class Parcel(Protocol):
    """Jobs that were handed over together and stay together."""

    @property
    def count(self) -> int:
        """How many jobs."""
        ...

    @property
    def size_bytes(self) -> int:
        """What they weigh together."""
        ...


@dataclass(frozen=True, slots=True)
class FlightLimits:
    """What a flight may carry, and how many may be in the air.

    Attributes:
        jobs: The most jobs of a flight; one script call blocks the server for that long.
        size_bytes: The most bytes of a flight.
        in_air: The most flights of a queue in the air.
        in_air_partly_full: From this many flights in the air on, only full flights leave.
    """

    jobs: int = 256
    size_bytes: int = 1024 * 1024
    in_air: int = 4
    in_air_partly_full: int = 2


P = TypeVar("P", bound=Parcel)


class Coalescer(Generic[P]):
    """The parcels of one queue that wait for a flight."""

    def __init__(self, limits: FlightLimits) -> None:
        self._limits = limits
        self._waiting: deque[P] = deque()
        self._jobs = 0
        self._size_bytes = 0
        self._in_air = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait for a flight."""
        return self._jobs

    @property
    def in_air(self) -> int:
        """How many flights left and did not land."""
        return self._in_air

    def add(self, parcel: P) -> None:
        """Hand over a parcel."""
        self._waiting.append(parcel)
        self._jobs += parcel.count
        self._size_bytes += parcel.size_bytes

    def take(self) -> list[P]:
        """Let the next flight leave, if one may now.

        Returns:
            Its parcels; whoever takes them calls `landed` once, whatever becomes of them. Empty: none may
            leave.
        """
        limits = self._limits
        full = self._jobs >= limits.jobs or self._size_bytes >= limits.size_bytes
        if not self._waiting or self._in_air >= (limits.in_air if full else limits.in_air_partly_full):
            return []
        flight: list[P] = []
        jobs = size_bytes = 0
        while self._waiting:
            parcel = self._waiting[0]
            jobs += parcel.count
            size_bytes += parcel.size_bytes
            if flight and (jobs > limits.jobs or size_bytes > limits.size_bytes):
                break
            flight.append(self._waiting.popleft())
            self._jobs -= parcel.count
            self._size_bytes -= parcel.size_bytes
        self._in_air += 1
        return flight

    def landed(self) -> None:
        """A flight is back, or lost."""
        self._in_air -= 1

    def clear(self) -> list[P]:
        """Give back all that waits: it will not leave."""
        parcels = list(self._waiting)
        self._waiting.clear()
        self._jobs = self._size_bytes = 0
        return parcels
