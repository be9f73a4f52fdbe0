# SPDX-License-Identifier: MIT
"""The commands `arm`, `disarm`, `signal` and `release`: triggers, and the signals and gates that go with them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer

from ...card.image.passphrase import handed_over
from ...card.wording import meant
from ..processes.terminal import say
from ..simulator.verbs import FAULTS, TABLE, VERBS, Type, Use, usable
from .answers import ask, do, errors, fail
from .options import AnyCard, Json, grouped
from .parsing import App
from .secret_input import first_line
from .verb_commands import help_of

app = App()

_OF_OPTIONS = {Type.CARD, Type.ATR}
"""What is given by options, or not at all."""

WORDS: dict[str, dict[str, Type]] = {
    name: {each.name: each.type for each in row.parameters if each.type not in _OF_OPTIONS}
    for name, row in {**usable(Use.ARM), **FAULTS}.items()
    if all(each.type is not Type.REQUEST for each in row.parameters)
}
"""The actions of a trigger, each with the names and types of the words after it, in their order."""


def _span(word: str) -> float:
    """Return the seconds of 0.5, 0.5s or 500ms. Raises ValueError."""
    if word.endswith("ms"):
        return float(word.removesuffix("ms")) / 1000
    return float(word.removesuffix("s"))


_READ: dict[Type, Callable[[str], object]] = {
    Type.NUMBER: int,
    Type.SECONDS: _span,
    Type.FLAG: lambda word: {"true": True, "false": False}.get(word, word),
}
"""Readers of words that are no text."""

_EVENTS = tuple(dict.fromkeys(change for row in VERBS.values() for change in row.changes))

_AT = "The moment"
_AMONG = "Which of these moments"


_EXAMPLES = (
    "cardtear arm remove front --call C_Sign --during",
    "cardtear arm answer 6F00 --ins 87 --nth 2",
    "cardtear arm return CKR_DEVICE_ERROR --call C_Login --times always",
    "cardtear arm hang here --call C_Login --application 'firefox*'",
)


def _help() -> str:
    """Return the help of `arm`: its first line, examples, and the actions with their words."""
    verbs: dict[tuple[str, ...], list[str]] = {}
    for verb, words in WORDS.items():
        verbs.setdefault(tuple(words), []).append(verb)
    actions = [" ".join((", ".join(names), *map(str.upper, words))) for words, names in verbs.items()]
    blocks = (("Examples:", *_EXAMPLES), ("Actions and their WORDs:", *actions))
    # \b keeps typer from joining the lines of a paragraph.
    return "\n\n".join(
        (
            help_of("arm"),
            *("\b\n" + "\n  ".join(each) for each in blocks),
        )
    )


@app.command("arm", help=_help())
@grouped
def arm(
    *,
    verb: Annotated[
        str, typer.Argument(metavar="ACTION", help="What to do; the actions are listed above.", show_default=False)
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD]...",
            help="Arguments of ACTION, as listed above.",
            show_default=False,
        ),
    ] = None,
    call: Annotated[
        str | None,
        typer.Option(help="At a PKCS #11 call, as C_Sign or C_Sign*.", rich_help_panel=_AT, show_default=False),
    ] = None,
    ins: Annotated[
        str | None,
        typer.Option(
            help="At an APDU with this instruction byte, two hexadecimal digits, as 87; with --call, one of that call.",
            rich_help_panel=_AT,
            show_default=False,
        ),
    ] = None,
    apdu: Annotated[bool, typer.Option("--apdu", help="At any APDU.", rich_help_panel=_AT)] = False,
    event: Annotated[
        str | None,
        typer.Option(
            help=f"At an event: {', '.join(_EVENTS[:-1])} or {_EVENTS[-1]}.",
            rich_help_panel=_AT,
            show_default=False,
        ),
    ] = None,
    signal: Annotated[
        str | None,
        typer.Option(help="At `cardtear signal NAME` with this name.", rich_help_panel=_AT, show_default=False),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="After so many seconds.", rich_help_panel=_AT, show_default=False)
    ] = None,
    before: Annotated[
        bool,
        typer.Option("--before", help="Before the call or APDU (default).", rich_help_panel=_AT),
    ] = False,
    during: Annotated[
        bool,
        typer.Option("--during", help="When the call sends its first APDU or begins to wait.", rich_help_panel=_AT),
    ] = False,
    after: Annotated[bool, typer.Option("--after", help="After the call or APDU.", rich_help_panel=_AT)] = False,
    application: Annotated[
        str | None,
        typer.Option(help="Only calls of this program, as ssh or java*.", rich_help_panel=_AMONG, show_default=False),
    ] = None,
    thread: Annotated[
        int | None,
        typer.Option(
            help="Only calls of the N-th thread, in the order of first calls.",
            rich_help_panel=_AMONG,
            show_default=False,
        ),
    ] = None,
    reader: Annotated[
        str | None,
        typer.Option(help="Only APDUs and events of this reader.", rich_help_panel=_AMONG, show_default=False),
    ] = None,
    slot: Annotated[
        str | None,
        typer.Option(
            help="Only commands for this PIV key slot, as 9C (not a PKCS #11 slot).",
            rich_help_panel=_AMONG,
            show_default=False,
        ),
    ] = None,
    link: Annotated[
        int | None,
        typer.Option(help="Only the N-th APDU of a chained command.", rich_help_panel=_AMONG, show_default=False),
    ] = None,
    nth: Annotated[int, typer.Option(help="Skip the first N-1 matches.", rich_help_panel=_AMONG)] = 1,
    times: Annotated[str, typer.Option(metavar="N|always", help="How often it fires.", rich_help_panel=_AMONG)] = "1",
    probability: Annotated[
        float, typer.Option(help="Probability of firing at each match.", rich_help_panel=_AMONG)
    ] = 1.0,
    seed: Annotated[
        int, typer.Option(help="Seed of that choice; the same seed gives the same choice.", rich_help_panel=_AMONG)
    ] = 0,
    later: Annotated[
        float | None,
        typer.Option(help="Do it so many seconds after the moment.", show_default=False),
    ] = None,
    card: AnyCard,
    as_json: Json = False,
) -> None:
    """Arm a trigger: an action at a call, APDU, event, signal or time."""
    with errors(as_json), handed_over(card.passphrase_file) as file:
        if not apdu and all(each is None for each in (call, ins, event, signal, seconds)):
            raise ValueError(
                "say when: give --call, --ins, --apdu, --event, --signal or --seconds (cardtear arm --help)"
            )
        for option, number in (("--seconds", seconds), ("--probability", probability), ("--later", later)):
            _check_finite(option, number)
        whens = [each for each, given in (("before", before), ("during", during), ("after", after)) if given]
        if len(whens) > 1:
            raise ValueError(f"--{whens[0]} and --{whens[1]} are two moments; arm a trigger for each")
        given = {
            "call": call,
            "ins": ins,
            "event": event,
            "signal": signal,
            "seconds": seconds,
            "when": whens[0] if whens else None,
            "application": application,
            "thread": thread,
            "reader": reader,
            "slot": slot,
            "link": link,
        }
        on: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if apdu:
            on.setdefault("ins", None)
        on |= {"nth": nth, "times": _times(times), "probability": probability, "seed": seed}
        then = _action(verb, words or [])
        types = {each.type: each for each in TABLE[verb].parameters}
        if (pin := types.get(Type.PIN)) is not None and card.pin_file is not None:
            if pin.name in then:
                raise ValueError("PIN and --pin-file both give a PIN; give one of them")
            then[pin.name] = first_line(card.pin_file, "PIN")
            card = replace(card, pin_file=None)
        wanted = types.get(Type.CARD)
        if wanted is None and not card.is_usual:
            takes = " and ".join(
                name for name in WORDS if any(each.type is Type.CARD for each in TABLE[name].parameters)
            )
            raise ValueError(f"{verb!r} takes no card; leave out {(*card.words, '--image')[0]}, which is for {takes}")
        if wanted is not None and (wanted.needed or not card.is_usual):
            then[wanted.name] = card.named(file, "Bob" if wanted.needed else "Alice")
        if later is not None:
            then = {"do": "later", "seconds": later, "then": then}
        kinds = WORDS[verb].values()
        what = " ".join((verb, *(word for word, kind in zip(words or [], kinds, strict=False) if kind is not Type.PIN)))

        def show(result: dict[str, Any]) -> None:
            say(f"armed as {result['trigger']}: {what}")
            if "note" in result:
                say(f"cardtear: {result['note']}", to_errors=True)

        do(as_json, "arm", show, on=on, then=then)


@app.command("disarm", help=help_of("disarm"))
def disarm(
    trigger: Annotated[
        int, typer.Argument(help="Number of the trigger, as arm and status print it.", show_default=False)
    ],
    as_json: Json = False,
) -> None:

    def show(result: dict[str, bool]) -> None:
        say(f"disarmed: {trigger}" if result["armed"] else f"{trigger} was over already")

    do(as_json, "disarm", show, trigger=trigger)


@app.command("signal", help=help_of("signal"))
def signal(
    word: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the signal, as in arm --signal.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    result = ask(as_json, "signal", signal=word)
    if not result["heard"]:
        fail(as_json, "nobody-waits", f"no trigger waits for {word!r}; `cardtear status` shows what is armed", 1)
    for each in result.get("failed", [])[: 0 if as_json else None]:
        say(f"cardtear: trigger {each['trigger']}: {each['do']} failed: {each['problem']}", to_errors=True)
    say(json.dumps(result) if as_json else f"said: {word}")
    if "failed" in result:
        raise typer.Exit(1)


@app.command("release", help=help_of("release"))
def release(
    gate: Annotated[str, typer.Argument(help="Name of the gate, as in `arm hang GATE`.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    result = ask(as_json, "release", gate=gate)
    if not result["released"]:
        fail(
            as_json,
            "nothing-hangs",
            f"nothing hangs at gate {gate!r}; `cardtear status` shows what is armed, `cardtear trace` what has fired",
            1,
        )
    say(json.dumps(result) if as_json else "released" + f": {gate}" * bool(gate))


def _action(verb: str, words: list[str]) -> dict[str, Any]:
    """Return an action and its words for the control channel. Raises ValueError."""
    names = WORDS.get(verb)
    if names is None:
        raise ValueError(f"there is no action {verb!r}{meant(verb, WORDS) or '; cardtear arm --help lists them'}")
    if len(words) > len(names):
        wanted = " ".join(map(str.upper, names)) or "no further words"
        raise ValueError(f"{verb!r} takes {wanted}; leave out {words[len(names)]!r}")
    action: dict[str, Any] = {"do": verb}
    for (name, kind), word in zip(names.items(), words, strict=False):
        try:
            action[name] = _READ.get(kind, str)(word)
        except ValueError:
            raise ValueError(f"{name.upper()} of {verb!r} is a number, not {word!r}") from None
        _check_finite(f"{name.upper()} of {verb!r}", action[name])
    return action


def _check_finite(name: str, value: object) -> None:
    """Refuse an infinite number, which JSON does not have. Raises ValueError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} cannot be {value}: give a finite number")


def _times(word: str) -> int | None:
    if word == "always":
        return None
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"--times is a number or 'always', not {word!r}") from None
