"""What ties a process of the demo to the demo: its standard input, a pipe that only the demo holds open.

As a program, `python -m microbatch.console.demo.tether worker ...` is `microbatch worker ...` on that tether.

Rule: when the demo ends, however it ends, the kernel closes the pipe and this process is gone at once; no
signal of a parent is needed, which a killed parent could not send. It never reads but in its own thread.
"""

from __future__ import annotations

import os
import sys
import threading

__all__ = ["hold"]

_CUT_EXIT_CODE = 1


def hold() -> threading.Event:
    """Leave this process as soon as the demo is gone.

    Returns:
        An event that is set when the demo sends its first byte: the signal to begin.
    """
    begun = threading.Event()
    threading.Thread(target=_listen, args=(begun,), name="demo-tether", daemon=True).start()
    return begun


def _listen(begun: threading.Event) -> None:
    # os.read and not sys.stdin: a thread inside the latter would disturb the interpreter's own end.
    while os.read(0, 1):
        begun.set()
    os._exit(_CUT_EXIT_CODE)  # sys.exit() would end only this thread


def main() -> int:
    """Run the `microbatch` command on the tether."""
    from microbatch.console.main import main as microbatch  # noqa: PLC0415 - `hold` needs nothing of it

    hold()
    sys.argv[0] = "microbatch"
    return microbatch()


if __name__ == "__main__":
    sys.exit(main())
