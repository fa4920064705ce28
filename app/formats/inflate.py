"""Deflated files (RFC 1950 to 1952) that are inflated only as far as they are read.

zlib copies the rest of its input at the end of each call and of each gzip member. So that inflating takes time in
proportion to its input and output however a file was made, the input is given in steps that begin small at each member,
and short reads come from a buffer.
"""

from __future__ import annotations

import zlib
from typing import IO

GZIP = zlib.MAX_WBITS | 16
ZLIB = zlib.MAX_WBITS

GREATEST_RATIO = 1032
"""The highest compression ratio of deflate (RFC 1951: 258 bytes in 2 bits)."""

_BLOCK = 1 << 20
_FIRST_STEP = 1 << 10
_LAST_STEP = 1 << 18
_SHORT = 1 << 16


class InflatedFile:
    """The inflated content of `file` from its present position. With `members`, a gzip file may have several, and zeros
    after the last. Methods raise `zlib.error` for damaged streams, and `OSError`."""

    def __init__(self, file: IO[bytes], wbits: int, *, members: bool = False) -> None:
        self._file, self._wbits, self._members = file, wbits, members
        self._inflater = zlib.decompressobj(wbits=wbits)
        self._block, self._at, self._step = b"", 0, _FIRST_STEP
        self._ready = memoryview(b"")

    @property
    def complete(self) -> bool:
        """Whether the stream's end was reached, including its checksum."""
        return self._inflater.eof

    def read_into(self, target: memoryview) -> int:
        """Fill `target`, of bytes, unless the stream ends before; the number of bytes."""
        done = 0
        while done < len(target):
            wanted = len(target) - done
            if not self._ready:
                self._ready = memoryview(self._inflated(_SHORT if wanted < _SHORT else min(wanted, _BLOCK)))
                if not self._ready:
                    break
            piece = self._ready[:wanted]
            target[done : done + len(piece)] = piece
            self._ready = self._ready[len(piece) :]
            done += len(piece)
        return done

    def skip(self, count: int) -> None:
        """Read `count` bytes, or up to the end."""
        passed = memoryview(bytearray(min(count, _SHORT)))
        while count > 0 and (read := self.read_into(passed[:count])):
            count -= read

    def has_more(self) -> bool:
        """Whether another byte can be read."""
        return self.read_into(memoryview(bytearray(1))) == 1

    def has_trailer(self) -> bool:
        """Whether anything follows the complete stream in the file."""
        return self._at < len(self._block) or bool(self._file.read(1))

    def _inflated(self, most: int) -> bytes:
        """From one to `most` bytes; none at the end."""
        while True:
            if self._inflater.eof and not self._next_member():
                return b""
            source = self._inflater.unconsumed_tail or self._input()
            inflated = self._inflater.decompress(source, most)
            if self._inflater.eof:
                self._at -= len(self._inflater.unused_data)
            if inflated or (not source and not self._inflater.eof):
                return inflated

    def _input(self) -> bytes:
        """The next step of the file. What of it isn't consumed, or follows the stream's end, lies in this block."""
        if self._at == len(self._block):
            self._block, self._at = self._file.read(_BLOCK), 0
        source = self._block[self._at : self._at + self._step]
        self._at += len(source)
        self._step = min(2 * self._step, _LAST_STEP)
        return source

    def _next_member(self) -> bool:
        if not self._members:
            return False
        if self._at == len(self._block):
            self._block, self._at = self._file.read(_BLOCK), 0
        if self._block[self._at : self._at + 1] in (b"", b"\0") and not self._block[self._at :].strip(b"\0"):
            return False
        self._inflater = zlib.decompressobj(wbits=self._wbits)
        self._step = _FIRST_STEP
        return True
