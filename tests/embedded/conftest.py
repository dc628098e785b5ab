"""Fixtures: each program, a data directory, and a scratch directory that nothing may outlive."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from microbatch.common.embedded.binary import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.embedded.users import eventually, processes_naming


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary directory of all processes of a test, which no process and no file outlives.

    It asks for `tmp_path` because pytest would else make its own directories in here.
    """
    path = Path(tempfile.mkdtemp(prefix="mb", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    try:
        eventually(lambda: not processes_naming(str(path)), f"no process names {path}")
        eventually(lambda: not list(path.iterdir()), f"{path} is empty")
    finally:
        shutil.rmtree(path)


@pytest.fixture(params=["packaged", "redis-server"])
def program(request: pytest.FixtureRequest) -> Path:
    if request.param == "packaged":
        return find_program()
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"no {request.param} on PATH")
    return Path(found)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "a long name, with blanks, \"quotes\" and 'more'" / ("x" * 100)  # too long for a socket
