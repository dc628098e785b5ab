"""The names of everything in Redis: the one family of functions that builds keys and channels.

Rule: all keys of a queue carry the hash tag `{queue}`, so that every script touches one slot and runs
unchanged on Redis Cluster. Only `KNOWN_QUEUES` lives outside. The scripts receive `QueueKeys.prefix` and
append the same suffixes; docs/protocol.md is the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FENCE", "GROUP", "KNOWN_QUEUES", "LANES", "QueueKeys"]

KNOWN_QUEUES = "mb:queues"
"""The set of queues that were ever used."""

GROUP = "workers"
"""The one consumer group of every lane."""

LANES = ("main", "front", "solo")
"""The streams of a queue: new jobs; handed back or taken over; to be run alone."""

FENCE = "fence"
"""Behind the prefix: a key that is written before a wait for replicas, and gone in a second."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys and channels of one queue."""

    queue: str

    @property
    def prefix(self) -> str:
        """What every key of the queue begins with; scripts receive it as their only key."""
        return f"mb:{{{self.queue}}}:"

    def job(self, local: str) -> str:
        """The job's record, which is its result key."""
        return f"{self.prefix}job:{local}"

    def lane(self, lane: str) -> str:
        """The stream of a lane."""
        return f"{self.prefix}lane:{lane}"

    def batches(self, worker: str) -> str:
        """The batches that a worker holds."""
        return f"{self.prefix}batches:{worker}"

    def offer(self, worker: str) -> str:
        """The ids under which a submit may claim for an idle worker."""
        return f"{self.prefix}offer:{worker}"

    def orders(self, worker: str) -> str:
        """What operators ordered a worker to do."""
        return f"{self.prefix}orders:{worker}"

    def acks(self, order_id: str) -> str:
        """What workers answered to an order."""
        return f"{self.prefix}acks:{order_id}"

    def schedule(self, name: str) -> str:
        """A schedule's definition and how far it has come."""
        return f"{self.prefix}schedule:{name}"

    def wake_channel(self, worker: str) -> str:
        """Where a worker is told that work waits."""
        return f"{self.prefix}wake:{worker}"

    def reply_channel(self, client: str) -> str:
        """Where a client is told the results of its jobs."""
        return f"{self.prefix}reply:{client}"

    def aside(self, name: str) -> str:
        """Where a value was put that something else had written to one of our keys."""
        return f"{self.prefix}aside:{name}"

    @property
    def settings(self) -> str:
        """The limits that the last started worker declared."""
        return f"{self.prefix}settings"

    @property
    def pace(self) -> str:
        """How long batches took, over the fleet."""
        return f"{self.prefix}pace"

    @property
    def gate(self) -> str:
        """Who lets nothing in or out; there only while somebody does."""
        return f"{self.prefix}gate"

    @property
    def workers(self) -> str:
        """Heartbeats by worker."""
        return f"{self.prefix}workers"

    @property
    def about(self) -> str:
        """What each worker says about itself."""
        return f"{self.prefix}about"

    @property
    def lost(self) -> str:
        """Workers whose jobs were taken over lately."""
        return f"{self.prefix}lost"

    @property
    def idle(self) -> str:
        """Idle workers by last look."""
        return f"{self.prefix}idle"

    @property
    def watcher(self) -> str:
        """The one worker that waits for a batch to fill."""
        return f"{self.prefix}watcher"

    @property
    def tombstones(self) -> str:
        """Cancelled entries that were not delivered yet."""
        return f"{self.prefix}tombstones"

    @property
    def scheduled(self) -> str:
        """Jobs that wait for their time."""
        return f"{self.prefix}scheduled"

    @property
    def schedules(self) -> str:
        """Schedules by when a worker is to look at them."""
        return f"{self.prefix}schedules"

    @property
    def dead(self) -> str:
        """Dead letters: jobs that failed for good, and entries that nothing can process."""
        return f"{self.prefix}dead"

    @property
    def counters(self) -> str:
        """What is counted over the queue's whole life, such as dead letters that had to make room."""
        return f"{self.prefix}counters"

    def events_channel(self, local: str = "") -> str:
        """Where those who listen are told what happens to a job; without an id, to all jobs of the queue."""
        return f"{self.prefix}events:{local}" if local else f"{self.prefix}events"

    @property
    def listeners(self) -> str:
        """Who listens to what, and until when."""
        return f"{self.prefix}listeners"

    @property
    def recent(self) -> str:
        """The batches that were settled last."""
        return f"{self.prefix}recent"

    @property
    def unique(self) -> str:
        """Unique keys, and the job that has each."""
        return f"{self.prefix}unique"

    def ready(self, rank: str) -> str:
        """The side lanes of a rank that are due, by their turn; `aged`: those that starve."""
        return f"{self.prefix}ready:{rank}"

    @property
    def lanes(self) -> str:
        """The side lanes that have jobs, by when their oldest waiting one came."""
        return f"{self.prefix}lanes"

    @property
    def forming(self) -> str:
        """Side lanes whose next batch forms."""
        return f"{self.prefix}forming"

    @property
    def held(self) -> str:
        """Side lanes that a rate limit keeps back, by until when."""
        return f"{self.prefix}held"

    @property
    def ageing(self) -> str:
        """Side lanes that are due and do not starve yet."""
        return f"{self.prefix}ageing"

    @property
    def aged(self) -> str:
        """Side lanes that starve, by rank."""
        return f"{self.prefix}aged"

    @property
    def ranks(self) -> str:
        """The ranks of the side lanes."""
        return f"{self.prefix}ranks"

    @property
    def side(self) -> str:
        """What is counted over all side lanes."""
        return f"{self.prefix}side"

    def bucket(self, name: str) -> str:
        """The tokens of a rate limit."""
        return f"{self.prefix}bucket:{name}"

    @property
    def limits(self) -> str:
        """What an operator allows."""
        return f"{self.prefix}limits"

    @property
    def watchers(self) -> str:
        """Clients that wait for jobs which they did not submit."""
        return f"{self.prefix}watchers"
