"""Values worked out by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from numpy.typing import NDArray

from app.learning.uncertainty import entropy, mutual_information, summarise


def everywhere(*chances: float) -> NDArray[np.float32]:
    """Probabilities `(class, 1, 1, 1)`."""
    return np.array(chances, np.float32).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.5, 0.5), 1.0),
        ((1.0, 0.0), 0.0),
        ((0.25, 0.25, 0.25, 0.25), 1.0),
        ((0.5, 0.5, 0.0, 0.0), 0.5),  # log 2 / log 4
        ((0.9, 0.1), -(0.9 * log(0.9) + 0.1 * log(0.1)) / log(2)),
    ],
)
def test_entropy(chances: tuple[float, ...], expected: float) -> None:
    assert float(entropy(everywhere(*chances))[0, 0, 0]) == pytest.approx(expected, abs=1e-6)


def test_members_that_agree_tell_nothing_however_unsure_they_are() -> None:
    information, mean = mutual_information([everywhere(0.5, 0.5), everywhere(0.5, 0.5)])
    assert float(information[0, 0, 0]) == pytest.approx(0, abs=1e-6)
    assert mean.ravel().tolist() == [0.5, 0.5]


def test_members_that_are_sure_of_different_things_disagree_most() -> None:
    information, mean = mutual_information([everywhere(1, 0), everywhere(0, 1)])
    assert float(information[0, 0, 0]) == pytest.approx(1, abs=1e-6)
    assert mean.ravel().tolist() == [0.5, 0.5]


def test_disagreement_in_between() -> None:
    information, _ = mutual_information([everywhere(0.9, 0.1), everywhere(0.1, 0.9)])
    own = -(0.9 * log(0.9) + 0.1 * log(0.1)) / log(2)
    assert float(information[0, 0, 0]) == pytest.approx(1 - own, abs=1e-5)


def test_members_are_not_changed_and_none_is_an_error() -> None:
    first = everywhere(1, 0)
    mutual_information([first, everywhere(0, 1)])
    assert first.ravel().tolist() == [1, 0]
    with pytest.raises(ValueError, match="at least one"):
        mutual_information([])


def found(shape: tuple[int, int, int], chance: float, box: tuple[slice, slice, slice]) -> NDArray[np.float32]:
    """Two classes: the structure with `chance` in a box, nowhere else."""
    probabilities = np.zeros((2, *shape), np.float32)
    probabilities[1][box] = chance
    probabilities[0] = 1 - probabilities[1]
    return probabilities


BOX = (slice(4, 6), slice(4, 14), slice(4, 14))


def test_air_around_the_structure_does_not_count() -> None:
    small = found((10, 20, 20), 0.8, BOX)
    large = np.pad(small, ((0, 0), (0, 0), (0, 60), (0, 60)))
    large[0] = 1 - large[1]
    near = summarise(entropy(small), small, ("s",), 10)
    far = summarise(entropy(large), large, ("s",), 10)
    assert near == far
    own = -(0.8 * log(0.8) + 0.2 * log(0.2)) / log(2)
    assert near.value == pytest.approx(own, abs=1e-5)  # the top 5 % lie inside the box, which is all alike
    assert near.per_class == {"s": pytest.approx(own, abs=1e-5)}


def test_what_was_nearly_found_counts() -> None:
    missed = found((10, 20, 20), 0.3, BOX)  # nowhere above one half
    own = -(0.3 * log(0.3) + 0.7 * log(0.7)) / log(2)
    assert summarise(entropy(missed), missed, ("s",), 10).value == pytest.approx(own, abs=1e-5)


def test_slices_are_those_of_the_case() -> None:
    probabilities = found((10, 20, 20), 0.8, BOX)
    assert set(summarise(entropy(probabilities), probabilities, ("s",), 10).slices) == {4, 5}
    # A case with three times as many slices: the middles of model slices 4 and 5.
    assert set(summarise(entropy(probabilities), probabilities, ("s",), 30).slices) == {13, 16}


def test_a_case_in_which_nothing_is_found() -> None:
    nothing = found((4, 8, 8), 0.0, BOX)
    summary = summarise(entropy(nothing), nothing, ("s",), 4)
    assert (summary.value, summary.per_class, summary.slices) == (0.0, {"s": 0.0}, ())
