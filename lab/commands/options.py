# SPDX-License-Identifier: MIT
"""Options that several commands have, and the card that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ...card.profiles import CardRequest
    from ...reader.vpcd_slots import PcscPlace
    from ..requests import CardSource

Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
ReaderName = Annotated[str, typer.Argument(help="The reader's name.", show_default=False)]
Profile = Annotated[str, typer.Option(help="Which ready-made card; `cardtear card profiles` lists them.")]
Name = Annotated[str, typer.Option(help="The name on a ready-made card.")]
Email = Annotated[
    str | None, typer.Option(help="The e-mail address in its certificates.", show_default="NAME@example.com")
]
Serial = Annotated[
    str | None, typer.Option(help="Its serial number, up to 16 hexadecimal digits.", show_default="by name")
]
Pin = Annotated[str | None, typer.Option(help="Its PIN, 6 to 8 digits.", show_default="123456")]
Puk = Annotated[
    str | None,
    typer.Option(help="Its PUK, 6 to 8 characters; in PKCS #11 it is the SO PIN.", show_default="12345678"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another parameter of it, as capacity=65536 or pin_pad=true (docs/control.md); several times.",
        show_default=False,
    ),
]
Image = Annotated[Path | None, typer.Option(help="A card image instead, used where it lies.", show_default=False)]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="A file whose first line is the passphrase of an encrypted image; - for standard input.",
        envvar="CARDTEAR_PASSPHRASE_FILE",
        show_default=False,
        show_envvar=True,
    ),
]
QuirkNames = Annotated[
    list[str] | None,
    typer.Option(
        "--quirks",
        metavar="NAME",
        help="A profile of middleware, or a quirk NAME=VALUE (`cardtear quirks` lists them); several times.",
        show_default=False,
    ),
]
Pcsc = Annotated[bool, typer.Option("--pcsc", help="Show the readers to pcscd, too, through vpcd (docs/pcsc.md).")]
OwnPcscd = Annotated[
    bool, typer.Option("--own-pcscd", help="The same with a pcscd that is started for the program; for root.")
]
PcscReversed = Annotated[
    bool, typer.Option("--pcsc-reversed", help="The same with a vpcd that connects to us: `cardtear pcsc --reversed`.")
]
PcscPort = Annotated[
    int | None, typer.Option(help="The port of vpcd's first slot.", show_default="35963", min=1, max=65535)
]
FromPcsc = Annotated[
    list[str] | None,
    typer.Option(
        "--from-pcsc",
        metavar="NAME",
        help="Mirror the card in the PC/SC reader with this in its name (`any`: the first one) into the first reader; "
        "several times, for as many readers (docs/pcsc.md).",
        show_default=False,
    ),
]
NoCard = Annotated[bool, typer.Option("--no-card", help="Leave the reader empty.")]


def pcsc_place(pcsc: bool, is_reversed: bool, port: int | None) -> PcscPlace | None:
    """Where pcscd is, if the readers are to be shown to it."""
    if not pcsc and not is_reversed and port is None:
        return None
    from ...reader.vpcd_slots import PcscPlace

    return PcscPlace(is_reversed=is_reversed) if port is None else PcscPlace(port, is_reversed)


def request_of(*options: Any) -> CardRequest:
    """A ready-made card of the options of a command, as _parameters has them."""
    from ...card.profiles import request

    return request(_parameters(*options))


def source_of(image: Path | None, passphrase_file: Path | None, *options: Any) -> CardSource:
    """A card for a simulator of this process."""
    if image is None:
        return request_of(*options)
    if passphrase_file is None:
        return image
    from ..requests import EncryptedImage

    return EncryptedImage(image, passphrase_file)


def named(image: Path | None, passphrase_file: Path | None, *options: Any) -> str | dict[str, object]:
    """A card as the control channel names it."""
    if image is None:
        return _parameters(*options)
    if passphrase_file is None:
        return str(image.resolve())
    return {"image": str(image.resolve()), "passphrase_file": str(passphrase_file)}


def _parameters(
    profile: str,
    name: str,
    email: str | None,
    serial: str | None,
    pin: str | None,
    puk: str | None,
    settings: list[str] | None,
) -> dict[str, object]:
    """The parameters of a card that were given. Raises ValueError for a setting without a value."""
    options = {"profile": profile, "name": name, "email": email, "serial": serial, "pin": pin, "puk": puk}
    parameters: dict[str, object] = {key: value for key, value in options.items() if value is not None}
    if settings:
        from ...card.traits import from_text

        for setting in settings:
            if "=" not in setting:
                raise ValueError(f"--set wants NAME=VALUE, not {setting!r}")
        parameters.update(map(from_text, settings))
    return parameters
