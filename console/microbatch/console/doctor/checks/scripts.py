"""What the servers can do, as a probe shows: run our scripts, and tell the lag of a stream.

Rule: probed, not concluded from a version. A probe is a script that only looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from microbatch.console.doctor.finding import error, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from microbatch.console.doctor.facts import Facts
    from microbatch.console.doctor.finding import Finding

__all__ = ["check_scripts"]

CHECK: Final = "scripts"


def check_scripts(facts: Facts) -> Iterator[Finding]:
    """Script loading on each server, and the lag of each lane."""
    for server in facts.servers:
        if server.script_refusal:
            yield error(
                CHECK,
                f"a script cannot be loaded and run: {server.script_refusal}",
                "allow the user EVALSHA and SCRIPT LOAD on the queue's keys",
                subject=server.name,
            )
        else:
            yield fine(CHECK, "loaded and run", subject=server.name)
    known = [lane.lag_known for queue in facts.queues for lane in queue.lanes.values()]
    if True in known and False not in known:
        yield fine(CHECK, "XINFO GROUPS tells the lag of every lane")
    for queue in facts.queues:
        for name, lane in queue.lanes.items():
            if lane.lag_known is False:
                yield warn(
                    CHECK,
                    f"the lag of lane {name} is unknown, so the number of waiting jobs is an estimate: "
                    "entries were deleted by hand, or the server cannot tell",
                    "it comes back by itself when the lane has been empty; do not XDEL or XTRIM entries",
                    subject=queue.name,
                )
