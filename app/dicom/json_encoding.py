"""Instance headers as DICOM JSON (PS3.18 annex F), fast for a whole series.

The slices of a series share most elements, so encoded elements are cached by their bytes. pydicom converts values;
those that it can't convert (an invalid date or number) are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from app.dicom.parsing import PARSER_ERRORS, check_character_sets
from app.dicom.pixel_layout import PixelLayout
from app.errors import BadFile

INLINE_BYTES = 1024
"""Binary values up to this size are inline; for larger ones the JSON has a BulkDataURI."""

BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_CHARACTER_SET, _SYNTAX = Tag("SpecificCharacterSet"), Tag("AvailableTransferSyntaxUID")
_ADDRESS = b'"BulkDataURI":"'


class JsonEncoder:
    """Encodes instances of one series, with a cache of encoded elements. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}

    def instance(self, header: Dataset, pixels: PixelLayout | None, syntax: str, address: str) -> str:
        """The JSON object of `header`, which has no pixel data; `pixels` is their location in the file.

        Bulk data have the address `address` + `/bulkdata/` + path; see `with_root`.
        """
        parts = dict(self._elements(header, f"{address}/bulkdata/"))
        # JSON is always UTF-8 (PS3.18 F.2).
        if _CHARACTER_SET in parts:
            parts[_CHARACTER_SET] = '{"vr":"CS","Value":["ISO_IR 192"]}'
        parts[_SYNTAX] = f'{{"vr":"UI","Value":["{syntax}"]}}'
        if pixels is not None:
            tag = Tag(pixels.tag)
            parts[tag] = _at(pixels.vr, f"{address}/bulkdata/{tag:08X}")
        return _joined(parts)

    def _elements(self, dataset: Dataset, path: str) -> Iterator[tuple[BaseTag, str]]:
        characters = str(dataset.original_character_set)
        # The meaning of bytes depends on the character set and the byte order.
        setting = (characters, dataset.original_encoding)
        for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset would convert every element
            if tag.element == 0:
                continue
            raw = dataset.get_item(tag)
            key = None
            if isinstance(raw, RawDataElement) and raw.VR != "SQ" and len(raw.value or b"") <= INLINE_BYTES:
                key = (tag, raw.VR, raw.value, setting)
                known = self._known.get(key)
                if known is not None:
                    if known:
                        yield tag, known
                    continue
            encoded = self._element(dataset, tag, path)
            # A sequence may be raw bytes of VR UN, and addresses in it belong to this instance only.
            if key is not None and _ADDRESS.decode() not in encoded:
                self._known[key] = encoded
            if encoded:
                yield tag, encoded

    def _element(self, dataset: Dataset, tag: BaseTag, path: str) -> str:
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    check_character_sets(item)
                items = [
                    _joined(dict(self._elements(item, f"{path}{tag:08X}/{number}/")))
                    for number, item in enumerate(element.value, start=1)
                ]
                return '{"vr":"SQ"' + (f',"Value":[{",".join(items)}]' if items else "") + "}"
            if element.VR in BULK_VRS:
                return _binary(element, dataset.original_encoding[1] is False, f"{path}{tag:08X}")
            return json.dumps(element.to_json_dict(None, 0), separators=(",", ":"), allow_nan=False)
        except BadFile:
            return ""
        except PARSER_ERRORS:
            return ""


def with_root(encoded: bytes, root: bytes) -> bytes:
    """Encoded instances with `root`, the service's address without a trailing slash, as a prefix of bulk addresses.

    A search for the key with its quotes is safe: within values quotes are escaped.
    """
    return encoded.replace(_ADDRESS, _ADDRESS + root + b"/")


def bulk_value(header: Dataset, path: str) -> bytes:
    """The value at a path as in a bulk address, of alternating tags and item numbers; little endian.

    Raises `KeyError` if there is none.
    """
    *outer, last = path.split("/")
    try:
        for sequence, number in zip(outer[::2], outer[1::2], strict=True):
            header = header[int(sequence, 16)].value[int(number) - 1]
        element = header[int(last, 16)]
        if element.VR not in BULK_VRS:
            raise KeyError(path)
        return _little_endian(element, header.original_encoding[1] is False)
    except PARSER_ERRORS:
        raise KeyError(path) from None


def _binary(element: DataElement, swapped: bool, address: str) -> str:
    value = element.value
    if not value:
        return f'{{"vr":"{element.VR}"}}'
    if len(value) > INLINE_BYTES:
        return _at(element.VR, address)
    inline = base64.b64encode(_little_endian(element, swapped)).decode()
    return f'{{"vr":"{element.VR}","InlineBinary":"{inline}"}}'


def _little_endian(element: DataElement, swapped: bool) -> bytes:
    value = bytes(element.value or b"")
    size = _WORDS.get(element.VR, 1)
    if not swapped or size == 1 or len(value) % size:
        return value
    return np.frombuffer(value, f">u{size}").astype(f"<u{size}").tobytes()


def _at(vr: str, address: str) -> str:
    return f'{{"vr":"{vr}",{_ADDRESS.decode()}{address}"}}'


def _joined(parts: dict[BaseTag, str]) -> str:
    return "{" + ",".join(f'"{tag:08X}":{parts[tag]}' for tag in sorted(parts)) + "}"
