"""The active learning loop: labelling, training and scoring in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from app.core.volume import Volume
from app.demo.anatomy import STRUCTURES
from app.demo.annotator import Annotator, Played, mean_dice
from app.demo.client import Client, Trained
from app.demo.narrator import Narrator
from app.demo.phantoms import Truth, scanned
from app.demo.plan import planned


@dataclass(frozen=True, eq=False)
class Round:
    """The cases labelled in a round, and the training after it.

    `labels` counts all labels so far. `trained` is None without a trainer; `held_out` is the mean Dice on patients
    that the server never sees, None without a trained model.
    """

    number: int
    played: tuple[Played, ...]
    labels: int
    trained: Trained | None
    held_out: float | None


@dataclass(frozen=True)
class Game:
    """The loop: `rounds` rounds of `cases` cases each."""

    annotator: Annotator
    held_out: Sequence[HeldOut]
    rounds: int
    cases: int

    def play(self, narrator: Narrator) -> list[Round]:
        """Run all rounds, fewer if no cases are left. Raises `Refused`."""
        finished: list[Round] = []
        labels = 0
        for number in range(1, self.rounds + 1):
            played = self._label(number, narrator)
            if not played:
                narrator.say("every case is labelled")
                break
            labels += len(played)
            finished.append(self._learn(number, played, labels, narrator))
        return finished

    def _label(self, number: int, narrator: Narrator) -> tuple[Played, ...]:
        played: list[Played] = []
        with narrator.step(f"round {number}: labelling") as tell:
            for done in range(self.cases):
                share = done / self.cases
                one = self.annotator.play(lambda text, share=share: tell(share, text))  # type: ignore[misc]
                if one is None:
                    break
                played.append(one)
        for one in played:
            before = "no model yet" if one.before is None else f"automatic Dice {one.before:.2f}"
            narrator.say(
                f"  {one.sample.patient}: {before}, {one.after:.2f} after {one.clicks} clicks ({one.sample.reason})"
            )
        return tuple(played)

    def _learn(self, number: int, played: tuple[Played, ...], labels: int, narrator: Narrator) -> Round:
        client, model = self.annotator.client, self.annotator.auto_model
        info = client.info()
        trained = None
        if model in info["trainers"]:
            with narrator.step(f"round {number}: training {model} on {labels} labels") as tell:
                trained = client.train(model, tell)
        reached = measure(client, model, self.held_out, self.annotator.names)
        method = f"entropy_{model}"
        if number < self.rounds and method in info["scoring"]:
            with narrator.step(f"round {number}: scoring what is not labelled yet") as tell:
                client.score(method, tell)
        if trained is not None:
            known = "" if trained.validation is None else f", {trained.validation:.2f} on its own validation patients"
            on_new = "no answer" if reached is None else f"Dice {reached:.2f}"
            narrator.say(f"  {model} {trained.version or '(no version)'}: {on_new} on patients it never saw{known}")
        return Round(number, played, labels, trained, reached)


_OTHER_SEED = 7919
"""Added to the demo's seed: no patient is in both."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A patient the server never sees among its cases: the honest measure of what its models have learned. The image
    travels with each question, so it is no case, nobody is offered it, and no model is trained on it."""

    volume: Volume
    truth: Truth


def held_out(patients: int, seed: int) -> list[HeldOut]:
    """One series each of so many patients."""
    studies = [study for study in planned(patients, seed + _OTHER_SEED) if study.visit == 0]
    cases = []
    for study in studies:
        hu, labelmap = scanned(study)
        cases.append(HeldOut(Volume(hu, study.geometry, "CT"), Truth(labelmap, STRUCTURES, study.geometry)))
    return cases


def measure(client: Client, model: str, cases: Sequence[HeldOut], names: tuple[str, ...]) -> float | None:
    """Mean Dice of a model's automatic segmentation; None while it isn't trained. Raises `Refused`."""
    reached = []
    for case in cases:
        segmented = client.segment_volume(model, case.volume)
        if segmented is None:
            return None
        reached.append(mean_dice(segmented, case.truth, names))
    return mean(reached) if reached else None
