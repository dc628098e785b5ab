"""Is this worker alive, started, ready: judged by its progress, not by whether somebody answers.

Rule: pure decisions over what the agents show and times that are passed in; asked from any thread, and never
needs the event loop. Alive: the loop turns and every claim loop makes progress, so that a restart would not
help. Ready: it takes work, and Redis is there. Redis away is not ready, and still alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microbatch.worker.heartbeat import Heartbeat
    from microbatch.worker.queue_agent import QueueAgent

__all__ = ["Health"]

CLAIM_GRACE_S = 5.0


class Health:
    """The condition of one worker.

    Args:
        liveness_limit_s: How long the event loop may not turn.
        command_timeout_s: How long a claim may take at most.
        heartbeat_limit_s: How long Redis may not have been reached.
    """

    def __init__(
        self, *, liveness_limit_s: float, command_timeout_s: float, heartbeat_limit_s: float
    ) -> None:
        self._liveness_limit_s = liveness_limit_s
        self._claim_limit_s = max(liveness_limit_s, command_timeout_s + CLAIM_GRACE_S)
        self._heartbeat_limit_s = heartbeat_limit_s
        self._agents: Sequence[QueueAgent] = ()
        self._heartbeat: Heartbeat | None = None
        self._ticked_s: float | None = None

    def started(self, agents: Sequence[QueueAgent], heartbeat: Heartbeat, now_s: float) -> None:
        """Every processor is set up and every queue joined."""
        self._ticked_s = now_s
        self._agents = agents
        self._heartbeat = heartbeat

    def ticked(self, now_s: float) -> None:
        """The event loop turns."""
        if self._ticked_s is not None:
            self._ticked_s = now_s

    def why_not_started(self) -> list[str]:
        """Empty once it has started."""
        return [] if self._heartbeat is not None else ["it is starting: processors are set up"]

    def why_not_live(self, now_s: float) -> list[str]:
        """What only a restart can mend; empty where nothing is. While it starts it is alive.

        A loop that a batch holds within its `batch_timeout_s` is not stuck.
        """
        if self._ticked_s is None:
            return []
        agents = list(self._agents)
        why = []
        silent_s = now_s - self._ticked_s
        due_s = [due for agent in agents if agent.runner.blocks_loop for due in agent.runner.due_s()]
        if silent_s > self._liveness_limit_s and all(due < now_s for due in due_s):
            why.append(f"the event loop has been stuck for {silent_s:.0f} s")
        for agent in agents:
            queue, since_s = agent.settings.queue, agent.claimer.asking_since_s
            if since_s is not None and now_s - since_s > self._claim_limit_s:
                why.append(f"queue {queue}: a claim has been under way for {now_s - since_s:.0f} s")
            if agent.claimer.has_ended and agent.claimer.takes_work:
                why.append(f"queue {queue}: the claim loop has ended")
        return why

    def why_not_ready(self, now_s: float) -> list[str]:
        """Why it does not take work; empty where it does."""
        heartbeat = self._heartbeat
        if heartbeat is None:
            return self.why_not_started()
        why = self.why_not_live(now_s)
        agents = list(self._agents)
        if not agents or not all(agent.claimer.takes_work for agent in agents):
            why.append("it takes no work: it is quiet, or drains")
        reached_s = heartbeat.reached_s
        if reached_s is None or now_s - reached_s > self._heartbeat_limit_s:
            why.append("Redis has not answered its last heartbeat")
        return why
