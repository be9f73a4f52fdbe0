# SPDX-License-Identifier: MIT
"""The cards of a simulator: each is made or opened once, and stays the same one for as long as it is open."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..card import profiles
from ..card.card import Card
from ..card.piv_card import PivCard
from ..reader.reader import Reader
from . import passphrase, places
from .requests import CardSource, EncryptedImage


class CardShelf:
    """Where cards lie that are in no reader; copies of ready-made ones in `folder`. `close` closes all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, PivCard] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self, source: CardSource | Card) -> Iterator[Card]:
        """The card of a source, which is not put away before it is in a reader.

        Raises ImageError, ProfileError; of a passphrase's file OSError and ValueError.
        """
        prepared = self._prepared(source)
        with self._lock:
            yield self._card(prepared)

    def put_away(self, readers: Iterable[Reader]) -> None:
        """Close the images that were given by path and are in none of the readers, so that others can open them."""
        with self._lock:
            inserted = [reader.insertion.card for reader in readers if reader.insertion is not None]
            for path, card in list(self._open.items()):
                if card not in inserted and not path.is_relative_to(self._folder):
                    del self._open[path]
                    card.close()

    def close(self) -> None:
        """Close all images."""
        for card in self._open.values():
            card.close()

    def _prepared(self, source: CardSource | Card) -> Path | EncryptedImage | Card:
        """The image of a source, made if need be: a path that is given, or this simulator's own copy."""
        if isinstance(source, Path):
            return source.resolve()
        if isinstance(source, EncryptedImage):
            return source._replace(image=source.image.resolve())
        if not isinstance(source, profiles.CardRequest):
            return source
        if not profiles.PROFILES[source.profile].piv:
            return profiles.foreign_card(source.name)
        image = profiles.ready_image(source, places.image_cache(), places.test_ca())
        copy = self._folder / image.name
        with self._lock:
            if not copy.exists():
                shutil.copyfile(image, copy)
                copy.chmod(0o600)
        return copy

    def _card(self, prepared: Path | EncryptedImage | Card) -> Card:
        match prepared:
            case Path():
                image, passphrase_file = prepared, None
            case EncryptedImage():
                image, passphrase_file = prepared
            case _:
                return prepared
        card = self._open.get(image)
        if card is None:
            card = self._open[image] = profiles.open_card(image, passphrase.read(passphrase_file))
        return card
