"""The errors that users of microbatch see: one tree, drawn here.

Every error carries its facts as attributes. redis-py's own errors reach users only as `__cause__`.

    MicrobatchError
    |-- JobError                  a job that was accepted has no result to give
    |   |-- JobFailed             its processor (or the protocol) failed it
    |   |-- JobCancelled
    |   |-- JobExpired
    |   `-- ResultNotFound        unknown job, or its record is past its TTL
    |-- ResultTimeout             also a TimeoutError; the job itself goes on
    |-- SubmitError               the job was not accepted
    |   |-- QueueFull
    |   |-- QueueDraining         an operator lets the queue run empty
    |   |-- DuplicateJobId
    |   |-- TooManyBatchKeys
    |   |-- JobTooCostly          also a ValueError
    |   |-- SubmitTimeout         also a TimeoutError; whether it was accepted is unknown
    |   `-- PayloadError          also a ValueError
    |       `-- PayloadTooLarge
    |-- NotReplicated             the job was accepted, but too few replicas have it yet
    |-- ConnectionFailed          also a ConnectionError; Redis did not answer in time
    |   `-- AuthenticationFailed  a wrong password, or a user without the rights
    |-- ServerError               Redis answered with an error that retrying cannot mend
    |   `-- ServerFull            also a SubmitError; Redis is out of memory
    |-- ProtocolError             bytes in Redis that no version of microbatch wrote
    |   `-- SealError             a value that is not signed or encrypted as this process asks for
    |-- EmbeddedServerError       the embedded server cannot start
    |-- SettingsError             also a ValueError
    |   `-- AddressUnavailable    the monitoring address is taken, or not there yet
    |-- ProcessorError            a processor that cannot be used: wrong signature, failed setup
    |-- ResultMismatch            a processor answered with something else than one result per job
    |-- BatchTimeout              also a TimeoutError; a processor took longer than `batch_timeout_s`
    |-- DrainTimeout              also a TimeoutError; a worker left in haste, the rest was handed back
    `-- ClientClosed
"""

from microbatch.common.errors.job import (
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    NotReplicated,
    ResultNotFound,
    ResultTimeout,
)
from microbatch.common.errors.root import MicrobatchError
from microbatch.common.errors.server import (
    AuthenticationFailed,
    ConnectionFailed,
    ProtocolError,
    SealError,
    ServerError,
    ServerFull,
)
from microbatch.common.errors.submit import (
    DuplicateJobId,
    JobTooCostly,
    PayloadError,
    PayloadTooLarge,
    QueueDraining,
    QueueFull,
    SubmitError,
    SubmitTimeout,
    TooManyBatchKeys,
)
from microbatch.common.errors.usage import (
    AddressUnavailable,
    ClientClosed,
    EmbeddedServerError,
    ProcessorError,
    SettingsError,
)
from microbatch.common.errors.worker import BatchTimeout, DrainTimeout, ResultMismatch

__all__ = [
    "AddressUnavailable",
    "AuthenticationFailed",
    "BatchTimeout",
    "ClientClosed",
    "ConnectionFailed",
    "DrainTimeout",
    "DuplicateJobId",
    "EmbeddedServerError",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobTooCostly",
    "MicrobatchError",
    "NotReplicated",
    "PayloadError",
    "PayloadTooLarge",
    "ProcessorError",
    "ProtocolError",
    "QueueDraining",
    "QueueFull",
    "ResultMismatch",
    "ResultNotFound",
    "ResultTimeout",
    "SealError",
    "ServerError",
    "ServerFull",
    "SettingsError",
    "SubmitError",
    "SubmitTimeout",
    "TooManyBatchKeys",
]

for _error in __all__:
    # Tracebacks and pickles name them where they are imported from, whichever file they live in.
    globals()[_error].__module__ = __name__
