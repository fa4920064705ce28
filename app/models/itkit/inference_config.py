"""ITKIT's `inference_config`: how large the windows are and how far apart (docs/protocols/itkit.md, section 4).

Of its other keys, those that name devices and batch sizes say nothing about the result; the server knows its devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.volume import Index
from app.errors import BadOption


@dataclass(frozen=True)
class InferenceConfig:
    """Sizes `(k, j, i)` in voxels; None where nothing is said."""

    patch: Index | None = None
    stride: Index | None = None

    @classmethod
    def read(cls, values: Mapping[str, object]) -> InferenceConfig:
        """From a JSON object; unknown keys are ignored. Raises `BadOption` for sizes that are none."""
        return cls(_sizes(values, "patch_size"), _sizes(values, "patch_stride"))

    def over(self, other: InferenceConfig) -> InferenceConfig:
        """This one, and where it says nothing, the other."""
        return InferenceConfig(self.patch or other.patch, self.stride or other.stride)

    def stride_for(self, patch: Index) -> Index:
        """The stride, by default half the patch. Raises `BadOption` for one that leaves gaps."""
        k, j, i = (max(1, size // 2) for size in patch)
        stride = self.stride or (k, j, i)
        if any(step > size for step, size in zip(stride, patch, strict=True)):
            raise BadOption(f"windows of {patch} voxels that are {stride} apart leave gaps; patch_stride is too large")
        return stride


def _sizes(values: Mapping[str, object], key: str) -> Index | None:
    value = values.get(key)
    if value is None:
        return None
    if (
        not isinstance(value, list | tuple)
        or len(value) != 3
        or not all(type(n) is int and 1 <= n <= 4096 for n in value)
    ):
        raise BadOption(f"{key} is a list of three whole numbers from 1 to 4096, not {str(value)[:80]}")
    return value[0], value[1], value[2]
