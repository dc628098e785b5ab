"""A worker process for chaos tests: `python -m tests.chaos.worker_main PROCESSOR...`.

Settings come by environment; a processor is a name in `processors`, or `module:name`.

Exits with 75 where it had to hand jobs back, like the `microbatch worker` command. Ends with its parent, so
that a test run that is killed leaves nothing behind.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from typing import Any

from microbatch.worker import ConnectionFailed, DrainTimeout, Worker

__all__ = ["end_with_parent"]

EXIT_NO_REDIS = 69
EXIT_HANDED_BACK = 75


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def end_with_parent() -> None:
    """Leave nothing behind where the test run is killed."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _processor(name: str) -> Any:
    module, _, attribute = name.rpartition(":")
    return getattr(importlib.import_module(module or "tests.chaos.processors"), attribute)


def main() -> None:
    """Work until told to leave."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    end_with_parent()
    try:
        Worker([_processor(name) for name in sys.argv[1:]]).run()
    except ConnectionFailed as error:  # at the start: later ones are ridden out
        logging.error("%s", error)  # noqa: LOG015 - as below
        os._exit(EXIT_NO_REDIS)
    except DrainTimeout as error:
        logging.warning("%s", error)  # noqa: LOG015 - this process has one log
        os._exit(EXIT_HANDED_BACK)


if __name__ == "__main__":
    main()
