# SPDX-License-Identifier: MIT
"""The cards of a simulator: each is made or opened once, and stays the same one for as long as it is open.

Which of them was last in a reader is known, too, so that it can be put back as it was.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...card.applet.piv_card import PivCard
from ...card.card import Card
from ...card.files import output_file
from ...card.image import passphrase
from ...card.image.store import ImageError
from ...card.issuing import profiles
from ...p11.token_mechanisms import require_known
from ...reader.events import Change
from ...reader.reader import Event, Reader, SharedCard
from ...reader.testbed import Testbed
from ..processes import paths
from .value_types import CardSource, EncryptedImage


class PutAway(NamedTuple):
    """A card whose image was closed, so that others can open it: how to open it again."""

    image: Path
    passphrase: bytes | None

    def __repr__(self) -> str:
        return f"PutAway({self.image})"


class CardShelf:
    """Where cards lie that are in no reader; copies of ready-made ones in `folder`. `close` closes all of them."""

    def __init__(self, testbed: Testbed, folder: Path) -> None:
        self._testbed = testbed
        self._folder = folder
        self._open: dict[Path, PivCard] = {}
        self._displaced: list[PivCard] = []
        """Those in readers that are open, where another file has come to the image's place since."""
        self._passphrases: dict[Path, bytes | None] = {}
        self._dead: set[tuple[Path, bytes]] = set()
        self._last: dict[str, Card | PutAway] = {}
        self._lock = threading.Lock()
        self._unsubscribe = testbed.add_part(self._hear)

    def last(self, reader: str) -> Card | PutAway | None:
        """Return the card of ours that was in a reader last, None where none ever was."""
        return self._last.get(reader)

    def _hear(self, event: Event) -> None:
        """Remember which card went where; PC/SC's are not ours to put back. The testbed's lock is held."""
        if event.change is Change.INSERT and event.insertion is not None:
            card = event.insertion.card
            if not isinstance(card, SharedCard):
                self._last[event.reader.name] = card

    @contextlib.contextmanager
    def taken(self, source: CardSource | Card | PutAway) -> Iterator[Card]:
        """Yield the card of a source, which is not put away before it is in a reader.

        Raises ImageError, ProfileError; of a passphrase's file OSError, and ValueError also if the image needs none.
        """
        prepared = self._prepared(source)
        words = self._passphrase(prepared)  # waiting for whoever writes it keeps no other reader waiting
        with self._lock:
            yield self._card(prepared, words)

    def put_away(self, readers: Iterable[Reader]) -> None:
        """Close the images that were given by path and are in none of the readers, so that others can open them."""
        with self._lock:
            inserted = _inserted(readers)
            for card in [*self._open.values(), *self._displaced]:
                if card not in inserted and not card.store.path.is_relative_to(self._folder):
                    self._put_away(card)

    def _put_away(self, card: PivCard) -> None:
        path = card.store.path
        if self._open.get(path) is card:
            del self._open[path]
        else:
            self._displaced.remove(card)
        if card.is_dead:
            self._dead.add((path, card.store.state.serial))
        away = PutAway(path, self._passphrases.get(path))
        for reader, last in list(self._last.items()):
            if last is card:
                self._last[reader] = away
        card.close()

    def close(self) -> None:
        """Close all images."""
        self._unsubscribe()
        for card in [*self._open.values(), *self._displaced]:
            card.close()

    def _prepared(self, source: CardSource | Card | PutAway) -> Path | EncryptedImage | Card | PutAway:
        """Return the image of a source, made if needed: a given path, or this simulator's own copy."""
        if isinstance(source, Path):
            return Path(os.path.realpath(source))
        if isinstance(source, EncryptedImage):
            return source._replace(image=Path(os.path.realpath(source.image)))
        if not isinstance(source, profiles.CardRequest):
            if not (isinstance(source, PutAway) or hasattr(source, "activate")):
                raise ValueError(f"a card is a Path, an EncryptedImage, a CardRequest or a Card, not {source!r}")
            return source
        require_known(source)
        if not profiles.PROFILES[source.profile].piv:
            return profiles.foreign_card(source.name)
        image = profiles.ready_image(source, paths.image_cache(), paths.test_ca())
        copy = self._folder / image.name
        with self._lock:
            if not copy.exists():
                output_file.write_new(copy, image.read_bytes())
        return copy

    def _passphrase(self, source: Path | EncryptedImage | Card | PutAway) -> bytes | None:
        """Find the passphrase of an image that is to be opened. Raises ValueError, OSError."""
        if isinstance(source, PutAway):
            return source.passphrase
        if not isinstance(source, EncryptedImage):
            return None
        if source.image in self._open:
            return self._passphrases.get(source.image)
        if source.image in self._passphrases and not passphrase.can_be_read_again(source.passphrase_file):
            return self._passphrases[source.image]
        return passphrase.read(source.passphrase_file)

    def _card(self, prepared: Path | EncryptedImage | Card | PutAway, words: bytes | None) -> Card:
        if not isinstance(prepared, Path | EncryptedImage | PutAway):
            return prepared
        image = prepared if isinstance(prepared, Path) else prepared.image
        known = self._known(image)
        card = known or profiles.open_card(image, words)
        if isinstance(prepared, EncryptedImage) and not card.store.is_encrypted:
            if known is None:
                card.close()
            raise ValueError(f"{image} is not encrypted: the passphrase file would do nothing; leave it out")
        if known is None:
            if image in self._open:
                self._displaced.append(self._open[image])
            self._open[image], self._passphrases[image] = card, words
            card.is_dead = (image, card.store.state.serial) in self._dead
        return card

    def _known(self, image: Path) -> PivCard | None:
        """Return the open card of an image, if it is that of the file which is there now.

        Raises ImageError where the card is in a reader, and others have written into its image.
        """
        card = self._open.get(image)
        if card is None or (card.store.is_in_place() and card.store.is_unchanged()):
            return card
        if card not in _inserted(self._testbed.readers):
            self._put_away(card)
        elif card.store.is_in_place():
            raise ImageError(f"{image} was changed by another program while its card is in a reader; remove that first")
        return None


def _inserted(readers: Iterable[Reader]) -> list[Card]:
    return [reader.insertion.card for reader in readers if reader.insertion is not None]
