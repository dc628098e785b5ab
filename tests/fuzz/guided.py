"""The same readers under a fuzzer that is guided by coverage: `make fuzz GUIDED=60` gives each a minute.

Rule: the tests of this folder are its targets, so nothing is said twice: hypothesis makes their values out of
the bytes that atheris invents, and atheris sees which lines of microbatch they reach. Each target has a
process of its own, because libFuzzer ends the one that it runs in. `make` installs atheris on demand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main", "targets"]

LONG = ("-len_control=0", "-max_len=4096")
"""hypothesis needs many bytes for a value; libFuzzer would begin with few and add to them slowly."""
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))


def targets() -> dict[str, Callable[[bytes], object]]:
    """What takes bytes, by the name of its test."""
    found: dict[str, Callable[[bytes], object]] = {}
    for module in MODULES:
        for name, member in vars(import_module(f"tests.fuzz.{module}")).items():
            handle = getattr(member, "hypothesis", None)
            if name.startswith("test_") and handle is not None:
                found[name] = handle.fuzz_one_input
    return found


def main(words: list[str]) -> int:
    """Run every target for a while; or the one that is named, for ever, with libFuzzer's own options."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided")
    parser.add_argument("target", nargs="?", help="a test of this folder; none: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each of all (default: 60)")
    arguments, options = parser.parse_known_args(words)
    if arguments.target:
        return fuzz(arguments.target, options)
    broken = []
    for name in targets():
        print(f"{name}: {arguments.seconds} s", flush=True)
        limit = f"-max_total_time={arguments.seconds}"
        command = [sys.executable, "-m", "tests.fuzz.guided", name, limit, "-verbosity=0", *LONG, *options]
        if subprocess.run(command, check=False).returncode:
            broken.append(name)
    print(f"broke: {', '.join(broken)}" if broken else "nothing broke")
    return 1 if broken else 0


def fuzz(name: str, options: list[str]) -> int:
    """Give one target to atheris, which does not come back."""
    import atheris  # noqa: PLC0415 - whoever does not fuzz has no need of it

    with atheris.instrument_imports(include=["microbatch"]):
        target = targets()[name]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
