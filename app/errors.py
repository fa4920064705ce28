"""The exception hierarchy. Independent of HTTP: `app.web.errors` maps classes to status codes.

    SegloopError
    ├── BadInput                 invalid input from the caller; nothing was changed
    │   ├── BadFile              a file with an invalid header or content
    │   ├── BadPrompt            a prompt outside the volume, of the wrong shape, or of a type the model doesn't take
    │   ├── BadOption            an unknown parameter, or one of the wrong type
    │   ├── GeometryMismatch     a mask that doesn't lie on the case's voxel grid
    │   └── UnusableSeries       a DICOM series that is not a volume (the message says why)
    ├── NotFound
    │   ├── UnknownCase
    │   ├── UnknownLabel
    │   ├── UnknownModel
    │   ├── UnknownSession
    │   ├── UnknownJob
    │   └── UnknownStrategy
    ├── Conflict                 the request conflicts with the current state
    │   └── AlreadyRunning       such a job is already running
    ├── Unavailable              temporary; `retry_after` is when to retry, in seconds
    │   ├── ArchiveUnavailable   the archive doesn't respond, or responds with an error
    │   ├── ModelNotTrained      the model has no weights yet
    │   └── ResourceExhausted    not enough memory or disk space
    ├── ArchiveRefuses           the archive refuses a label permanently
    ├── Forbidden                the caller's role isn't enough
    ├── NotSupported             a route or option that this server doesn't support, with the reason
    ├── IntegrityError           stored bytes don't match their checksum
    ├── Cancelled                the work was cancelled
    └── ConfigurationError       invalid settings; the command line exits with `CONFIGURATION_EXIT_CODE`

Messages are for users of viewers: they say what was wrong and what to do.
"""

from __future__ import annotations

CONFIGURATION_EXIT_CODE = 2
"""The exit code of a process with an invalid configuration, which must not be restarted."""


class SegloopError(Exception):
    """Root of all errors that segloop raises on purpose."""


class BadInput(SegloopError):
    pass


class BadFile(BadInput):
    pass


class BadPrompt(BadInput):
    pass


class BadOption(BadInput):
    pass


class GeometryMismatch(BadInput):
    pass


class UnusableSeries(BadInput):
    pass


class NotFound(SegloopError):
    pass


class UnknownCase(NotFound):
    pass


class UnknownLabel(NotFound):
    pass


class UnknownModel(NotFound):
    pass


class UnknownSession(NotFound):
    pass


class UnknownJob(NotFound):
    pass


class UnknownStrategy(NotFound):
    pass


class Conflict(SegloopError):
    pass


class AlreadyRunning(Conflict):
    pass


RETRY_AFTER = 5.0
"""Seconds after which to try again what is temporary and says nothing of its own."""


class Unavailable(SegloopError):
    """Temporary: retry after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = RETRY_AFTER) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ArchiveUnavailable(Unavailable):
    pass


class ModelNotTrained(Unavailable):
    pass


class ResourceExhausted(Unavailable):
    pass


class ArchiveRefuses(SegloopError):
    pass


class Forbidden(SegloopError):
    pass


class NotSupported(SegloopError):
    pass


class IntegrityError(SegloopError):
    pass


class Cancelled(SegloopError):
    pass


class ConfigurationError(SegloopError):
    pass
