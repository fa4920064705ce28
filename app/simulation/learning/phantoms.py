"""The phantoms of the scenarios: small abdomens in the commonest and in rarer acquisitions, some with a lesion.

Each is 8 x 32 x 32 voxels, so that a network learns something about them in seconds. The same seed gives the same
phantoms, and the order of the random draws is that of the prototype which the scenarios come from: a pool is voxel by
voxel what it was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.mask import Mask
from app.core.volume import Geometry, Volume
from app.simulation.learning.cases import LabelledCase, Split
from app.simulation.learning.scenarios import STRUCTURES, Acquisition, Phantoms

SHAPE = (8, 32, 32)
GEOMETRY = Geometry(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))

_POOL_SEED = 1000
_TEST_SEED = 7
_MOTION = 0.35
"""By how many voxels an organ's centre moves between two visits (standard deviation); its radii by a quarter."""

_K, _J, _I = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PhantomSource:
    """The phantoms of a scenario, as a `Source`."""

    phantoms: Phantoms

    def split(self, seed: int) -> Split:
        """See `Source.split`. A tenth of a second."""
        return Split(pool_of(self.phantoms, seed), held_out_cases(self.phantoms))


@dataclass(frozen=True)
class Ellipsoid:
    """`centre` and `radii` in voxels `(k, j, i)`, turned by `angle` (radians) about the axis k."""

    centre: Triple
    radii: Triple
    angle: float = 0.0

    @property
    def voxels(self) -> NDArray[np.bool_]:
        dk, dj, di = _K - self.centre[0], _J - self.centre[1], _I - self.centre[2]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along, across = cos * dj + sin * di, -sin * dj + cos * di
        rk, rj, ri = self.radii
        return np.asarray((dk / rk) ** 2 + (along / rj) ** 2 + (across / ri) ** 2 <= 1)


@dataclass(frozen=True)
class Vessel:
    """A tube along k through `(j, i)` on the middle slice, which shifts by `slope` voxels along j with each slice."""

    j: float
    i: float
    radius: float
    slope: float

    @property
    def voxels(self) -> NDArray[np.bool_]:
        return np.asarray((_J - self.j - self.slope * (_K - 4)) ** 2 + (_I - self.i) ** 2 <= self.radius**2)


@dataclass(frozen=True)
class Patient:
    """`organs` has the liver, the spleen, the left and the right kidney. `lesions` count inside the liver only."""

    body: Ellipsoid
    organs: Mapping[str, Ellipsoid]
    vessel: Vessel
    lesions: tuple[Ellipsoid, ...] = ()


def pool_of(phantoms: Phantoms, seed: int) -> list[LabelledCase]:
    """The pool of one seed, in random order."""
    rng = np.random.default_rng(_POOL_SEED + seed)
    patients: list[tuple[Patient, Acquisition]] = []
    cases: list[LabelledCase] = []
    for number in range(phantoms.patients):
        patient = _patient(rng)
        if rng.random() < phantoms.lesions:
            patient = _with_lesions(patient, rng)
        acquisition = _acquisition(phantoms, rng)
        patients.append((patient, acquisition))
        cases.append(_scanned(patient, acquisition, rng, f"patient-{number}", visit=0))
    usual = phantoms.acquisitions[0]
    ordinary = [n for n, (patient, how) in enumerate(patients) if how == usual and not patient.lesions]
    followed_up = ordinary[: phantoms.followed_up] or [0]
    for visit in range(len(cases), phantoms.cases):
        number = followed_up[(visit - phantoms.patients) % len(followed_up)]
        patient, acquisition = patients[number]
        moved = _moved(patient, rng)
        cases.append(_scanned(moved, acquisition, rng, f"patient-{number}", visit))
    return [cases[index] for index in rng.permutation(len(cases))]


def held_out_cases(phantoms: Phantoms) -> list[LabelledCase]:
    """The test cases, of patients who are in no pool."""
    rng = np.random.default_rng(_TEST_SEED)
    order = [one for one in phantoms.acquisitions for _ in range(one.test_cases)]
    cases = []
    for number, acquisition in enumerate(order):
        patient = _patient(rng)
        if number % phantoms.test_lesions == 0:
            patient = _with_lesions(patient, rng)
        cases.append(_scanned(patient, acquisition, rng, f"test-{number}", visit=0))
    return cases


