from __future__ import annotations

from app.core.model import ModelVersion, VersionState, best_version, version_before


def version(
    number: int, state: VersionState = "published", parent: str = "", dice: float | None = None
) -> ModelVersion:
    metrics = {} if dice is None else {"best_metric": dice}
    return ModelVersion(f"m-{number}", "m", number, parent, "", "", state, "", metrics, (), "", "", 0.0)


def test_back_to_the_newest_earlier_version_that_somebody_or_the_gate_published() -> None:
    first, refused, third = version(1), version(2, "rejected"), version(3)
    assert version_before([third, refused, first], third) == first
    assert version_before([third, refused, first], first) is None
    assert version_before([third, refused, first], None) is None
    # Trained from the second one, so that was served: a person had published it.
    fourth = version(4, parent="m-2")
    assert version_before([fourth, refused, first], fourth) == refused


def test_the_best_so_far_was_published_and_not_rolled_back() -> None:
    versions = [version(1), version(2, dice=0.7), version(3, "rejected", dice=0.9), version(4, dice=0.6)]
    versions += [version(5, dice=0.8)]
    assert best_version(versions, versions[3]) == versions[1]
    assert best_version(versions, versions[4]) == versions[4]
    assert best_version(versions, versions[0]) == versions[0]
