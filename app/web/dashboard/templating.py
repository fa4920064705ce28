"""The templates, with the few words they share for numbers and times."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment() -> Environment:
    found = Environment(
        loader=PackageLoader("app.web.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "moment": moment,
        "share": share,
        "dice": dice,
        "mebibytes": mebibytes,
        "duration": duration,
        "segment": lambda text: quote(text, safe=""),
    }
    return found


UNKNOWN = "\N{EN DASH}"
"""What stands in a table where there is no number."""


def moment(time: datetime) -> Markup:
    """A time in UTC; the page's script writes it the way the reader is used to."""
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = time.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(iso, text)


def share(value: float) -> str:
    """0..1 as a percentage, without claiming all or nothing before it is true."""
    percent = round(100 * value)
    if percent == 100 and value < 1:
        percent = 99
    if percent == 0 and value > 0:
        percent = 1
    return f"{percent} %"


def dice(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB".replace(",", "\N{NO-BREAK SPACE}")


def duration(seconds: float | None) -> str:
    """In the two largest units: `45 s`, `3 min 10 s`, `2 h 5 min`."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
