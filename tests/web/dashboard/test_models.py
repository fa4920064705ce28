"""Learning curves and model versions, from rows as the catalog has them."""

from __future__ import annotations

from app.core.model import ModelCard
from app.web.dashboard.learning import learning_curves, model_versions
from tests.web.dashboard.values import a_version

VERSIONS = [
    a_version("liver", 3, 0.7),
    a_version("liver", 2, 0.4, "rejected"),
    a_version("spleen", 1, None),
    a_version("liver", 1, 0.5),
]
SERVED = {"liver": "liver-3", "spleen": "spleen-1"}
CARDS = [ModelCard(name, "automatic", f"segments {name}") for name in ("liver", "spleen", "kidney", "clicks")]


def test_curves_are_by_model_with_rejected_versions_apart() -> None:
    view = learning_curves(VERSIONS, SERVED)
    assert view.chart == {
        "versions": [1, 2, 3],
        "models": [
            {"name": "liver", "published": [0.5, None, 0.7], "rejected": [None, 0.4, None]},
            {"name": "spleen", "published": [None, None, None], "rejected": [None, None, None]},
        ],
    }
    liver = view.curves[0]
    assert [(p.number, p.dice, p.cases, p.published, p.served) for p in liver.points] == [
        (1, 0.5, 4, True, False),
        (2, 0.4, 4, False, False),
        (3, 0.7, 4, True, True),
    ]


def test_a_version_that_nothing_was_measured_for_is_no_point() -> None:
    assert not learning_curves([a_version("spleen", 1, None)], {}).measured
    assert learning_curves(VERSIONS, SERVED).measured
    assert learning_curves([], {}).curves == ()


def test_models_that_are_trained_or_have_versions_newest_first() -> None:
    views = model_versions(CARDS, ["kidney"], VERSIONS, SERVED)
    assert [view.name for view in views] == ["liver", "spleen", "kidney"]
    liver, spleen, kidney = views
    assert [(row.id, row.published, row.served, row.dice) for row in liver.versions] == [
        ("liver-3", True, True, 0.7),
        ("liver-2", False, False, 0.4),
        ("liver-1", True, False, 0.5),
    ]
    assert liver.versions[0].by_structure == (("liver", 0.7),)
    assert (spleen.versions[0].dice, spleen.versions[0].by_structure) == (None, ())
    assert kidney.versions == ()


def test_rolling_back_skips_what_was_rejected() -> None:
    liver, spleen, kidney = model_versions(CARDS, ["kidney"], VERSIONS, SERVED)
    assert liver.back_to == "liver-1"
    assert spleen.back_to == ""
    assert kidney.back_to == ""


def test_rolling_back_goes_from_the_version_in_use() -> None:
    (view,) = model_versions(CARDS[:1], [], VERSIONS, {"liver": "liver-1"})
    assert view.back_to == ""
    (view,) = model_versions(CARDS[:1], [], VERSIONS, {})
    assert view.back_to == ""
