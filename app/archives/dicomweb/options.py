"""Options of a DICOMweb archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.errors import ConfigurationError

IMAGE_MODALITIES = ("CT", "MR", "PT")
"""Modalities whose series are cases. SEG, SR, PR, KO, RTSTRUCT and the like aren't images."""


@dataclass(frozen=True)
class DicomwebOptions:
    """The address of a DICOMweb service, credentials and limits.

    `url` is the parent of `/studies`. Credentials are `user` and `password` (HTTP Basic) or `token` (Bearer). `filter`
    is a QIDO match on series (keyword or tag to value) for all cases, in addition to `modalities`. `orthanc_url` is the
    root of Orthanc's REST API: None looks for one at the parent of `url`, the empty string for none. Times are in
    seconds.

    Raises `ConfigurationError` for invalid values.
    """

    url: str
    qido_prefix: str = ""
    wado_prefix: str = ""
    stow_prefix: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    slowest_rate: float = 16_000.0
    """Bytes per second, over `read_timeout`, below which a response counts as stalled."""
    answer_seconds: float = 20.0
    """Search results and results of storing are complete so long after their first byte."""
    max_answer_bytes: int = 64 << 20
    """Limit for search results and results of storing: one page, one answer."""
    fetch_seconds: float = 3600.0
    """Limit for one series, and for listing all of them."""
    max_series: int = 500_000
    """Limit for a listing."""
    filter: Mapping[str, str] = field(default_factory=dict)
    modalities: tuple[str, ...] = IMAGE_MODALITIES
    page_size: int = 200
    verify: bool | str = True
    """Verify the service's certificate: yes, no, or with the CA certificates in this file."""
    max_retries: int = 3
    longest_wait: float = 30.0
    """A longer Retry-After is left to the caller."""
    orthanc_url: str | None = None
    max_bytes: int = 8 << 30
    """Limit for a decoded series."""
    fill_gaps: bool = False
    """Interpolate missing slices (with a warning) instead of refusing the series."""

    def __post_init__(self) -> None:
        for url in (self.url, self.orthanc_url):
            if url:
                _check_url(url)
        if self.token and self.user:
            raise ConfigurationError("give the DICOMweb service a user and password or a token, not both")
        if self.page_size < 1 or self.max_retries < 0:
            raise ConfigurationError("page_size is at least 1 and max_retries at least 0")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def qido_root(self) -> str:
        return _joined(self.url, self.qido_prefix)

    @property
    def wado_root(self) -> str:
        return _joined(self.url, self.wado_prefix)

    @property
    def stow_root(self) -> str:
        return _joined(self.url, self.stow_prefix)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("the address of a DICOMweb service starts with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"take the user and password out of the DICOMweb address of {parts.hostname} and set them as user and"
            " password: addresses are logged"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError("the address of a DICOMweb service has no query and no fragment")


def _joined(url: str, prefix: str) -> str:
    return f"{url}/{prefix.strip('/')}" if prefix.strip("/") else url
