"""HTTP to one archive: timeouts, retries and redirects for all calls."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from app.archives.dicomweb.connections import AnswerLimits, LimitedAdapter
from app.archives.dicomweb.options import DicomwebOptions
from app.errors import ArchiveUnavailable

BUSY = (429, 503)
REDIRECTS = (301, 302, 303, 307, 308)
REDIRECTS_THAT_KEEP_THE_METHOD = (307, 308)
CONNECTIONS = 8
ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
"""Content encodings that are decoded. We ask for none; some services compress nevertheless."""
_CHUNK = 1 << 16


class ArchiveSession(requests.Session):
    """A `requests.Session` that sends requests only to the archive's origin, with the archive's credentials.

    dicomweb-client and our own calls go through the same `request`: every call has timeouts; 429 and 503 are retried
    after the archive's Retry-After (the request was not processed, so any method may be repeated); lost connections are
    retried for GET only; redirects are followed within the origin only. Responses with other status codes are returned.
    Answers are read whole, within the limits of the options, except those of `get_streamed`. Raises
    `ArchiveUnavailable`.

    Thread-safe: its state doesn't change after construction, except for what a thread is doing.
    """

    def __init__(self, options: DicomwebOptions) -> None:
        super().__init__()
        self._options = options
        self._closed = threading.Event()
        self._this = _ThisThread()
        # No proxies or ~/.netrc from the environment: only the settings decide what is sent to the archive.
        self.trust_env = False
        self.verify = options.verify
        # Orthanc compresses each instance on the fly for clients that accept it, five to ten times slower.
        self.headers["Accept-Encoding"] = "identity"
        self.auth = _Credentials(options)
        for scheme in ("http://", "https://"):
            pools = {"pool_connections": 2, "pool_maxsize": CONNECTIONS, "max_retries": 0}
            self.mount(scheme, LimitedAdapter(self._limits, **pools))

    def close(self) -> None:
        """Close all connections. What still waits for the archive in other threads ends with an error."""
        self._closed.set()
        for adapter in self.adapters.values():
            if isinstance(adapter, LimitedAdapter):
                adapter.hang_up()
        super().close()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """A time limit for all requests of this thread together."""
        self._this.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._this.deadline = math.inf

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Like `requests.Session.request`, see the class."""
        verb, address = str(method).upper(), str(url)
        make_limits = kwargs.pop("limits", self._of_answers)
        streamed = kwargs.pop("stream", None)
        kwargs["timeout"] = (self._options.connect_timeout, self._options.read_timeout)
        kwargs["allow_redirects"] = False
        # dicomweb-client sends a Host without the port, which makes some services redirect to another port.
        kwargs["headers"] = {k: v for k, v in (kwargs.get("headers") or {}).items() if k.lower() != "host"}
        for attempt in range(self._options.max_retries + 1):
            last = attempt == self._options.max_retries
            self._check_open(address)
            self._this.limits = make_limits(origin(address))
            try:
                answer = self._follow(verb, address, *args, **kwargs)
                if not streamed:
                    self._read_whole(answer)
            except requests.RequestException as error:
                self._check_open(address)
                if last or verb != "GET" or not _is_transient(error):
                    raise unavailable(address, error) from error
                self._pause(_backoff(attempt))
                continue
            if answer.status_code not in BUSY:
                return answer
            asked = _retry_after(answer)
            answer.close()
            if last or (asked or 0.0) > self._options.longest_wait:
                raise ArchiveUnavailable(
                    f"the archive at {origin(address)} is busy (status {answer.status_code}); try again later",
                    retry_after=asked or 30.0,
                )
            self._pause(_backoff(attempt) if asked is None else asked)
        raise AssertionError("the last attempt returns or raises")

    def get_streamed(
        self, url: str, headers: Mapping[str, str], limits: Callable[[str], AnswerLimits]
    ) -> requests.Response:
        """GET, with the body left to the caller, who closes the answer. `limits` makes those of one attempt."""
        return self.request("GET", url, headers=headers, stream=True, limits=limits)

    def _follow(self, verb: str, address: str, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(5):
            kwargs["stream"] = True
            answer = super().request(verb, address, *args, **kwargs)
            if answer.headers.get("Content-Encoding", "").strip().lower() not in ENCODINGS:
                answer.close()
                raise ArchiveUnavailable(f"the archive at {origin(address)} compresses its answers in an unknown way")
            target = answer.headers.get("Location", "")
            if answer.status_code not in REDIRECTS or not target:
                return answer
            answer.close()
            target = urljoin(address, target)
            if origin(target) != origin(address):
                raise ArchiveUnavailable(
                    f"the archive at {origin(address)} redirects to {origin(target)}, which is not followed; if that is"
                    " where the archive is now, set its address to that",
                    retry_after=300.0,
                )
            if verb != "GET" and answer.status_code not in REDIRECTS_THAT_KEEP_THE_METHOD:
                raise ArchiveUnavailable(f"the archive at {origin(address)} redirects a {verb}, so it stored nothing")
            address = target
            kwargs.pop("params", None)
        raise ArchiveUnavailable(f"the archive at {origin(address)} redirects in a loop")

    def _of_answers(self, place: str) -> AnswerLimits:
        options = self._options
        return AnswerLimits(
            place, patience=options.read_timeout, seconds=options.answer_seconds, max_bytes=options.max_answer_bytes
        )

    def _limits(self) -> AnswerLimits:
        return self._this.limits

    def _read_whole(self, answer: requests.Response) -> None:
        """Read the body, as `requests` does without `stream`, but never more than the limits allow."""
        limits = self._limits()
        body = bytearray()
        try:
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                limits.check_size(len(body))  # decoded, it may be longer than what was received
        finally:
            answer.close()
        answer._content = bytes(body)
        answer._content_consumed = True  # type: ignore[attr-defined]

    def _check_open(self, address: str) -> None:
        if self._closed.is_set():
            raise ArchiveUnavailable("the server is shutting down")
        if time.monotonic() > self._this.deadline:
            raise ArchiveUnavailable(f"the archive at {origin(address)} took too long to answer all of some requests")

    def _pause(self, seconds: float) -> None:
        self._closed.wait(seconds)


class _ThisThread(threading.local):
    """The limits of the request that a thread sends, and when it has to be done with all of them."""

    limits: AnswerLimits
    deadline = math.inf


class _Credentials(AuthBase):
    """Sets the Authorization header. As `auth`, because a session's headers are also sent to other hosts."""

    def __init__(self, options: DicomwebOptions) -> None:
        self._options = options

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin(request.url or "") != origin(self._options.url):
            return request
        if self._options.token:
            request.headers["Authorization"] = f"Bearer {self._options.token}"
        elif self._options.user:
            requests.auth.HTTPBasicAuth(self._options.user.encode(), self._options.password.encode())(request)
        return request


@contextmanager
def answers_wanted(url: str) -> Iterator[None]:
    """Translate errors of requests and dicomweb-client into `ArchiveUnavailable`."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise refusal(url, status) from error
    except (requests.RequestException, OSError) as error:
        raise unavailable(url, error) from error
    except (ValueError, RecursionError) as error:
        raise ArchiveUnavailable(f"the archive at {origin(url)} answers with something that is not DICOM") from error


def refusal(url: str, status: int) -> ArchiveUnavailable:
    """The error for a response with `status`."""
    if status in (401, 403):
        return ArchiveUnavailable(
            f"the archive at {origin(url)} refuses the user, password or token it was given (status {status})",
            retry_after=60.0,
        )
    return ArchiveUnavailable(f"the archive at {origin(url)} answers with status {status} to {urlsplit(url).path}")


def unavailable(url: str, error: Exception) -> ArchiveUnavailable:
    """The error for a failed request. Names only the type of failure: messages of requests contain whole URLs."""
    if isinstance(error, requests.exceptions.SSLError):
        return ArchiveUnavailable(f"the archive at {origin(url)} has a certificate that can't be verified")
    if isinstance(error, (requests.Timeout, TimeoutError)):
        return ArchiveUnavailable(f"the archive at {origin(url)} doesn't answer in time")
    return ArchiveUnavailable(
        f"the archive at {origin(url)} can't be reached, or the connection was lost ({type(error).__name__})"
    )


def origin(url: str) -> str:
    """Scheme, host and port of a URL, without credentials, path or query: safe to show, and comparable."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    try:
        port = parts.port or default
    except ValueError:
        port = None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port != default else "")


def _is_transient(error: requests.RequestException) -> bool:
    return isinstance(error, (requests.ConnectionError, requests.Timeout)) and not isinstance(
        error, requests.exceptions.SSLError
    )


def _backoff(attempt: int) -> float:
    return float(min(0.25 * 2**attempt, 8.0) * random.uniform(0.5, 1.5))


def _retry_after(answer: requests.Response) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3: seconds or a date); None without one."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


class StallGuard:
    """Detects a response that is too slow overall; a timeout per read wouldn't."""

    def __init__(self, url: str, options: DicomwebOptions) -> None:
        self._url, self._options = url, options
        self._since, self._bytes = time.monotonic(), 0

    def saw(self, count: int) -> None:
        """Count received bytes. Raises `ArchiveUnavailable` below `options.slowest_rate` over
        `options.read_timeout`."""
        self._bytes += count
        elapsed = time.monotonic() - self._since
        if elapsed < self._options.read_timeout:
            return
        if self._bytes < elapsed * self._options.slowest_rate:
            raise ArchiveUnavailable(
                f"the archive at {origin(self._url)} sends only {self._bytes / elapsed:.0f} bytes a second"
            )
        self._since, self._bytes = time.monotonic(), 0
