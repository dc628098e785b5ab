"""A client's life: made, opened once, closed for good.

Rule: making a client does nothing but look at its settings; whoever opens it first connects, and a closed one
stays closed. What an open client consists of is its session.
"""

from __future__ import annotations

import asyncio
from typing import Self

from microbatch.common.errors import ClientClosed
from microbatch.common.settings import ClientSettings, redact_url
from microbatch.producer.session import Session
from microbatch.producer.tracing import tracing_of

__all__ = ["ClientLife"]


class ClientLife:
    """What a client is before and after its work; see `AsyncClient`."""

    def __init__(self, url: str | None = None, *, settings: ClientSettings | None = None) -> None:
        if settings is None:
            settings = ClientSettings() if url is None else ClientSettings(redis_url=url)
        elif url is not None:
            settings = settings.model_copy(update={"redis_url": ClientSettings(redis_url=url).redis_url})
        self._settings = settings
        self._session: Session | None = None
        self._closed = False
        self._opening = asyncio.Lock()
        self._tracing = tracing_of(settings)

    async def open(self) -> None:
        """Connect. Harmless when repeated; a closed client cannot be opened again.

        Raises:
            ConnectionFailed: Redis did not answer within `command_timeout_s`.
            AuthenticationFailed: Redis refused the password.
            EmbeddedServerError: The embedded server cannot be started.
            ClientClosed: It was closed.
        """
        async with self._opening:
            if self._closed:
                raise ClientClosed
            if self._session is None:
                self._session = await Session.open(self._settings)

    async def close(self) -> None:
        """Let submits that were handed over land (within `command_timeout_s`), then disconnect.

        Whoever still waits for a result gets `ClientClosed`; the jobs go on. Harmless when repeated.
        """
        self._closed = True
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._session else "not open"
        return f"<{type(self).__name__} {state} {redact_url(self._settings.redis_url)}>"

    def _opened(self) -> Session:
        if self._session is None or self._closed:
            raise ClientClosed
        return self._session
