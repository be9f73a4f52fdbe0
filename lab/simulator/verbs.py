# SPDX-License-Identifier: MIT
"""The table of verbs and faults, from which every interface has them.

The command line, the control channel, its client, triggers, scenarios, the sweep, the time line and the tables in
docs/ are made from these rows or checked against them. A verb is carried out by the method of SimulatorCore of its
name, a fault by the function of faults.py of its name. Data only: commands load this file before anything else.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from keyword import iskeyword
from typing import Any, NamedTuple

LONGEST_RESPONSE = 65538
"""Bytes of the longest response: 65536 of data, and the status word (ISO/IEC 7816-4, 5.1)."""

LONGEST_WAIT = 10**6
"""Seconds that may be waited for anything: eleven days."""

PCSCD_ACTIONS = ("stop", "start")
"""What can be done with a pcscd of our own."""


class Type(Enum):
    """What a parameter takes; value_types.py reads, checks and writes it."""

    READER = auto()
    NEW_READER = auto()
    """The name of a reader that the verb plugs in."""
    CARD = auto()
    ATR = auto()
    COMMAND = auto()
    """An APDU, which may have a PIN in it."""
    PIN = auto()
    TEXT = auto()
    WORD = auto()
    """A text that is not empty."""
    FLAG = auto()
    NUMBER = auto()
    SECONDS = auto()
    SHARE = auto()
    """A number from 0 to 1."""
    BYTE = auto()
    STATUS = auto()
    DATA = auto()
    """Bytes of a response, which may be secret."""
    RETURN_VALUE = auto()
    PCSCD_ACTION = auto()
    REQUEST = auto()
    """Another verb that can be carried out later, with its arguments."""
    ACTION = auto()
    """A verb or fault with its arguments, which is checked against a moment, too."""
    MOMENT = auto()


class Parameter(NamedTuple):
    """What a verb takes under a name. `default` is what a parameter that is not needed has when it is left out."""

    name: str
    type: Type
    help: str = ""
    needed: bool = True
    default: Any = None
    least: int | None = None
    most: int | None = None


class Request(NamedTuple):
    """A verb and its arguments, ready to be carried out."""

    verb: str
    arguments: dict[str, Any]


class Use(Flag):
    """Where a verb can be used, beside the control channel, where all but faults can."""

    ARM = auto()
    """As the action of a trigger."""
    LATER = auto()
    """As what `later` carries out."""
    STEP = auto()
    """As a step of a scenario."""
    METHOD = auto()
    """As a method of RemoteSimulator; with a reader, also of RemoteReader."""
    THEN = auto()
    """As what follows the action of a sweep."""


class Result(Enum):
    """What the method returns, and what the control channel makes of it."""

    NOTHING = auto()
    READER = auto()
    """A Reader; the channel says nothing."""
    CARD = auto()
    """A Card; the channel says its name, `{"card": NAME}`."""
    CARD_NAME = auto()
    """The name of a card, or None: `{"card": NAME}`."""
    CHANGED = auto()
    """Whether anything is different now: `{"changed": BOOL}`."""
    ARMED = auto()
    """Whether a trigger was armed: `{"armed": BOOL}`."""
    RELEASED = auto()
    """How much goes on: `{"released": NUMBER}`."""
    HEARD = auto()
    """A Heard: `{"heard": NUMBER}`, with the failures."""
    RESPONSE = auto()
    """A response APDU: `{"response": HEX}`."""
    OBJECT = auto()
    """What goes as it is."""
    STREAM = auto()
    """Many lines."""


class Verb(NamedTuple):
    """One verb or fault.

    `help` is one line, imperative. `command` is the file of lab/cli that has its command, `command_help` what its help
    adds. `done` is what the command prints on success, `vain` what it prints if nothing has changed, with the result's
    fields and the arguments filled in; `useless` is why a trigger or step that has changed nothing has failed. `form`
    is how a scenario writes it (left out: the name and a reader), `step` what the JSON Schema says of the step.
    `words` are the time line's, with `reader` and `about`; empty if its events say it. `changes` are the events that
    it can bring about (reader/events.py), `notes` what docs/control.md says beside the help, `sweep` the words of a
    sweep whose action it is. A fault has the moments of calls and APDUs at which it can be; with one that `waits` any
    call waits.
    """

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    use: Use = Use(0)
    result: Result = Result.NOTHING
    command: str = ""
    command_help: str = ""
    form: str = ""
    done: str = ""
    vain: str = ""
    useless: str = ""
    words: str = ""
    changes: tuple[str, ...] = ()
    notes: str = ""
    step: str = ""
    sweep: str = ""
    calls: tuple[str, ...] = ()
    apdus: tuple[str, ...] = ()
    waits: bool = False

    @property
    def method(self) -> str:
        """Return the name in Python: `close_sessions`, `return_`."""
        name = self.name.replace("-", "_")
        return f"{name}_" if iskeyword(name) else name

    @property
    def is_fault(self) -> bool:
        """Return whether it needs a call or an APDU."""
        return bool(self.calls or self.apdus)

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of that name, if there is one."""
        return next((each for each in self.parameters if each.name == name), None)


