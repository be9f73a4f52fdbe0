# SPDX-License-Identifier: MIT
"""What a scenario cannot mean is refused before it is played, with its line and field."""

from __future__ import annotations

import textwrap

import pytest
from cardtear.lab.scenario import ScenarioError, loads

CONTRADICTIONS = [
    # Cards and readers
    ("- remove: front\n- remove: front", 2, "reader 'front' is empty here"),
    ("- insert: {front: alice}", 1, "reader 'front' holds the card 'alice' already"),
    ("- insert: {back: alice}", 1, "the card 'alice' is in reader 'front'"),
    ("- insert: {back: carol}", 1, "there is no card 'carol'; there are: alice, bob"),
    ("- remove: side", 1, "there is no reader 'side'; there are: back, front"),
    ("- unplug: back\n- insert: {back: bob}", 2, "reader 'back' is not plugged in here"),
    ("- unplug: back\n- unplug: back", 2, "reader 'back' is not plugged in here"),
    ("- plug: back", 1, "reader 'back' is plugged in already"),
    ("- swap: {back: bob}", 1, "reader 'back' is empty here"),
    ("- swap: {front: alice}", 1, "the card 'alice' is in reader 'front' already"),
    ("- unplug: front\n- plug: front\n- remove: front", 3, "reader 'front' is empty here"),
    ("- remove: front\n- reset: front", 2, "reader 'front' is empty here"),
    ("- insert: {back: pcsc}", 1, "no step attaches a reader of PC/SC"),
    ("- unplug: back\n- attach-pcsc: {back: any}", 2, "reader 'back' is not plugged in here"),
    ("- attach-pcsc: {front: any}", 1, "reader 'front' holds the card 'alice' here; remove it first"),
    ("- apdu: {back: 00A40400}", 1, "reader 'back' is empty here"),
    ("- apdu: {front: '00${x}'}", 1, "${x} is neither a saved name nor one of"),
    ("- logout: back", 1, "reader 'back' is empty here"),
    ("- block-pin: back", 1, "reader 'back' is empty here"),
    ("- mute: back", 1, "reader 'back' is empty here"),
    ("- repeat: 2\n  steps:\n  - remove: front", 3, "reader 'front' is empty here"),
    # Clients, saved names, programs
    ("- call: C_GetSlotList()\n  client: other", 1, "there is no client 'other'; there are: app, second"),
    ("- call: C_Logout(session)", 1, "nothing is saved under 'session' before this step"),
    ("- expect: x == 1", 1, "nothing is saved under 'x' before this step"),
    ("- expect: {session: x, state: gone}", 1, "nothing is saved under 'x' before this step"),
    (
        "- call: C_WaitForSlotEvent()\n  background: w\n- call: C_GetSlotList()",
        3,
        "thread 'main' of 'app' may still be in 'w'",
    ),
    (
        "- call: x = C_WaitForSlotEvent()\n  background: w\n- expect: x == 1",
        3,
        "nothing is saved under 'x' before this step",
    ),
    ("- wait: {background: w}", 1, "no call 'w' is under way"),
    ("- wait: {program: p}", 1, "no program 'p' has been started here"),
    ("- run: sleep 1\n- expect: {program: sleep, running: true}", 2, "no program 'sleep' runs in the background here"),
    ("- run: sleep 1\n- wait: {program: sleep}", 2, "this wait is over before it begins: 'sleep' has ended"),
    ("- run: sleep 1\n  background: true\n- run: sleep 1", 3, "'sleep' is running already"),
    ("- call: C_GetSlotList()\n- run: sleep 1\n  name: app", 2, "'app' is a client here, which makes calls; give this"),
    ("- run: sleep 1\n  name: second", 1, "'second' is a client here, which makes calls; give this program another"),
    ("- run: sleep 1\n  name: app\n- exit: app", 3, "there is no client 'app'"),
    ("- run: echo ${nothing}", 1, "${nothing} is neither a saved name nor one of module, "),
    ("- send: {p: x}", 1, "no program 'p' runs in the background here"),
    ("- ask: {p: x}\n  answer: y", 1, "no program 'p' runs in the background here"),
    ("- stop: p", 1, "no program 'p' runs in the background here"),
    ("- exit: p", 1, "there is no client 'p'"),
    ("- disarm: p", 1, "no trigger 'p' is armed here"),
    ("- touch: back", 1, "reader 'back' is empty here; insert a card first"),
    ("- pin-pad: back", 1, "reader 'back' is empty here; insert a card first"),
    ('- pin-pad: {back: "123456"}', 1, "reader 'back' is empty here; insert a card first"),
    # What nobody waits for
    ("- signal: go", 1, "nobody waits for 'go': no trigger and no step does"),
    ("- later: 1s\n  do: {release: there}", 1, "nothing hangs at gate 'there': no trigger does that"),
    ("- release:", 1, "nothing hangs at gate '': no trigger does that"),
    ("- restart", 1, "the simulator is there: no step and no trigger crashes it"),
    ("- detach-pcsc: front", 1, "no step attaches a reader of PC/SC"),
    ("- stop: app", 1, "the client 'app' does not run here: it makes no call before"),
    ("- exit: second", 1, "the client 'second' does not run here"),
    ("- call: C_GetSlotList()\n- exit: app\n- stop: app", 3, "the client 'app' does not run here"),
    (
        "- call: C_WaitForSlotEvent() -> CKR_NO_EVENT\n  background: woken\n- remove: front",
        1,
        "what this call returns is never looked at: wait: {background: woken}",
    ),
    # What can never come
    ("- later: 2m\n  do: {remove: front}", 1, "that is longer than the whole scenario may take"),
    ("- arm: {x: {on: {time: 61s}, do: {remove: front}}}", 1, "that is longer than the whole scenario may take"),
    (
        "- arm: {x: {on: {event: remove}, nth: 3, do: {insert: front}}}\n- remove: front",
        1,
        "this trigger can never fire: there is a 'remove' 1 time at most, not 3",
    ),
    (
        "- arm: {x: {on: {signal: go}, nth: 3, do: {remove: front}}}\n- repeat: 2\n  steps: [{signal: go}]",
        1,
        "this trigger can never fire: 'go' is said 2 times at most, not 3",
    ),
    (
        "- call: C_GetSlotList()\n- arm: {x: {on: {call: C_GetSlotList, thread: 2}, do: {remove: front}}}",
        2,
        "this trigger can never fire: calls are made in 1 thread of a client at most, not 2",
    ),
    ("- arm: {x: {on: {call: C_Sign}, do: {remove: front}}}", 1, "this trigger can never fire: no step calls 'C_Sign'"),
    (
        "- call: C_GetTokenInfo(0)\n- arm: {x: {on: {call: C_GetTokenInfo}, nth: 2, do: {remove: front}}}",
        2,
        "this trigger can never fire: 'C_GetTokenInfo' is called 1 time at most, not 2",
    ),
    (
        "- call: C_Logout(1) -> any\n- arm: {x: {on: {call: C_Logout, application: fox}, do: {remove: front}}}",
        2,
        "this trigger can never fire: no step calls 'C_Logout' in 'fox'",
    ),
    ("- arm: {x: {on: {ins: 87}, do: {remove: front}}}", 1, "this trigger can never fire: no step calls"),
    ("- arm: {x: {on: {signal: go}, do: {remove: front}}}", 1, "this trigger can never fire: nobody says 'go'"),
    (
        "- arm: {x: {on: {event: insert, reader: back}, do: {remove: front}}}",
        1,
        "this trigger can never fire: no step or trigger makes a 'insert' of reader 'back'",
    ),
    ("- arm: {x: {on: {time: 1s}, do: {remove: side}}}", 1, "there is no reader 'side'"),
    ("- arm: {x: {on: {time: 1s}, do: {swap: {front: carol}}}}", 1, "there is no card 'carol'"),
    ("- wait: {event: insert}", 1, "this can never come: no step or trigger makes a 'insert' of any reader"),
    ("- wait: {signal: go}", 1, "this can never come: nobody says 'go'"),
    ("- wait: {call: C_Sign}", 1, "this can never come: no step calls 'C_Sign'"),
    ("- expect: {apdu: 87}", 1, "this can never come: no step makes a call"),
    ("- wait: {trigger: x}", 1, "no trigger 'x' is armed here"),
    (
        "- arm: {x: {on: {time: 1s}, do: {remove: front}}}\n- wait: {trigger: x, fired: 2}",
        2,
        "'x' fires 1 time at most",
    ),
    # Waits that are over
    ("- remove: front\n- wait: {event: remove, reader: front}", 2, "over before it begins: the step before it does"),
    ("- swap: {front: bob}\n- wait: {event: insert}", 2, "over before it begins: the step before it does"),
    (
        "- arm: {x: {on: {time: 1s}, do: {remove: front}}}\n- wait: {trigger: x}\n- wait: {trigger: x}",
        3,
        "over before it begins: it has been waited for already",
    ),
    ("- expect: {event: remove, since: there}", 1, "there is no mark 'there' before this step"),
    ("- expect: {nothing: {event: insert}, for: 2m}", 1, "that is longer than the whole scenario may take"),
    ("- expect: {nothing: {background: w}, for: 1s}", 1, "no call 'w' is under way"),
]


