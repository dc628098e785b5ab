"""The three engines that the protocol runs on, behind one face; and where fakeredis is not like Redis.

Production Lua knows nothing of fakeredis. Its deviations, each shimmed here or marked in a test:

1. RESP3 (the default of redis-py 8): in a script a reply of XREADGROUP lacks one level of nesting, and an
   empty one is an empty table, not false. Shim: RESP2, which microbatch speaks anyway.
2. `XREADGROUP` on a key that does not exist answers another error than NOGROUP. Shim: NOGROUP.
3. `redis.pcall` gives the error's text to Lua as a foreign object, on which string methods fail. Shim: bytes.
4. No CONFIG, INFO commandstats, maxmemory, ACL: the tests of a full server, of costs and of rights are for
   real servers only (`real_bench`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import fakeredis
import pytest
import redis.asyncio as aioredis
from fakeredis.commands_mixins.scripting_mixin import ScriptingCommandsMixin

from microbatch.common.connection import Connection, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Servers

    from microbatch.common.scripts import Call

__all__ = ["ALL", "REAL", "Engine", "FakeEngine", "RealEngine", "mended_fakeredis"]

T = TypeVar("T")

REAL = ("valkey", "redis")
ALL = ("fakeredis", *REAL)


class _Scripting(ScriptingCommandsMixin):
    """Deviations 2 and 3, mended."""

    def _lua_redis_pcall(self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any) -> Any:
        try:
            return self._lua_redis_call(lua_runtime, expected_globals, op, *args)
        except Exception as error:  # noqa: BLE001 - as fakeredis does
            text = str(error)
            if op == b"XREADGROUP" and "requires the key to exist" in text:
                text = f"NOGROUP {text}"
            return lua_runtime.table_from({b"err": text.encode()})


@contextlib.contextmanager
def mended_fakeredis() -> Iterator[None]:
    """While it lasts, fakeredis behaves as Redis where it can be made to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptingCommandsMixin, "_lua_redis_pcall", _Scripting._lua_redis_pcall)
        yield


class Engine(Protocol):
    """A connection that runs calls, and a plain client that looks at what they did."""

    name: str
    raw: Any  # redis-py's types cover both protocols at once, and fit neither

    async def run(self, call: Call[T]) -> T:
        """Run one call of a script."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class RealEngine:
    """A real server, through the production connection."""

    def __init__(self, name: str, servers: Servers) -> None:
        self.name = name
        url = servers.url(name)
        self._connection = Connection(Endpoint(url, command_timeout_s=10.0, name="conformance"))
        self.raw: Any = aioredis.Redis.from_url(url, protocol=2)

    async def run(self, call: Call[T]) -> T:
        return await self._connection.run(call)

    async def close(self) -> None:
        await self._connection.close()
        await self.raw.aclose()


class FakeEngine:
    """fakeredis: the same scripts by EVAL."""

    def __init__(self) -> None:
        self.name = "fakeredis"
        self.raw: Any = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), protocol=2)

    async def run(self, call: Call[T]) -> T:
        reply: Any = await self.raw.execute_command("EVAL", call.script.text, 1, call.prefix, *call.args)
        return call.parse(reply)

    async def close(self) -> None:
        await self.raw.aclose()