_HAND = Use.ARM | Use.LATER | Use.STEP | Use.METHOD
_READER = Parameter("reader", Type.READER, "Name of the reader.")
_ATR = Parameter("atr", Type.ATR, "Another ATR in the place of the card's own, in hexadecimal.", needed=False)
_GATE = Parameter("gate", Type.TEXT, "Name of the gate, as in `arm hang GATE`.", needed=False, default="")
_AFTER = Parameter("after", Type.NUMBER, "Send the kept entries with a higher number first.", needed=False)
_FOLLOW = Parameter("follow", Type.FLAG, "Go on with new entries; true if left out.", needed=False, default=True)

_VERBS = (
    Verb(
        "plug",
        "Plug a reader in, without a card.",
        (
            Parameter("reader", Type.NEW_READER, "Name of the reader."),
            Parameter("contactless", Type.FLAG, "A contactless reader.", needed=False, default=False),
        ),
        _HAND | Use.THEN,
        Result.READER,
        command="readers",
        form="`plug: R`, with `contactless: true`",
        done="{reader} is plugged in",
        changes=("plug",),
        notes="A contactless reader gives its cards what PIV allows there.",
        step="`plug: front`; on one that is `contactless` cards are laid.",
    ),
    Verb(
        "unplug",
        "Unplug a reader, with the card in it.",
        (_READER,),
        _HAND | Use.THEN,
        command="readers",
        done="{reader} is unplugged",
        changes=("unplug", "remove"),
        sweep="the reader is pulled out with the card in it",
    ),
    Verb(
        "insert",
        "Insert a card. Default: the card that was last in this reader, else Alice's ready-made card.",
        (
            _READER,
            Parameter("card", Type.CARD, "The card; left out, the card that was last in the reader.", needed=False),
            _ATR,
        ),
        _HAND | Use.THEN,
        Result.CARD,
        command="readers",
        form="`insert: {R: CARD}`, `insert: R`, with `atr`",
        done="{card} is in {reader}",
        changes=("insert",),
        notes="The card that was last in the reader comes back as it was left: with its keys, its PIN and the tries "
        "that it has. The standard one (`{}`) is only for a reader that has had none.",
        step="`insert: {front: alice}`, or `insert: front` for the card that was last in the reader, as it was left.\n"
        "\nWith `atr` that one arrives instead of the card's own, as over a bad contact.",
    ),
    Verb(
        "remove",
        "Remove the card from a reader.",
        (_READER,),
        _HAND | Use.THEN,
        Result.CARD,
        command="readers",
        done="{card} is out of {reader}",
        changes=("remove",),
        sweep="the card is pulled out",
    ),
    Verb(
        "swap",
        "Remove the card and insert another in one step.",
        (_READER, Parameter("card", Type.CARD, "The card that goes in."), _ATR),
        _HAND | Use.THEN,
        Result.CARD,
        command="readers",
        command_help="Default: Bob's ready-made card.",
        form="`swap: {R: CARD}`, with `atr`",
        done="{card} is in {reader} now",
        changes=("remove", "insert"),
        notes="On this channel `card` has no default.",
        step="`swap: {front: bob}`; with `atr` as `insert`.",
        sweep="another card takes its place",
    ),
    Verb(
        "reset",
        "Reset the card, as another program could: logins are lost, sessions stay.",
        (_READER,),
        _HAND | Use.THEN,
        command="readers",
        done="the card in {reader} is reset",
        changes=("reset",),
        sweep="another program resets the card",
    ),
    Verb(
        "logout",
        "Log out of the card, as another program could: logins are lost, sessions stay.",
        (_READER,),
        _HAND,
        command="readers",
        done="nobody is logged in to the card in {reader}",
        changes=("logout",),
        sweep="another program ends the PIN's verification",
    ),
    Verb(
        "close-sessions",
        "Close all sessions on the card, as the idle time-out of a module does: logins are lost, the card stays.",
        (_READER,),
        _HAND,
        command="readers",
        done="no session is left on the card in {reader}",
        changes=("close-sessions",),
        notes="Of all programs. Calls in these sessions return `CKR_SESSION_HANDLE_INVALID`, a call in progress "
        "`CKR_SESSION_CLOSED`.",
        sweep="the module ends its sessions, and the card stays",
    ),
    Verb(
        "touch",
        "Touch the card, for a key that needs a touch now or next.",
        (_READER,),
        _HAND,
        Result.CHANGED,
        command="readers",
        done="the card in {reader} is touched",
        vain="the card in {reader} is touched; no key on it asks for that",
        useless="no key on the card that is there asks for a touch",
        words="a finger touches the card in {reader}",
        notes="It counts once. `false`: no key on the card needs a touch. An empty reader is an error.",
    ),
    Verb(
        "pin-pad",
        "Type a PIN at a reader's PIN pad; it is kept until a program asks for a PIN there.",
        (_READER, Parameter("pin", Type.PIN, "The PIN; without it, the cancel key.", needed=False)),
        _HAND,
        Result.CHANGED,
        command="readers",
        form='`pin-pad: {R: "123456"}`, `pin-pad: R`',
        useless="the card that is there has no PIN asked for at the PIN pad",
        words="at the PIN pad of {reader}: {about}",
        notes="`false`: it is kept, but no PIN of the card there is asked for at the pad. An empty reader is an error.",
        step='`pin-pad: {front: "123456"}`; without a PIN (`pin-pad: front`) the red key is pressed.',
    ),
    Verb(
        "block-pin",
        "Use up tries of the PIN, as wrong PINs would. Logins are lost.",
        (
            _READER,
            Parameter(
                "left",
                Type.NUMBER,
                "Number of tries to leave; 1 leaves the final try.",
                needed=False,
                default=0,
                least=0,
                most=15,
            ),
            Parameter("puk", Type.FLAG, "The tries of the PUK (SO PIN), not of the PIN.", needed=False, default=False),
        ),
        _HAND,
        command="readers",
        form="`block-pin: R`, with `left`, `puk`",
        words="tries are used up in {reader}: {about}",
        changes=("logout",),
        notes="A card that is no PIV card of the simulator's own is an error.",
        step="`block-pin: front`, with the tries that are `left`, or of the PUK.",
    ),
    Verb(
        "mute",
        "Make the card stop answering until it is reset or removed.",
        (_READER,),
        _HAND,
        command="readers",
        done="the card in {reader} is mute",
        words="the card in {reader} is mute",
        sweep="the card does not answer any more",
    ),
    Verb(
        "kill",
        "Make the card stop answering for good, in any reader of this simulator.",
        (_READER,),
        _HAND,
        command="readers",
        done="the card in {reader} is dead",
        words="the card in {reader} is dead",
    ),
    Verb(
        "apdu",
        "Send an APDU to the card, as another program could; the response ends with the status word.",
        (_READER, Parameter("command", Type.COMMAND, "The APDU in hexadecimal, as 00A40400.")),
        Use.LATER | Use.METHOD,
        Result.RESPONSE,
        command="readers",
    ),
    Verb(
        "attach-pcsc",
        "Mirror the card of a PC/SC reader, real or virtual, in this reader (docs/pcsc.md).",
        (
            _READER,
            Parameter(
                "name",
                Type.TEXT,
                "Part of the PC/SC reader's name; left out, the first reader.",
                needed=False,
                default="",
            ),
            Parameter(
                "exclusive",
                Type.FLAG,
                "Open it exclusively: other PC/SC programs cannot use it.",
                needed=False,
                default=False,
            ),
        ),
        Use.LATER | Use.STEP | Use.METHOD,
        Result.CARD_NAME,
        command="readers",
        form="`attach-pcsc: {R: NAME}`, with `exclusive: true`",
        words="{reader} has the cards of PC/SC's reader {about}",
        changes=("insert", "remove", "reset"),
        notes="It is inserted and removed as it is there ([a card that PC/SC "
        "has](pcsc.md#a-card-that-pcsc-has-under-our-module)); `insert` without `card` inserts it again after a "
        "`remove`. A reader that holds a card of the simulator's own is an error: `remove` it first.",
        step="`attach-pcsc: {front: YubiKey}`: the card in the first reader of PC/SC with this in its name, or in "
        "`any`.",
    ),
    Verb(
        "detach-pcsc",
        "Undo attach-pcsc; the mirrored card is removed.",
        (_READER,),
        Use.LATER | Use.STEP | Use.METHOD,
        Result.CHANGED,
        command="readers",
        done="{reader} has cards of its own again",
        vain="{reader} was not attached to PC/SC",
        words="{reader} has cards of its own again",
        changes=("remove",),
        step="`detach-pcsc: front`: the end of that.",
    ),
    Verb(
        "signal",
        "Send a named signal to triggers armed with --signal.",
        (Parameter("signal", Type.WORD, "Name of the signal, as in arm --signal."),),
        Use.LATER | Use.STEP | Use.METHOD,
        Result.HEARD,
        command="triggers",
        command_help="Exit 1: no trigger waits for it, or an action failed.",
        form="`signal: NAME`",
        words="the signal {about} is sent",
        notes="Triggers that wait for it have fired; `failed` has objects with `trigger`, `do` and `problem` for "
        "actions that could not be carried out.",
        step="Say a word, for which triggers wait.",
    ),
    Verb(
        "release",
        "Resume what `arm hang GATE` has stopped.",
        (_GATE,),
        _HAND,
        Result.RELEASED,
        command="triggers",
        command_help="Exit 1: nothing is stopped there.",
        form="`release: GATE`",
        words="gate is opened: {about}",
        step="Let go on what hangs at a gate.",
    ),
    Verb(
        "crash",
        "Simulate a dead simulator: applications cannot reach it; readers and cards stay as they are.",
        (),
        _HAND,
        Result.CHANGED,
        command="simulators",
        done="the simulator is gone for applications; cardtear restart brings it back",
        vain="the simulator was gone for applications already; cardtear restart brings it back",
        words="the simulator is gone for applications",
        step="The simulator is gone for every program.",
    ),
    Verb(
        "restart",
        "Bring the simulator back after `cardtear crash`.",
        (),
        _HAND,
        Result.CHANGED,
        command="simulators",
        done="the simulator is there again",
        vain="the simulator was there already",
        words="the simulator is there again",
        step="It is there again.",
    ),
    Verb(
        "pcscd",
        "Stop the pcscd of `run --own-pcscd`, or start it again; all connections to it are lost.",
        (Parameter("action", Type.PCSCD_ACTION, "stop or start."),),
        _HAND,
        Result.CHANGED,
        command="simulators",
        command_help="\n\nTo stop a stopped one, or to start a running one, is no error.",
        form="`pcscd: stop`, `pcscd: start`",
        words="pcscd: {about}",
        notes="See [removals, swaps and resets](pcsc.md#removals-swaps-and-resets). An error without a `pcscd` of its "
        "own.",
        step="`pcscd: stop` ends the scenario's pcscd, `pcscd: start` starts it again.",
    ),
    Verb(
        "later",
        "Carry out another verb in so many seconds.",
        (
            Parameter("seconds", Type.SECONDS, "Seconds until then.", least=0, most=LONGEST_WAIT),
            Parameter("then", Type.REQUEST, "The verb and its arguments."),
        ),
        Use.ARM | Use.LATER | Use.STEP,
        form="`later: 500ms`, `do: {insert: {front: alice}}`",
        step="Do something in so long; `later: 500ms`, `do: {insert: {front: alice}}`.",
    ),
    Verb("ping", "Answer `pong`.", result=Result.OBJECT),
    Verb(
        "status",
        "Show readers with their cards, applications, and armed triggers.",
        result=Result.OBJECT,
        notes="`readers` (`name`, `card`, `profile`, `atr`, `contactless`, `pcsc`: `port` of its slot in vpcd and "
        "whether its card is `shown` in pcscd, or null, `from_pcsc`: the name given to `attach-pcsc`, or null), "
        "`applications` (`name`, `sessions`, `logged_in`), `triggers` (see there), `module` (its path), `quirks`.",
    ),
    Verb(
        "arm",
        "Do ACTION at a call, APDU, event, signal or time.",
        (
            Parameter("on", Type.MOMENT, "The moment."),
            Parameter("then", Type.ACTION, "The action: a verb or fault with its arguments."),
        ),
        result=Result.OBJECT,
        command="triggers",
        command_help="Prints a number for `cardtear disarm`.",
        notes='Result: `{"trigger": NUMBER}`, with a `note` for a trigger that may never fire. One that cannot, or '
        "that is for a reader that never was, is an error.",
    ),
    Verb(
        "disarm",
        "Cancel a trigger. A trigger that has fired for the last time is no error.",
        (Parameter("trigger", Type.NUMBER, "Number of the trigger, as arm and status print it.", least=1),),
        Use.LATER | Use.METHOD,
        Result.ARMED,
        command="triggers",
        notes="`false`: it was over already. A number that no trigger ever had is an error.",
    ),
    Verb("trace", "Send the entries of the trace, as a stream.", (_AFTER, _FOLLOW), result=Result.STREAM),
    Verb("events", "Send the events of the trace, as a stream.", (_AFTER, _FOLLOW), result=Result.STREAM),
    Verb("shutdown", "Stop the running simulator; applications see their cards removed."),
)

