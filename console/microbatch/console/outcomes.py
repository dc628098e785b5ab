"""What became of a job, as scripts read it: a result, or an error with its type and message.

Rule: one shape wherever a job is told as JSON: `{"id", "result"}` or `{"id", "error": {"type", "message"}}`,
with null for the id of what never became a job.
"""

from __future__ import annotations

from typing import Any

from microbatch.common.errors import JobFailed

__all__ = ["error_line", "result_line"]


def result_line(job_id: str, result: Any) -> dict[str, Any]:
    """A job that has its result."""
    return {"id": job_id, "result": result}


def error_line(job_id: str | None, error: Exception) -> dict[str, Any]:
    """A job that has none, or a line that is no job; a failed job's error is its processor's."""
    if isinstance(error, JobFailed):
        facts = {"type": error.error_type, "message": error.error_message}
    else:
        facts = {"type": type(error).__name__, "message": str(error)}
    return {"id": job_id, "error": facts}
