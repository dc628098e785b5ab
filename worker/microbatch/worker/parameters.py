"""What a processor's function takes: one argument, and whether that is a `Batch` or a list of payloads.

Rule: read from its signature and its annotation; nothing is called.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any

from microbatch.worker.batch import Batch

if typing.TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["takes_batch", "takes_one"]


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether it can be called with one argument."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature: its call will tell
        return True
    return True


def takes_batch(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is annotated `Batch` or `Batch[...]`, also as a string."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    if not parameters:
        return False
    try:
        hint = typing.get_type_hints(function).get(parameters[0])
    except Exception:  # noqa: BLE001 - a name that only type checkers see: judge the annotation's text
        hint = None
    if hint is None:  # also a partial and an object with __call__ have no hints of their own
        hint = inspect.signature(function).parameters[parameters[0]].annotation
    if isinstance(hint, str):
        return hint.strip("'\" ").partition("[")[0].rpartition(".")[2].strip() == "Batch"
    return hint is Batch or typing.get_origin(hint) is Batch