_ANY = ("before", "during", "after")
_SIDES = ("before", "after")

_FAULTS = (
    Verb(
        "answer",
        "Give this response; before the APDU, the card never gets it.",
        (
            Parameter("status", Type.STATUS, "The status word, as 6F00.", least=0, most=0xFFFF),
            Parameter("data", Type.DATA, "The data before it, in hexadecimal.", needed=False, default=b""),
        ),
        apdus=_SIDES,
        form="`answer: 6F00`, with `data`",
        step="A status word instead of the card's answer, with data (hexadecimal).",
    ),
    Verb(
        "garble",
        "Change bytes of the response.",
        (
            Parameter(
                "count",
                Type.NUMBER,
                "How many bytes are changed.",
                needed=False,
                default=1,
                least=1,
                most=LONGEST_RESPONSE,
            ),
            Parameter("seed", Type.NUMBER, "Which ones, by chance: the same seed, the same.", needed=False, default=0),
        ),
        apdus=("after",),
        form="`garble: 2`, with `seed`",
        step="So many bytes of the answer are others.",
        sweep="a byte of the answer is another one",
    ),
    Verb(
        "cut",
        "Cut the response off.",
        (
            Parameter(
                "length",
                Type.NUMBER,
                "How many bytes of it arrive.",
                needed=False,
                default=0,
                least=0,
                most=LONGEST_RESPONSE,
            ),
        ),
        apdus=("after",),
        form="`cut: 10`",
        step="Only so many bytes of the answer arrive.",
    ),
    Verb(
        "return",
        "Return this value; before the call, nothing of it is carried out.",
        (Parameter("value", Type.RETURN_VALUE, "A CK_RV by name or number.", least=0, most=2**64 - 1),),
        calls=_SIDES,
        form="`return: CKR_DEVICE_ERROR`",
        step="The call returns this.",
    ),
    Verb(
        "delay",
        "Delay the call or the response.",
        (Parameter("seconds", Type.SECONDS, "For how long.", least=0, most=LONGEST_WAIT),),
        calls=_ANY,
        apdus=_SIDES,
        waits=True,
        form="`delay: 5s`",
        step="It takes so much longer.",
    ),
    Verb(
        "hang",
        "Stop the call or the APDU until `release` of the same gate, or the card or application is gone.",
        (_GATE,),
        calls=_ANY,
        apdus=_SIDES,
        waits=True,
        form="`hang: GATE`",
        step="It does not go on until the gate is released.",
    ),
    Verb(
        "crash-application",
        "End the application by a segmentation fault, in the call.",
        calls=_ANY,
        apdus=_SIDES,
        step="The program dies in it.",
    ),
)


