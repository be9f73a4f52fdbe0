# SPDX-License-Identifier: MIT
"""Fields that hold one of several models, told apart by a key: steps, conditions, actions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from ...card.wording import meant
from .fields import Model


def kind_of(value: Any, kinds: dict[str, type[Model]], what: str) -> str:
    """Return the key that says which of several models a mapping or value is. Raises ValueError."""
    for key, model in kinds.items():
        if isinstance(value, model):
            return key
    found = [str(key) for key in value if key in kinds] if isinstance(value, dict) else []
    if not found and (near := _near(value, kinds)) is not None:
        raise ValueError(f"{what} has no field {near[0]!r}{near[1]}")
    if len(found) != 1:
        got = f"not {' and '.join(found)} at once" if found else f"not {_shown(value)}"
        raise ValueError(f"{what} has one of: {', '.join(kinds)}; {got}")
    return found[0]


def _near(value: Any, kinds: Iterable[str]) -> tuple[str, str] | None:
    """Return the word that is a few slips away from a key, with the question whether that was meant."""
    words = map(str, value) if isinstance(value, dict) else [value] if isinstance(value, str) else ()
    return next(((word, question) for word in words if (question := meant(word, kinds))), None)


def _shown(value: Any) -> str:
    text = repr(list(value)) if isinstance(value, dict) else repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def one_of(kinds: dict[str, type[Model]], what: str, *first: BeforeValidator) -> Any:
    """Return the type of a value that is one of several models, told by a key; `first` validators run before that.

    The tags begin with =, so that in the place of an error they are not taken for the key.
    """

    def check(value: Any) -> Any:
        kind_of(value, kinds, what)
        return value

    which = Discriminator(lambda value: f"={kind_of(value, kinds, what)}")
    models = (Annotated[model, Tag(f"={key}")] for key, model in kinds.items())
    return Annotated[(reduce(or_, models), which, BeforeValidator(check), *first)]
