"""The gate of one queue: what turns a payload and its options into a job that can be submitted.

Rule: encoding comes before sealing, so that limits and digests are those of what the caller gave. Nothing
here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from microbatch.common.codec import encode
from microbatch.common.errors import PayloadError
from microbatch.common.identifiers import payload_digest
from microbatch.common.models import encode_model
from microbatch.common.scripts import JobOptions, NewJob

if TYPE_CHECKING:
    from microbatch.common.seals import Seals
    from microbatch.producer.mailbox import Mailbox
    from microbatch.producer.options import Caps, Terms
    from microbatch.producer.submitter import Submitter

__all__ = ["Gate"]


@dataclass(slots=True)
class Gate:
    """What admitting jobs to one queue needs."""

    mailbox: Mailbox
    submitter: Submitter
    replicated: Submitter
    defaults: JobOptions
    max_payload_bytes: int
    caps: Caps
    seals: Seals | None = None
    _plain: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._plain = self.defaults.encoded()

    def submitter_for(self, terms: Terms) -> Submitter:
        """Whose flights suit a call: jobs that wait for replicas must not hold the others up."""
        return self.replicated if terms.replicated else self.submitter

    def options(self, terms: Terms) -> bytes:
        """What is said about every job of a call, encoded.

        Raises:
            JobTooCostly: Its cost is above `max_job_cost`.
        """
        said = terms.options
        if said is None:
            return self._plain
        if not said.ttl_ms:
            said = said._replace(ttl_ms=self.defaults.ttl_ms)
        return self.caps.applied(said).encoded()

    def new_job(self, local: str, payload: Any, options: bytes, *, is_named: bool = False) -> NewJob:
        """Encode one job; only an id that the caller chose can come with two payloads, and needs a digest.

        Raises:
            PayloadError: The payload cannot travel.
        """
        try:
            data = encode(payload, limit_bytes=self.max_payload_bytes)
        except PayloadError as refusal:
            data = encode_model(payload, refusal, limit_bytes=self.max_payload_bytes)
        digest = payload_digest(data) if is_named else b""
        if self.seals is not None:
            return self._sealed(self.seals, NewJob(local, digest, data, options))
        return NewJob(local, digest, data, options)

    def _sealed(self, seals: Seals, job: NewJob) -> NewJob:
        """The job under seal; its digest is that of what is inside, as no two seals are alike."""
        headers = job.options.partition(b"\n")[2]
        digest = job.digest and (seals.digest(job.payload) or job.digest)
        queue = self.mailbox.keys.queue
        return NewJob(
            job.local, digest, seals.seal("job", queue, job.local, job.payload, headers), job.options
        )
