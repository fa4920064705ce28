"""A caller's options for one call, validated against the model's card."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.model import ModelCard, Option
from app.errors import BadOption


def chosen(card: ModelCard, given: Mapping[str, Option]) -> dict[str, Option]:
    """Every option of `card` with its value: the given one, else the default (for choices the first one).

    Raises:
        BadOption: for a name the card doesn't have, a value of another type, or one that isn't among the choices.
    """
    unknown = sorted(set(given) - set(card.options))
    if unknown:
        offered = ", ".join(card.options) or "none"
        raise BadOption(f"the model {card.name} has no option {', '.join(unknown)}; it has: {offered}")
    values: dict[str, Option] = {}
    for name, offer in card.options.items():
        default = offer[0] if isinstance(offer, tuple) else offer
        value = given.get(name, default)
        values[name] = _like(name, value, default)
        if isinstance(offer, tuple) and value not in offer:
            raise BadOption(f"{name} is one of {', '.join(offer)}, not {value}")
    return values


def _like(name: str, value: Option, default: Option) -> Option:
    """`value` in the type of `default`. An int is accepted for a float; there are no other conversions."""
    if isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise BadOption(f"{name} is a {type(default).__name__} such as {default!r}, not {value!r}")
    return value
