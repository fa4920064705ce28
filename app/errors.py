"""Everything that can go wrong, as a tree. Knows no HTTP: `app.web.errors` maps classes to status codes.

    SegloopError
    ├── BadInput                 the caller sent something that can't be used; nothing was changed
    │   ├── BadFile              a file whose header or content is refused
    │   ├── BadPrompt            a prompt outside the volume, of the wrong shape, or of a kind the model doesn't take
    │   ├── BadOption            an unknown or ill-typed parameter
    │   ├── GeometryMismatch     a mask that doesn't lie on the case's voxel grid
    │   └── UnusableSeries       a DICOM series that is no volume (the message names why)
    ├── NotFound
    │   ├── UnknownCase
    │   ├── UnknownLabel
    │   ├── UnknownModel
    │   ├── UnknownSession
    │   ├── UnknownJob
    │   └── UnknownStrategy
    ├── Conflict                 what was asked collides with what goes on
    │   └── AlreadyRunning       a job of that kind runs already
    ├── Unavailable              may work later; carries `retry_after` seconds
    │   ├── ArchiveUnavailable   the archive doesn't answer, or answers with an error
    │   ├── ModelNotTrained      the model has no weights yet
    │   └── ResourceExhausted               memory or disk would run out
    ├── ArchiveRefuses           the archive will not take a label, however often it is sent
    ├── NotSupported             a route or option that this server will not serve, with the reason
    ├── IntegrityError           stored bytes don't match their checksum
    ├── Cancelled                someone asked for the work to stop
    └── ConfigurationError       settings that can't work; the command line exits with `CONFIGURATION_EXIT_CODE`

The message is for the person at the viewer: it says what was wrong and what to do.
"""

from __future__ import annotations

CONFIGURATION_EXIT_CODE = 2
"""What a process ends with that can't do its work as it is configured; starting it again would not help."""


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


class Unavailable(SegloopError):
    """May work later. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
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


class NotSupported(SegloopError):
    pass


class IntegrityError(SegloopError):
    pass


class Cancelled(SegloopError):
    pass


class ConfigurationError(SegloopError):
    pass
