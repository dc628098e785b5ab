"""Find processors by `MODULE:ATTR`, and blame the right code when that fails.

Rule: names come from the command line only, never from a message. When the user's own code raises, its
traceback is shown with the user's frames and no others; every other mistake is one line.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError
from microbatch.common.schedules.schedule import Schedule
from microbatch.console.exits import UsageError
from microbatch.console.terminal import show_traceback
from microbatch.worker.declaration import instance_of
from microbatch.worker.processor import BatchProcessor

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load_processor", "show_user_traceback"]

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load_processor(spec: str) -> BatchProcessor[Any, Any] | Schedule:
    """The processor, or the schedule, that `spec` names; the current directory is importable for it.

    Raises:
        UsageError: There is none by this name, or the user's code raised; its traceback was shown then.
        ProcessorError: What it names is neither.
    """
    module_name, attribute = _split(spec)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"module {module_name} has no {attribute!r}{_offer(module, attribute)}")
        found = getattr(found, part)
    if isinstance(found, Schedule):
        return found
    try:
        return instance_of(found)
    except ProcessorError as error:
        raise ProcessorError(f"{spec}: {error}{_offer(module, attribute)}") from error
    except Exception as error:
        show_user_traceback(error)
        raise UsageError(f"{spec} cannot be made: {_name_of(error)}") from error


def show_user_traceback(error: BaseException) -> None:
    """Print the traceback of `error` on stderr without our frames; nothing where no frame is the user's."""
    told = traceback.TracebackException.from_exception(error)
    _cut(told, set())
    if told.stack or isinstance(error, SyntaxError):
        show_traceback(told.format())


def _split(spec: str) -> tuple[str, str]:
    module_name, colon, attribute = spec.partition(":")
    if (
        colon
        and _DOTTED.fullmatch(module_name)
        and _DOTTED.fullmatch(attribute)
        and not module_name.endswith(".py")
    ):
        return module_name, attribute
    stem = re.sub(r"\.py$", "", module_name).strip("./").replace("/", ".")
    example = f"{stem if _DOTTED.fullmatch(stem) else 'tasks'}:{attribute or 'embed'}"
    raise UsageError(f"{spec!r} names no processor: write MODULE:ATTR, such as {example}")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            show_user_traceback(error)
            raise UsageError(f"{name} does not import: {error}") from error
        raise UsageError(
            f"no module {error.name!r} here ({Path.cwd()}) or among the installed ones"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may also call sys.exit()
        show_user_traceback(error)
        raise UsageError(f"{name} does not import: {_name_of(error)}") from error


def _name_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _offer(module: ModuleType, wrong: str) -> str:
    """Say which processors the module has."""
    names = [
        name for name, value in vars(module).items() if _is_processor(value) and not name.startswith("_")
    ]
    if not names:
        return "; it has no processor: decorate a function with @batch_processor(queue=...)"
    close = get_close_matches(wrong, names, n=1)
    if close:
        return f"; did you mean {module.__name__}:{close[0]}?"
    return f"; it has {', '.join(f'{module.__name__}:{name}' for name in names[:5])}"


def _is_processor(value: object) -> bool:
    if isinstance(value, type):
        return issubclass(value, BatchProcessor) and not value.__module__.startswith("microbatch.worker")
    return isinstance(value, BatchProcessor)


def _cut(told: traceback.TracebackException | None, seen: set[int]) -> None:
    """Take our frames and the import system's out, in the chained exceptions too."""
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    told.stack[:] = [frame for frame in told.stack if not _is_ours(frame.filename)]
    _cut(told.__cause__, seen)
    _cut(told.__context__, seen)
    for inner in told.exceptions or ():
        _cut(inner, seen)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS)


_OURS = (
    "<frozen importlib",
    str(Path(importlib.__file__ or "").parent),
    *(str(Path(folder)) + "/" for folder in sys.modules["microbatch"].__path__),
)