def _patient(rng: np.random.Generator) -> Patient:
    def drawn(*bounds: tuple[float, float]) -> Iterator[float]:
        return (rng.uniform(low, high) for low, high in bounds)

    def organ(
        centre: tuple[tuple[float, float], ...], radii: tuple[tuple[float, float], ...], turn: float
    ) -> Ellipsoid:
        k, j, i = drawn(*centre)
        rk, rj, ri = drawn(*radii)
        return Ellipsoid((k, j, i), (rk, rj, ri), rng.uniform(-turn, turn))

    depth, width = drawn((12.5, 15), (13.5, 15.5))
    kidney = ((2, 3), (1.8, 2.8), (1.5, 2.3))
    organs = {
        "liver": organ(((3, 5), (11, 15), (8, 12)), ((2.6, 4), (4.5, 6.5), (4, 6)), 0.5),
        "spleen": organ(((3, 5), (11, 15), (22, 25.5)), ((2, 3), (2.4, 3.8), (2.0, 3.2)), 0.6),
        "left kidney": organ(((3, 5), (21, 24), (20, 23.5)), kidney, 0.5),
        "right kidney": organ(((3, 5), (21, 24), (8.5, 12)), kidney, 0.5),
    }
    vessel = Vessel(*drawn((18, 21), (14.5, 17.5), (1.1, 1.6), (-0.3, 0.3)))
    return Patient(Ellipsoid((4, 16, 16), (40, depth, width)), organs, vessel)


def _with_lesions(patient: Patient, rng: np.random.Generator) -> Patient:
    liver = patient.organs["liver"]
    lesions = []
    for _ in range(rng.integers(1, 3)):
        k, j, i = (x + rng.uniform(-0.55, 0.55) * r for x, r in zip(liver.centre, liver.radii, strict=True))
        radius = rng.uniform(1.9, 3.0)
        lesions.append(Ellipsoid((k, j, i), (radius * 0.8, radius, radius)))
    return replace(patient, lesions=tuple(lesions))


def _moved(patient: Patient, rng: np.random.Generator) -> Patient:
    """The same patient at another visit."""
    organs = {}
    for name, organ in patient.organs.items():
        k, j, i = (x + rng.normal(0, _MOTION) for x in organ.centre)
        rk, rj, ri = (max(1.2, r + rng.normal(0, _MOTION / 4)) for r in organ.radii)
        organs[name] = Ellipsoid((k, j, i), (rk, rj, ri), organ.angle + rng.normal(0, 0.03))
    return replace(patient, organs=organs)


def _acquisition(phantoms: Phantoms, rng: np.random.Generator) -> Acquisition:
    shares = [one.share for one in phantoms.acquisitions]
    return phantoms.acquisitions[rng.choice(len(shares), p=shares)]


def _scanned(
    patient: Patient, acquisition: Acquisition, rng: np.random.Generator, patient_id: str, visit: int
) -> LabelledCase:
    labelmap = _labelmap(patient)
    air, body, *structures = acquisition.intensities
    inside = patient.body.voxels
    image = np.full(SHAPE, air, np.float32)
    image[inside] = body
    for number, intensity in enumerate(structures, start=1):
        image[labelmap == number] = intensity + rng.normal(0, 0.04)
    for _ in range(3):  # loops of bowel
        k, j, i = (rng.uniform(low, high) for low, high in ((1, 7), (8, 25), (8, 24)))
        rk, rj, ri = (rng.uniform(1.2, 2.2) for _ in range(3))
        loop = Ellipsoid((k, j, i), (rk, rj, ri)).voxels
        image[loop & inside & (labelmap == 0)] = body + rng.uniform(0.15, 0.6)
    image = ndimage.gaussian_filter(image, (acquisition.blur * 0.5, acquisition.blur, acquisition.blur))
    across, down = rng.uniform(-1, 1, 2)
    gradient = across * (_I - 16) / 16 + down * (_J - 16) / 16
    image = image + acquisition.bias * gradient * (image > -0.9)
    image = image + rng.normal(0, acquisition.noise, SHAPE)
    image = (image - image.mean()) / (image.std() + 1e-6)
    volume = Volume(image.astype(np.float32), GEOMETRY)
    mask = Mask.single(labelmap, list(STRUCTURES), GEOMETRY)
    return LabelledCase(f"{patient_id}-{visit}", patient_id, volume, mask, acquisition.name)


def _labelmap(patient: Patient) -> NDArray[np.uint8]:
    labelmap = np.zeros(SHAPE, np.uint8)
    for name, organ in patient.organs.items():
        structure = "kidneys" if name.endswith("kidney") else name
        labelmap[organ.voxels] = STRUCTURES.index(structure) + 1
    labelmap[patient.vessel.voxels] = STRUCTURES.index("vessel") + 1
    for lesion in patient.lesions:
        labelmap[lesion.voxels & (labelmap == STRUCTURES.index("liver") + 1)] = STRUCTURES.index("lesion") + 1
    return labelmap
