# SPDX-License-Identifier: MIT
"""Options of several commands. Those that go together are a dataclass, and one parameter of the command."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from .secret_input import first_line

if TYPE_CHECKING:
    from ...card.issuing.profiles import CardRequest
    from ...reader.pcsc.vpcd_slots import PcscSlots
    from ..simulator.value_types import CardSource


def a_file(path: Path | None) -> Path | None:
    """Refuse `-` for a card image, which is read and written in any order. Raises BadParameter."""
    if path == Path("-"):
        raise typer.BadParameter("a card image is a file of its own; it cannot be standard input or output")
    return path


def read_input(path: Path, most: int) -> bytes:
    """Return what is in a file, or on standard input for `-`, at most so many bytes. Raises OSError."""
    from ...card.files import input_file

    if path == Path("-"):
        return input_file.read_stream(sys.stdin.buffer, most, path)
    return input_file.read(path, most)


def require_encrypted(image: Path, passphrase_file: Path | None) -> bool:
    """Return whether an image needs the given passphrase.

    Raises ValueError where it needs none, unless CARDTEAR_PASSPHRASE_FILE gives it for all images.
    """
    if passphrase_file is None:
        return False
    from ...card.image.store import ImageError, read_whole

    with contextlib.suppress(ImageError):  # opening it later reports the error
        if not read_whole(image)[1]:
            if str(passphrase_file) == os.environ.get(_FOR_ALL):
                return False
            raise ValueError(f"{image} is not encrypted: --passphrase-file would do nothing; leave it out")
    return True


_FOR_ALL = "CARDTEAR_PASSPHRASE_FILE"

Json = Annotated[bool, typer.Option("--json", help="Print JSON, also for errors.")]
ReaderName = Annotated[str, typer.Argument(help="Name of the reader.", show_default=False)]
AnyReader = Annotated[str | None, typer.Argument(help="Name of the reader.", show_default="the only reader")]
Image = Annotated[
    Path | None,
    typer.Option(
        help="A card image instead of a ready-made card; changes are written to this file.",
        show_default=False,
        callback=a_file,
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="A file whose first line is the passphrase of the encrypted image; - for standard input.",
        envvar=_FOR_ALL,
        show_default=False,
        show_envvar=True,
    ),
]
PinFile = Annotated[
    Path | None,
    typer.Option(
        help="A file whose first line is the PIN (also /dev/fd/3); - for a prompt, or standard input.",
        show_default=False,
        dir_okay=False,
        allow_dash=True,
    ),
]
QuirkNames = Annotated[
    list[str] | None,
    typer.Option(
        "--quirks",
        metavar="NAME",
        help="Imitate a fault: a profile of middleware, or a quirk NAME=VALUE (`cardtear quirks` lists them); several "
        "times.",
        show_default=False,
    ),
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer, in which an option for each field replaces a parameter that is a dataclass."""
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(group, type)
        groups[parameter.name] = group
        hints = get_type_hints(group, include_extras=True)
        parameters += [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
            )
            for each in fields(group)
        ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{each.name: given.pop(each.name) for each in fields(group)})
        command(**given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


@dataclass(frozen=True)
class NewCard:
    """The options of a ready-made card."""

    profile: Annotated[str, typer.Option(help="The ready-made card; `cardtear card profiles` lists them.")] = "piv"
    name: Annotated[str | None, typer.Option(help="The name on the card.", show_default="Alice; for swap Bob")] = None
    email: Annotated[
        str | None, typer.Option(help="The e-mail address in its certificates.", show_default="NAME@example.com")
    ] = None
    serial: Annotated[
        str | None,
        typer.Option(help="Its serial number, up to 16 hexadecimal digits.", show_default="made from the name"),
    ] = None
    pin: Annotated[
        str | None,
        typer.Option(
            help="Its PIN: 6 to 8 digits, or as --set pin_min, pin_max and pin_format say. Others see it in the "
            "list of processes.",
            show_default="123456",
        ),
    ] = None
    puk: Annotated[
        str | None,
        typer.Option(help="Its PUK, 6 to 8 characters; in PKCS #11 it is the SO PIN.", show_default="12345678"),
    ] = None
    pin_file: PinFile = None
    puk_file: Annotated[
        Path | None,
        typer.Option(
            help="A file whose first line is the PUK; as --pin-file.",
            show_default=False,
            dir_okay=False,
            allow_dash=True,
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Another parameter of the card, as capacity=65536 or pin_pad=true (docs/control.md); several times.",
            show_default=False,
        ),
    ] = None

    settings_files: Annotated[
        list[str] | None,
        typer.Option(
            "--set-file",
            metavar="NAME=FILE",
            help="As --set, with the first line of FILE as the value, which is in no list of processes; - for a "
            "prompt, or a line of standard input.",
            show_default=False,
        ),
    ] = None

    @property
    def words(self) -> tuple[str, ...]:
        """Return the options as they were given, without those that have their default value."""
        given = {
            each.name: getattr(self, each.name) for each in fields(NewCard) if not each.name.startswith("settings")
        }
        usual = {"profile": "piv"}
        words = [
            word
            for name, value in given.items()
            if value != usual.get(name)
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        several = {"--set": self.settings or (), "--set-file": self.settings_files or ()}
        return (*words, *(word for option, values in several.items() for each in values for word in (option, each)))

    @property
    def files(self) -> Iterator[Path]:
        """Yield the files that are read for the card."""
        yield from filter(None, (self.pin_file, self.puk_file))
        yield from (Path(each.partition("=")[2]) for each in self.settings_files or ())

    def refuse_with_image(self) -> None:
        """Refuse options of a ready-made card beside --image. Raises ValueError."""
        if self.words:
            raise ValueError(f"the card of --image is as it is: {self.words[0]} is for one that is made")

    def parameters(self, name: str = "Alice") -> dict[str, object]:
        """Return parameters for the control channel, with `name` where none is given. Raises ValueError, OSError."""
        found: dict[str, object] = {}
        sources: dict[str, str] = {}
        for source, key, value in self._given():
            if key in found:
                raise ValueError(f"{sources[key]} and {source} both give the {key}; give one of them")
            found[key], sources[key] = value, source
        read = {key: value() if callable(value) else value for key, value in found.items()}
        return {"profile": self.profile, "name": name} | read

    def _given(self) -> Iterator[tuple[str, str, object]]:
        """Yield option, parameter and value of each that was given; of a file, what reads it. Raises ValueError."""
        from ...card.token_traits import from_text

        if self.profile != "piv":
            yield "--profile", "profile", self.profile
        for key in ("name", "email", "serial", "pin", "puk"):
            if (value := getattr(self, key)) is not None:
                yield f"--{key}", key, value
        for key, path in (("pin", self.pin_file), ("puk", self.puk_file)):
            if path is not None:
                yield f"--{key}-file", key, functools.partial(first_line, path, key.upper())
        for setting in self.settings or ():
            yield f"--set {_name_in(setting, 'VALUE')}", *from_text(setting)
        for setting in self.settings_files or ():
            key, path = _name_in(setting, "FILE"), Path(setting.partition("=")[2])
            yield f"--set-file {key}", key, functools.partial(_read, key, path)

    def request(self) -> CardRequest:
        """Return the card to make. Raises ValueError."""
        from ...card.issuing.profiles import request
        from ...p11.token_mechanisms import require_known

        wanted = request(self.parameters())
        require_known(wanted)
        return wanted


def _read(key: str, path: Path) -> object:
    """Return the value of a parameter that is in a file. Raises ValueError, OSError."""
    from ...card.token_traits import from_text, rule_of

    if rule_of(key) is None:
        return None  # the parser of the parameters refuses an unknown name
    return from_text(f"{key}={first_line(path, key)}")[1]


def _name_in(setting: str, wanted: str) -> str:
    """Return NAME of NAME=VALUE. Raises ValueError."""
    name, equals, _ = setting.partition("=")
    if not equals:
        raise ValueError(f"--set{'-file' * (wanted == 'FILE')} wants NAME={wanted}, not {setting!r}")
    return name


@dataclass(frozen=True)
class AnyCard(NewCard):
    """The options of a ready-made card or an existing image."""

    image: Image = None
    passphrase_file: PassphraseFile = None

    @property
    def is_usual(self) -> bool:
        """Return whether no option of the card was given."""
        return self.image is None and not self.words

    def source(self) -> CardSource:
        """Return the card for a simulator of this process. Raises ValueError."""
        if self.image is None:
            return self.request()
        self.refuse_with_image()
        if self.passphrase_file is None or not require_encrypted(self.image, self.passphrase_file):
            return self.image
        from ..simulator.value_types import EncryptedImage

        return EncryptedImage(self.image, self.passphrase_file)

    def named(self, passphrase_file: Path | None, name: str = "Alice") -> str | dict[str, object]:
        """Return the card for the control channel, with a file that the simulator can read. Raises ValueError."""
        if self.image is None:
            return self.parameters(name)
        self.refuse_with_image()
        if passphrase_file is None or not require_encrypted(self.image, self.passphrase_file):
            return os.path.realpath(self.image)
        return {"image": os.path.realpath(self.image), "passphrase_file": str(passphrase_file)}


@dataclass(frozen=True)
class Surroundings:
    """Further options of a command that runs a simulator."""

    no_card: Annotated[bool, typer.Option("--no-card", help="Leave the reader empty.")] = False
    quirks: QuirkNames = None
    pcsc: Annotated[
        bool, typer.Option("--pcsc", help="Show the readers in pcscd, too, through vpcd (docs/pcsc.md).")
    ] = False
    pcsc_reversed: Annotated[
        bool,
        typer.Option(
            "--pcsc-reversed", help="As --pcsc, with a vpcd that connects to cardtear (`cardtear pcsc --reversed`)."
        ),
    ] = False
    pcsc_port: Annotated[
        int | None, typer.Option(help="TCP port of vpcd's first reader.", show_default="35963", min=1, max=65535)
    ] = None
    from_pcsc: Annotated[
        list[str] | None,
        typer.Option(
            "--from-pcsc",
            metavar="NAME",
            help="Mirror the card of the PC/SC reader with NAME in its name (`any`: the first reader) in the first "
            "--reader; again for the next --reader (docs/pcsc.md).",
            show_default=False,
        ),
    ] = None

    @property
    def place(self) -> PcscSlots | None:
        """Return where pcscd is, or None if the readers are not shown in it."""
        if not self.pcsc and not self.pcsc_reversed and self.pcsc_port is None:
            return None
        from ...reader.pcsc.vpcd_slots import PcscSlots

        if self.pcsc_port is None:
            return PcscSlots(is_reversed=self.pcsc_reversed)
        return PcscSlots(self.pcsc_port, self.pcsc_reversed)
