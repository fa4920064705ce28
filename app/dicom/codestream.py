"""What a compressed frame says about its own size, read before a decoder allocates it."""

from __future__ import annotations

import struct

from app.errors import BadFile

# Start-of-frame markers of JPEG (ITU-T T.81 table B.1) and JPEG-LS (T.87 C.1.1): 0xC4, 0xC8, 0xCC are other segments.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_JPEG2000_START = b"\xff\x4f\xff\x51"


def check_size(frame: bytes, *, rows: int, columns: int) -> None:
    """Raise `BadFile` if a JPEG, JPEG-LS or JPEG 2000 frame is of another size than the header declares."""
    size = _jpeg2000_size(frame) if _JPEG2000_START in frame[:512] else _jpeg_size(frame)
    if size != (rows, columns):
        raise BadFile(f"an image declares {rows} x {columns} pixels, its compressed frame says {size}")


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG or JPEG-LS codestream, None if it has no start of frame."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        (length,) = struct.unpack_from(">H", frame, at + 2)
        at += 2 + length
    return None


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG 2000 codestream, bare or in JP2 boxes (ITU-T T.800 A.5.1)."""
    at = frame.index(_JPEG2000_START, 0, 512) + len(_JPEG2000_START)
    if at + 20 > len(frame):
        return None
    x_end, y_end, x_start, y_start = struct.unpack_from(">4L", frame, at + 4)
    return y_end - y_start, x_end - x_start
