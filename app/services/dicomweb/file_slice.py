"""Bytes that an answer takes from a file as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO


@dataclass(frozen=True)
class FileSlice:
    """`length` bytes of an open file from `start` on. Whoever has it closes the file."""

    file: FileIO
    start: int
    length: int

    def read(self) -> bytes:
        return os.pread(self.file.fileno(), self.length, self.start)
