from __future__ import annotations

from app.core.model import ModelVersion, VersionState, version_before


def version(number: int, state: VersionState = "published", parent: str = "") -> ModelVersion:
    return ModelVersion(f"m-{number}", "m", number, parent, "", "", state, "", {}, (), "", "", 0.0)


def test_back_to_the_newest_earlier_version_that_somebody_or_the_gate_published() -> None:
    first, refused, third = version(1), version(2, "rejected"), version(3)
    assert version_before([third, refused, first], third) == first
    assert version_before([third, refused, first], first) is None
    assert version_before([third, refused, first], None) is None
    # Trained from the second one, so that was served: a person had published it.
    fourth = version(4, parent="m-2")
    assert version_before([fourth, refused, first], fourth) == refused
