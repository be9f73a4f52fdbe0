# SPDX-License-Identifier: MIT
"""The fields of a scenario, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ...card.issuing.profiles import CardRequest, request
from ...card.token_traits import with_full_path
from ...p11.token_mechanisms import require_known
from .fields import Duration, Environment, Model, Name, Pattern
from .steps import AnyStep, Files
from .triggers import Moment, TriggerModel, named

__all__ = ["EMPTY", "Card", "Client", "FailsWith", "Moment", "ScenarioFields", "TriggerModel"]

EMPTY = "empty"
"""What lies in a reader without a card."""


class Card(Model):
    """A card: the `path` of an image, of which a copy is used, or parameters of a ready-made one (docs/control.md).

    The passphrase of an encrypted image is the first line of a `passphrase-file`.
    """

    model_config = ConfigDict(extra="allow")

    path: Path | None = None
    passphrase_file: Path | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.path is not None and self.model_extra:
            raise ValueError("a card has a path or parameters, not both")
        if self.path is None and self.passphrase_file is not None:
            raise ValueError("a passphrase-file is for the image at a path")
        self.request("Alice")
        return self

    def request(self, name: str, folder: Path = Path()) -> CardRequest:
        """Return the ready-made card; `name` is on it unless a parameter says otherwise, paths count from `folder`.

        Raises ProfileError.
        """
        given = {each: with_full_path(each, value, folder) for each, value in (self.model_extra or {}).items()}
        wanted = request({"name": name, **given})
        require_known(wanted)
        return wanted


class Client(Model):
    """A built-in client: a process that loads a module, by default the simulator's own."""

    module: str | None = None
    environment: Environment = Field(default_factory=dict)


class FailsWith(Model):
    """With these quirks the scenario fails, for the reason that `message` (a pattern) finds in the report."""

    quirks: Annotated[list[str], Field(min_length=1)]
    message: Pattern


def _one_reader() -> dict[str, str | None]:
    return {"front": "alice"}


class ScenarioFields(Model):
    """The fields of a scenario, each checked by itself; scenario.py checks that they agree with each other."""

    name: Name
    about: str = ""
    cards: dict[Name, Card] = Field(default_factory=lambda: {"alice": Card()})
    readers: dict[Name, Name | None] = Field(default_factory=_one_reader)
    clients: dict[Name, Client] = Field(default_factory=dict)
    quirks: list[str] = Field(default_factory=list)
    pcsc: bool | Name = False
    needs: list[Name] = Field(default_factory=list)
    environment: Environment = Field(default_factory=dict)
    files: Files = Field(default_factory=dict)
    triggers: Annotated[dict[Name, TriggerModel], BeforeValidator(named)] = Field(default_factory=dict)
    steps: Annotated[list[AnyStep], Field(min_length=1)]
    within: Duration = 10.0
    deadline: Duration = 60.0
    fails_with: list[FailsWith] = Field(default_factory=list)
    finding: bool = False

    @property
    def broken(self) -> list[FailsWith]:
        """With what it fails. Raises ValueError if it does not say."""
        if not self.fails_with:
            raise ValueError(f"{self.name} does not say with which quirks it fails: it has no 'fails-with'")
        return self.fails_with

    def sources(self, folder: Path) -> list[Path]:
        """Return the files that its cards come out of, for a scenario in `folder`."""
        named = (each for card in self.cards.values() for each in (card.path, card.passphrase_file))
        return [folder / each for each in named if each is not None]

    @property
    def standard_card(self) -> str:
        """The name of the card that is the standard one: the scenario's name for it, else what stands on it."""
        standard = CardRequest()
        for name, card in self.cards.items():
            if card.path is None and card.request(name.capitalize()) == standard:
                return name
        return standard.name

    @field_validator("readers")
    @classmethod
    def _empty(cls, readers: dict[str, str | None]) -> dict[str, str | None]:
        for name in readers:
            if name != name.strip() or not name.isprintable() or len(name.encode()) > 64:
                raise ValueError(f"not a reader name: {name!r}")
        return {name: None if card == EMPTY else card for name, card in readers.items()}

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a scenario is a mapping with 'steps'")
        return value
