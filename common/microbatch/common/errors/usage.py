"""What a program that uses microbatch has to change before anything can run."""

from __future__ import annotations

from microbatch.common.errors.root import MicrobatchError

__all__ = ["AddressUnavailable", "ClientClosed", "EmbeddedServerError", "ProcessorError", "SettingsError"]


class SettingsError(MicrobatchError, ValueError):
    """A setting has a value that cannot be used; the sentence names it and what it may be."""


class AddressUnavailable(SettingsError):
    """`monitoring_address` cannot be listened at now: another process does, or the host has it not yet."""


class ProcessorError(MicrobatchError):
    """A processor that cannot be used: a wrong declaration, or a `setup` that raised."""


class EmbeddedServerError(MicrobatchError):
    """The embedded server cannot be found, started or attached to."""


class ClientClosed(MicrobatchError):
    """The client was closed (or not yet entered)."""

    def __init__(self) -> None:
        super().__init__("this client is closed; open one: `async with AsyncClient(...)` or `Client(...)`")
