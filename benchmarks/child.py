"""A child process of a cell: a worker or the producer, `python -m benchmarks.child ROLE SITE`.

Rule: it lives as long as its leash, which is its standard input: whoever holds the other end need only let
go, or die, and every child is gone. It says one line on standard output (ready, or what was measured) and
nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from benchmarks.cell import Site
from benchmarks.contenders import contender
from benchmarks.gauges import Gauges
from benchmarks.scenarios import SCENARIOS

__all__ = ["READY", "main"]

READY = "ready"


def main(role: str, site_json: str) -> None:
    """Be a child."""
    threading.Thread(target=_heed_leash, daemon=True).start()
    site = Site.from_json(site_json)
    if role == "worker":
        contender(site.cell.contender).work(site, _say_ready)
    else:
        _produce(site)


def _say_ready() -> None:
    print(READY, flush=True)


def _produce(site: Site) -> None:
    gauges = Gauges(site)
    with contender(site.cell.contender).producer(site) as producer:
        figures = SCENARIOS[site.cell.scenario].measure(producer, site.cell, gauges)
        print(json.dumps({"figures": figures, "runs_on": producer.runs_on}), flush=True)
    gauges.close()


def _heed_leash() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
