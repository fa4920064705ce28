"""The scenarios in which strategies are compared. Data only.

A scenario is committed before any strategy is compared in it, and isn't changed afterwards: results of different
versions of it couldn't be compared. To ask something else, add a scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.core.model import Option

STRUCTURES = ("liver", "spleen", "kidneys", "vessel", "lesion")
"""The structures of the phantoms; a labelmap's values are 1-based positions here."""


@dataclass(frozen=True)
class Acquisition:
    """How a phantom is scanned. `share` of the patients are scanned so, and `test_cases` of the test cases.

    `intensities` are those of air, of the body and of each structure, before the image is standardised. `noise` is the
    standard deviation of its noise, `bias` the amplitude of a linear intensity gradient across the body, `blur` twice
    the standard deviation of the in-plane blur in voxels.
    """

    name: str
    share: float
    test_cases: int
    intensities: tuple[float, ...]
    noise: float
    bias: float
    blur: float


ACQUISITIONS = (
    Acquisition("contrast-enhanced", 0.60, 12, (-1.0, 0.0, 0.50, 0.85, 1.2, 1.6, -0.35), 0.09, 0.08, 0.4),
    Acquisition("non-contrast", 0.18, 10, (-1.0, 0.0, 0.45, 0.62, 0.38, 0.30, -0.3), 0.10, 0.10, 0.4),
    Acquisition("inverted", 0.15, 10, (-1.0, 0.6, -0.10, 0.20, 1.1, -0.7, 0.95), 0.10, 0.25, 0.4),
    # Its noise can't be learnt: a strategy that prefers it wastes its labels.
    Acquisition("noisy", 0.07, 4, (-1.0, 0.0, 0.35, 0.50, 0.65, 0.80, -0.3), 0.50, 0.15, 0.8),
)


@dataclass(frozen=True)
class Phantoms:
    """A pool of `cases` phantoms of `patients` patients, anew for each seed, and test cases that are the same for all.

    A patient has a lesion with the probability `lesions`. The cases that aren't a patient's first are follow-ups of the
    first `followed_up` patients with the commonest acquisition and without a lesion. The test cases are of other
    patients, so many of each acquisition as that says, and every `test_lesions`-th has a lesion: they reward coverage
    of what is rare.
    """

    patients: int
    cases: int
    followed_up: int = 6
    lesions: float = 0.15
    test_lesions: int = 3
    acquisitions: tuple[Acquisition, ...] = ACQUISITIONS


@dataclass(frozen=True)
class Labelling:
    """How people label: `first` cases at random before the first training, then `per_round` cases before each of
    `rounds` trainings. `annotators` work at once: each holds a case before the first of them submits."""

    first: int
    per_round: int
    rounds: int
    annotators: int = 1


@dataclass(frozen=True)
class Learner:
    """What learns: a model of the settings, of a type that gives probabilities, with a trainer and its options. The
    first training has `first_epochs`; later ones start from the version before and have `epochs`."""

    type: str = "segmentation"
    trainer: str = "segmentation"
    options: Mapping[str, Option] = field(default_factory=dict)
    first_epochs: int = 5
    epochs: int = 3


@dataclass(frozen=True)
class Scenario:
    """`phantoms` None: cases that the user brings, of which `test_share` (by patient) are for testing."""

    name: str
    description: str
    phantoms: Phantoms | None
    labelling: Labelling
    learner: Learner
    test_share: float = 1 / 3


# 600 and then 300 steps of 4 whole cases: about where longer training, with patient_random and a seed that isn't for
# comparisons (100), no longer changed the curve much. The cases and the rounds are those of the prototype that these
# scenarios come from; its 2D network made 90 and 54 steps.
SMALL = Learner(
    options={
        "patch": "8,32,32",
        "features": "16,32,64",
        "spacing": "0,0,0",
        "batch": 4,
        "steps_per_epoch": 20,
        "learning_rate": 1e-2,
        "dropout": 0.2,
    },
    first_epochs=30,
    epochs=15,
)

REDUNDANT = Scenario(
    "redundant",
    "72 cases of 36 patients; half of the cases are follow-ups of 6 ordinary patients. One annotator",
    Phantoms(patients=36, cases=72),
    Labelling(first=4, per_round=4, rounds=5),
    SMALL,
)
NO_REDUNDANCY = replace(
    REDUNDANT,
    name="no-redundancy",
    description="72 cases of 72 patients. One annotator",
    phantoms=Phantoms(patients=72, cases=72),
)
FOUR_ANNOTATORS = replace(
    REDUNDANT,
    name="four-annotators",
    description="As redundant, with four annotators who hold a case each at the same time",
    labelling=replace(REDUNDANT.labelling, annotators=4),
)
OWN_CASES = Scenario(
    "own-cases",
    "Cases that the user brings; a third of the patients are for testing",
    None,
    Labelling(first=4, per_round=4, rounds=5),
    Learner(first_epochs=50, epochs=25),
)

SCENARIOS = {one.name: one for one in (REDUNDANT, NO_REDUNDANCY, FOUR_ANNOTATORS, OWN_CASES)}
