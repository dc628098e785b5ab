"""A small HTTP server in threads of its own: a few pages that are made when they are asked for.

Rule: it needs neither the event loop nor a framework, so that it can say that the loop is stuck. It answers
GET and HEAD of known paths and nothing else; a page that raises is a 500 and a line in the log.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from microbatch.common.bind_address import BindAddress
from microbatch.common.errors import AddressUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Page", "PageServer", "verdict_page"]

log = logging.getLogger("microbatch.pages")
TEXT = "text/plain; charset=utf-8"
LOOK_S = 0.5
REQUEST_LIMIT_S = 5.0
PASSING = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
"""Why an address cannot be listened at now, although the next start may find it free."""


class Page(NamedTuple):
    """What a request gets."""

    status: int
    content_type: str
    body: bytes


def verdict_page(why_not: list[str]) -> Page:
    """200 and `ok`, or 503 and the reasons, one a line."""
    if not why_not:
        return Page(200, TEXT, b"ok\n")
    return Page(503, TEXT, "".join(f"{reason}\n" for reason in why_not).encode())


class PageServer:
    """Serves pages until it is closed.

    Args:
        address: Where to listen.
        pages: By path, what makes the page; it is given the request's `Accept` header.
        every_look: Called twice a second, in the server's thread.

    Raises:
        AddressUnavailable: Something else listens there, or the host does not have the address yet.
        SettingsError: Nothing can listen there.
    """

    def __init__(
        self,
        address: BindAddress,
        pages: Mapping[str, Callable[[str], Page]],
        every_look: Callable[[], None] = lambda: None,
    ) -> None:
        try:
            self._server = _Server(address, pages, every_look)
        except OSError as error:
            kind = AddressUnavailable if error.errno in PASSING else SettingsError
            raise kind(f"monitoring_address: cannot listen at {address}: {error.strerror}") from error
        self.address = BindAddress(address.host, self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_S,), name="microbatch-pages", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening; blocks for up to half a second."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: BindAddress,
        pages: Mapping[str, Callable[[str], Page]],
        every_look: Callable[[], None],
    ) -> None:
        self.pages = pages
        self.service_actions = every_look  # type: ignore[method-assign] # called by serve_forever
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        # Without the look-up of the host's name that http.server makes, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as declared there
        """A client that went away is no news."""
        log.debug("a request of %s ended early", client_address)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_LIMIT_S
    server_version = "microbatch"
    sys_version = ""

    def do_GET(self) -> None:
        page = self._page()
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET  # noqa: N815 - http.server looks for this name

    def _page(self) -> Page:
        path = self.path.partition("?")[0]
        make = self.server.pages.get(path)
        if make is None:
            known = " ".join(sorted(self.server.pages))
            return Page(404, TEXT, f"there is: {known}\n".encode())
        try:
            return make(self.headers.get("Accept", ""))
        except Exception:
            log.exception("the page %s broke", path)
            return Page(500, TEXT, b"this page broke; the log says how\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """A request is no news: probes come every few seconds."""
