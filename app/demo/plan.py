"""The phantom patients and series, without voxels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from app.core.volume import Geometry
from app.demo.anatomy import PHASES

PATIENT_PREFIX = "SEGLOOP-PHANTOM-"
"""The prefix of every phantom's PatientID, which marks it as synthetic and can be used as an archive filter."""

FOLLOW_UP_EVERY = 3
"""One patient in this many has a second visit half a year later."""


@dataclass(frozen=True)
class Study:
    """One patient's visit with its one CT series.

    `number` is the patient's, from 1; `visit` counts from 0. `seed` is the patient's: visits share an anatomy.
    """

    number: int
    visit: int
    seed: int
    phase: str
    noise: float
    geometry: Geometry
    reversed: bool
    oblique: bool

    @property
    def patient_id(self) -> str:
        return f"{PATIENT_PREFIX}{self.seed}-{self.number:03d}"

    @property
    def study_uid(self) -> str:
        return self.uid("study")

    @property
    def series_uid(self) -> str:
        return self.uid("series")

    @property
    def description(self) -> str:
        how = " oblique" if self.oblique else " stored feet first" if self.reversed else ""
        return f"Abdomen {self.phase}{how}"

    @property
    def folder_name(self) -> str:
        return f"patient-{self.number:03d}/visit-{self.visit + 1}"

    def uid(self, what: str) -> str:
        """A UID derived from this study and `what` (PS3.5 B.2: 2.25 and a 128-bit number)."""
        text = f"segloop phantom/{self.seed}/{self.number}/{self.visit}/{self.geometry.shape}/{what}"
        return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def planned(patients: int, seed: int) -> list[Study]:
    """The studies of `patients` patients. The second patient's series is reversed, the third's oblique."""
    studies = []
    for number in range(1, patients + 1):
        rng = np.random.default_rng([seed, number])
        for visit in range(2 if number % FOLLOW_UP_EVERY == 1 and patients > 1 else 1):
            oblique = number == 3
            studies.append(
                Study(
                    number=number,
                    visit=visit,
                    seed=seed,
                    phase=tuple(PHASES)[(number + visit) % len(PHASES)],
                    noise=float(rng.uniform(8, 15)),
                    geometry=_grid(rng, oblique),
                    reversed=number == 2,
                    oblique=oblique,
                )
            )
    return studies


def _grid(rng: np.random.Generator, oblique: bool) -> Geometry:
    """A grid over the upper abdomen, small enough for a fast demo on two cores."""
    columns = int(rng.choice([104, 112, 120]))
    width = round(340.0 / columns, 3)
    thickness = float(rng.choice([4.5, 5.0]))
    shape = (round(200 / thickness), columns, columns)
    turn = _rotation(14.0, -9.0) if oblique else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([width, width, thickness])
    affine[:3, 3] = affine[:3, :3] @ np.array([-(n - 1) / 2 for n in reversed(shape)])
    return Geometry(shape, np.round(affine, 6))


def _rotation(about_x: float, about_z: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    a, b = np.deg2rad([about_x, about_z])
    first = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    second = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(second @ first)
