"""The register of queue names: written at once, written again, and never in anybody's way."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.chaos.kit import until

from microbatch.common.errors import ConnectionFailed, ServerError
from microbatch.common.register import Register


class ListConnection:
    """Remembers what was written; fails where it is told to."""

    def __init__(self) -> None:
        self.written: list[tuple[str, ...]] = []
        self.error: Exception | None = None

    async def execute(self, *command: str) -> int:
        self.written.append(command)
        if self.error is not None:
            raise self.error
        return 1


def a_register(connection: Any, rewrite_s: float = 60.0) -> Register:
    return Register(connection, rewrite_s=rewrite_s)


async def test_a_name_is_written_at_once() -> None:
    connection = ListConnection()
    register = a_register(connection)

    await register.enter("a")
    await register.close()

    assert connection.written == [("SADD", "mb:queues", "a")]


async def test_all_names_are_written_again_in_one_command_until_it_is_closed() -> None:
    connection = ListConnection()
    register = a_register(connection, 0.001)
    await register.enter("a")
    await register.enter("b")

    await until(lambda: any(set(command[2:]) == {"a", "b"} for command in connection.written))
    await register.close()

    assert register._task is None


async def test_a_list_that_cannot_be_written_is_told_once_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = ListConnection()
    connection.error = ServerError("WRONGTYPE")
    register = a_register(connection)

    with caplog.at_level(logging.WARNING):
        await register.enter("a")
        await register.enter("b")
    await register.close()

    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "mb:queues cannot be written"
    ]


async def test_a_server_out_of_reach_is_the_first_caller_s_error_and_later_only_a_delay() -> None:
    connection = ListConnection()
    register = a_register(connection, 0.001)
    connection.error = ConnectionFailed("gone")
    with pytest.raises(ConnectionFailed):
        await register.enter("a")

    connection.error = None
    await register.enter("a")
    connection.error = ConnectionFailed("gone")
    connection.written.clear()
    await until(lambda: len(connection.written) > 2)
    await register.close()