def _by_name(rows: tuple[Verb, ...]) -> dict[str, Verb]:
    """Return rows by their names. Raises ValueError if two have the same."""
    found = {each.name: each for each in rows}
    if len(found) < len(rows):
        raise ValueError("two rows of the table of verbs have the same name")
    return found


VERBS = _by_name(_VERBS)
"""The verbs by name: all requests of the control channel."""

FAULTS = _by_name(_FAULTS)
"""The faults by name, which only triggers can do."""

TABLE = _by_name((*VERBS.values(), *FAULTS.values()))
"""All of them."""

MOMENT: dict[str, Parameter] = {
    each.name: each
    for each in (
        Parameter("call", Type.TEXT, "A PKCS #11 call, as C_Sign or C_Sign*."),
        Parameter("ins", Type.BYTE, "An APDU with this instruction byte; null: any.", needed=False),
        Parameter("slot", Type.BYTE, "Only commands for this PIV key slot, as 9C."),
        Parameter("link", Type.NUMBER, "Only the n-th APDU of a chained command."),
        Parameter("event", Type.TEXT, "A change of the testbed."),
        Parameter("signal", Type.TEXT, "A named signal."),
        Parameter("seconds", Type.SECONDS, "So many seconds from now.", least=0, most=LONGEST_WAIT),
        Parameter("when", Type.TEXT, "before, during or after the call or APDU."),
        Parameter("reader", Type.TEXT, "Only APDUs and events of this reader."),
        Parameter("application", Type.TEXT, "Only calls of this program, as ssh or java*."),
        Parameter("thread", Type.NUMBER, "Only calls of the n-th thread."),
        Parameter("nth", Type.NUMBER, "From the n-th match on."),
        Parameter("times", Type.NUMBER, "How often; null: always.", needed=False),
        Parameter("probability", Type.SHARE, "Probability of firing at each match."),
        Parameter("seed", Type.NUMBER, "Seed of that choice."),
    )
}
"""The fields of a moment by name; which of them go together is said in moments.py."""


def usable(use: Use) -> dict[str, Verb]:
    """Return the verbs that can be used there, in the order of the table."""
    return {name: row for name, row in VERBS.items() if use in row.use}


def commands(file: str) -> tuple[str, ...]:
    """Return the verbs whose commands are in a file of lab/cli."""
    return tuple(name for name, row in VERBS.items() if row.command == file)
