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
    """The key that says which of several models a mapping or a value is. Raises ValueError."""
    for key, model in kinds.items():
        if isinstance(value, model):
            return key
    found = [str(key) for key in value if key in kinds] if isinstance(value, dict) else []
    if len(found) != 1:
        got = f"not {' and '.join(found)} at once" if found else f"not {_shown(value)}{_meant(value, kinds)}"
        raise ValueError(f"{what} has one of: {', '.join(kinds)}; {got}")
    return found[0]


def _meant(value: Any, kinds: Iterable[str]) -> str:
    """A question for who may have written a key wrongly."""
    keys = map(str, value) if isinstance(value, dict) else [value] if isinstance(value, str) else ()
    return next(filter(None, (meant(key, kinds) for key in keys)), "")


def _shown(value: Any) -> str:
    text = repr(list(value)) if isinstance(value, dict) else repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def one_of(kinds: dict[str, type[Model]], what: str, *first: BeforeValidator) -> Any:
    """The type of a value that is one of several models, known by a key; `first` is done to it before that is asked.

    The tags begin with =, so that in the place of an error they are not taken for the key.
    """

    def check(value: Any) -> Any:
        kind_of(value, kinds, what)
        return value

    which = Discriminator(lambda value: f"={kind_of(value, kinds, what)}")
    models = (Annotated[model, Tag(f"={key}")] for key, model in kinds.items())
    return Annotated[(reduce(or_, models), which, BeforeValidator(check), *first)]
