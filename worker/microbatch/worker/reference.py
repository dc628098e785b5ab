"""References: how a child process finds the processor that its parent has.

Rule: by module and name only, as the command line does it. What a child could not import, or would make anew
with other contents, is refused at the start with a sentence that says what to do.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import ProcessorError
from microbatch.worker.declaration import instance_of
from microbatch.worker.processor import BatchProcessor, FunctionProcessor

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["reference_of", "referred"]


def reference_of(processor: BatchProcessor[Any, Any]) -> tuple[str, str]:
    """The module and the name under which a child finds `processor`.

    Raises:
        ProcessorError: There is none.
    """
    target = processor.function if isinstance(processor, FunctionProcessor) else type(processor)
    module, name = target.__module__, target.__qualname__
    if module == "__main__":
        raise ProcessorError(
            f"{processor.name} is defined in the program that runs the worker: executor='process' needs it "
            "in a module that child processes can import"
        )
    loaded = sys.modules.get(module)
    if isinstance(processor, FunctionProcessor):
        if _found(loaded, name) is processor:
            return module, name
    else:
        for known, value in vars(loaded).items() if loaded else ():
            if value is processor:
                return module, known
        if _found(loaded, name) is type(processor) and not vars(processor):
            return module, name
    raise ProcessorError(
        f"{processor.name} cannot be found as {module}:{name} by a child process: executor='process' needs a "
        "processor at the top level of a module (an instance with arguments: bound to a name there)"
    )


def referred(module: str, name: str) -> BatchProcessor[Any, Any]:
    """The processor that a reference names, in the child."""
    return instance_of(_found(importlib.import_module(module), name))


def _found(module: ModuleType | None, name: str) -> object:
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
