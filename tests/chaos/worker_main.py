"""A worker process for chaos tests: `python -m tests.chaos.worker_main PROCESSOR`; settings by environment.

Exits with 75 where it had to hand jobs back, like the `microbatch worker` command. Ends with its parent, so
that a test run that is killed leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from tests.chaos import processors

from microbatch.worker import DrainTimeout, Worker

EXIT_HANDED_BACK = 75


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """Work until told to leave."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        Worker([getattr(processors, sys.argv[1])]).run()
    except DrainTimeout as error:
        logging.warning("%s", error)  # noqa: LOG015 - this process has one log
        os._exit(EXIT_HANDED_BACK)


if __name__ == "__main__":
    main()