@pytest.mark.parametrize(("steps", "line", "message"), CONTRADICTIONS, ids=[each[2][:50] for each in CONTRADICTIONS])
def test_refused(steps: str, line: int, message: str) -> None:
    head = "cards: {alice: {}, bob: {}}\nreaders: {front: alice, back: empty}\nclients: {second: {}}\nsteps:\n"
    with pytest.raises(ScenarioError) as caught:
        loads(head + steps, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml:{line + 4}: steps[")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("readers: {front: dave}\nsteps: [crash]", "1: readers.front: there is no card 'dave'"),
        ("readers: {a: alice, b: alice}\nsteps: [crash]", "1: readers.b: the card 'alice' is in reader 'a'"),
        (
            "triggers:\n  x: {on: {call: C_Sign}, do: {remove: front}}\nsteps: [crash]",
            "2: triggers.x: this trigger can never fire",
        ),
        ("environment:\n  X: ${y}\nsteps: [crash]", "2: environment.X: ${y} is neither"),
        ("steps: [crash]\nfails-with:\n- quirks: [odd]\n  message: x", "3: fails-with[0].quirks: there is no quirk"),
    ],
)
def test_refused_outside_the_steps(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=r"^f\.yaml:") as caught:
        loads(text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml:{message}")


@pytest.mark.parametrize(
    "steps",
    [
        # A trigger may have pulled the card, or not: that is found out when it is played.
        """
        - arm: {pull: {on: {call: C_GetSlotList}, do: {remove: front}}}
        - call: C_GetSlotList()
        - insert: {front: alice}
        """,
        """
        - later: 1s
          do: {remove: front}
        - wait: {event: remove}
        - insert: {front: alice}
        """,
        # A program that lays hands at a reader.
        """
        - run: cardtear remove front
          handles: [front]
        - insert: {front: alice}
        """,
        # A program may make any call and say any word.
        """
        - run: firefox
          background: true
        - arm: {pull: {on: {call: C_Sign}, nth: 7, do: {remove: front}}}
        - arm: {word: {on: {signal: go}, do: {remove: front}}}
        """,
        # A saved name from the first round is there in the second.
        """
        - repeat: 2
          steps:
          - call: s = C_OpenSession(front)
          - call: C_CloseSession(s)
          - remove: front
          - insert: {front: alice}
        """,
        # A program that has ended may be started anew, and a client too.
        """
        - run: sleep 1
        - run: sleep 1
        - call: C_WaitForSlotEvent()
          background: w
        - stop: app
        - call: C_GetSlotList()
        """,
    ],
)
def test_not_refused(steps: str) -> None:
    assert loads("steps:\n" + textwrap.dedent(steps)).steps
