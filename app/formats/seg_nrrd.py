"""The segments that the header of a 3D Slicer `.seg.nrrd` describes.

Keys are `SegmentN_Name`, `SegmentN_LabelValue`, `SegmentN_Layer`, `SegmentN_Color` and `SegmentN_Tags`
(https://slicer.readthedocs.io/en/latest/user_guide/modules/segmentations.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.core.mask import Code, Segment
from app.errors import BadInput


@dataclass(frozen=True)
class DescribedSegment:
    """A segment, numbered by its place in the header, with the value that it has in its layer."""

    value: int
    layer: int
    segment: Segment


def described_segments(fields: Mapping[str, str]) -> list[DescribedSegment]:
    """The segments in the order of their N; none if the header describes none. Raises `BadInput`."""
    numbers = sorted(int(m[1]) for key in fields if (m := re.fullmatch(r"Segment(\d{1,5})_LabelValue", key)))
    described = []
    for position, n in enumerate(numbers, start=1):
        value, layer = fields[f"Segment{n}_LabelValue"], fields.get(f"Segment{n}_Layer", "0")
        if not re.fullmatch(r"\d{1,5}", value) or not re.fullmatch(r"\d{1,5}", layer):
            raise BadInput(f"the mask's header gives segment {n} the value {value[:16]!r} in layer {layer[:16]!r}")
        name = fields.get(f"Segment{n}_Name") or fields.get(f"Segment{n}_ID") or f"Segment {position}"
        category, kind = _terms(fields.get(f"Segment{n}_Tags", ""))
        color = _color(fields.get(f"Segment{n}_Color", ""))
        segment = Segment(position, name, int(layer), category=category, type=kind, color=color)
        described.append(DescribedSegment(int(value), int(layer), segment))
    if len({(d.value, d.layer) for d in described}) < len(described):
        raise BadInput("the mask's header gives two segments the same value")
    return described


def _terms(tags: str) -> tuple[Code | None, Code | None]:
    """Category and type of Slicer's `TerminologyEntry:context~scheme^value^meaning~scheme^value^meaning~...|`."""
    entry = re.search(r"TerminologyEntry:[^~|]*~([^~^|]*\^[^~^|]*\^[^~^|]*)~([^~^|]*\^[^~^|]*\^[^~^|]*)", tags)
    if entry is None:
        return None, None
    (scheme, value, meaning), (scheme2, value2, meaning2) = entry[1].split("^"), entry[2].split("^")
    if not (value and value2):
        return None, None
    return Code(value, scheme, meaning), Code(value2, scheme2, meaning2)


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = (round(255 * min(1.0, max(0.0, float(part)))) for part in text.split())
    except ValueError:
        return None
    return red, green, blue
