"""`microbatch exporter`: serve what the queues hold to Prometheus, once for all workers.

Rule: it only looks. It starts without Redis and says in its metrics that Redis is away, so that the alarm
comes from the monitoring and not from a process that restarts for ever.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by `run`, so that help comes at once

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from microbatch.console.exits import ExitCode, UsageError
from microbatch.console.options import connection_options
from microbatch.console.terminal import print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from microbatch.common.connection import BlockingConnection
    from microbatch.common.scripts import QueueStatus

__all__ = ["add_arguments", "run"]

_EPILOG = """\
paths: /metrics; /livez (it answers); /readyz (Redis answers, too)

Run one for each Redis: a second one would only say the same again. The metrics
of the work itself (batches, times, failures) are served by each worker, see
`microbatch worker --monitoring-address`.

examples:
  $ microbatch exporter --monitoring-address 0.0.0.0:9465
  $ microbatch exporter --queue embed --queue index

exit codes: 0 told to stop; 1 the address is taken; 2 wrong usage or settings
"""
DEFAULT_ADDRESS = "127.0.0.1:9465"
LOOK_S = 0.5  # the system may give a signal to another thread, and that does not wake this one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--monitoring-address",
        metavar="[HOST:]PORT",
        help=f"where to serve (default: MICROBATCH_MONITORING_ADDRESS, else {DEFAULT_ADDRESS})",
    )
    parser.add_argument(
        "--queue",
        metavar="QUEUE",
        action="append",
        default=[],
        help="only this queue; may be repeated (default: all that were ever used)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from microbatch.common.bind_address import read_bind_address
    from microbatch.common.connection import BlockingConnection, Endpoint
    from microbatch.common.identifiers import check_queue
    from microbatch.common.settings import WorkerSettings
    from microbatch.console.logs import log_to_stderr
    from microbatch.worker.pages import Page, PageServer, verdict_page

    try:
        from microbatch.console.exporter import QueueCollector
        from microbatch.worker.metrics import exposition, own_registry
    except ImportError as error:
        raise UsageError("metrics are not installed: pip install 'microbatch[metrics]'") from error
    try:
        queues = [check_queue(queue) for queue in arguments.queue]
    except ValueError as error:
        raise UsageError(str(error)) from error
    settings = WorkerSettings.from_command_line(
        connection_options(arguments) | {"monitoring_address": arguments.monitoring_address}
    )
    if settings.redis_url.startswith("embedded:"):
        raise UsageError("an embedded server has no use for an exporter of its own: name a server by its URL")
    log_to_stderr("info", "json" if arguments.json else settings.log_format)
    connection = BlockingConnection(
        Endpoint(settings.redis_url, settings.command_timeout_s, "microbatch:exporter")
    )
    limit_ms = round(settings.heartbeat_limit_s * 1000)
    collector = QueueCollector(lambda: _look(connection, queues, limit_ms))
    registry = own_registry(collector)
    told = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    pages = PageServer(
        read_bind_address(settings.monitoring_address or DEFAULT_ADDRESS),
        {
            "/metrics": lambda accept: Page(200, *exposition(registry, accept)),
            "/livez": lambda _accept: verdict_page([]),
            "/readyz": lambda _accept: verdict_page([] if collector.redis_answered else ["Redis is away"]),
        },
    )
    try:
        url = f"http://{pages.address.within_reach}/metrics"
        print_json({"url": url}) if arguments.json else print(url, flush=True)
        while not told.wait(LOOK_S):
            pass
    finally:
        pages.close()
        connection.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return ExitCode.DONE


def _look(connection: BlockingConnection, queues: list[str], limit_ms: int) -> Mapping[str, QueueStatus]:
    from microbatch.common.keys import KNOWN_QUEUES, QueueKeys
    from microbatch.common.scripts import queue_status

    if not queues:
        names = connection.execute("SMEMBERS", KNOWN_QUEUES)
        queues = sorted(name.decode("utf-8", "replace") for name in names)
    return {
        queue: connection.run(queue_status(QueueKeys(queue), heartbeat_limit_ms=limit_ms)) for queue in queues
    }
