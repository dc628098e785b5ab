"""Settings in files, one value a file: how orchestrators hand secrets to a process.

Rule: a file is named like the variable, such as `MICROBATCH_REDIS_URL`, and lies in the directory that
`MICROBATCH_SECRETS_DIR` names, else in the one in which systemd puts credentials. Nothing is kept, and no
value is ever part of a message.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from microbatch.common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECRETS_DIR", "secret_files"]

SECRETS_DIR: Final = "MICROBATCH_SECRETS_DIR"
_OF_SYSTEMD: Final = "CREDENTIALS_DIRECTORY"
_LARGEST_BYTES: Final = 65_536


def secret_files(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The values by name, for files whose names begin with `prefix`, without the newline at their ends.

    Raises:
        SettingsError: The directory that was named is none, or one of the files cannot be read.
    """
    named = environment.get(SECRETS_DIR)
    place = named or environment.get(_OF_SYSTEMD)
    if not place:
        return {}
    try:
        # Kubernetes links each file into the directory; what is hidden there are older versions.
        files = [each for each in Path(place).iterdir() if each.name.startswith(prefix) and each.is_file()]
        return {each.name: _text_of(each) for each in files}
    except (OSError, UnicodeDecodeError) as error:
        if not named and isinstance(error, FileNotFoundError):
            return {}
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"settings in files at {place} cannot be read: {why}") from None


def _text_of(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise SettingsError(f"{file} has more than {_LARGEST_BYTES:,} bytes: it holds no setting")
    return data.decode().rstrip("\r\n")
