# SPDX-License-Identifier: MIT
"""Every step, every condition and every fault, played with the built-in client."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from cardtear.lab.scenario import loads
from cardtear.lab.scenario.conditions import CONDITIONS
from cardtear.lab.scenario.steps import STEPS
from cardtear.lab.scenario.verbs import FAULTS, VERBS
from cardtear.lab.simulator import own_pcscd, verbs
from cardtear.lab.simulator.own_pcscd import why_not

from .conftest import Play

STORIES = {
    "hands": r"""
        cards: {alice: {}, bob: {}}
        readers: {front: alice, back: empty}
        steps:
        - call: one = C_OpenSession(front)
        - swap: {front: bob}
        - call: C_GetSessionInfo(one) -> CKR_SESSION_HANDLE_INVALID
        - call: token = C_GetTokenInfo(front)
        - expect: token.label == "Bob"
        - insert: {back: alice}
        - call: session = C_OpenSession(back)
        - call: C_Login(session, CKU_USER, "123456")
        - expect: {session: session, state: CKS_RO_USER_FUNCTIONS}
        - reset: back
        - expect: {event: reset, reader: back}
        - expect: {session: session, state: CKS_RO_PUBLIC_SESSION}
        - call: C_Login(session, CKU_USER, "123456")
        - logout: back
        - expect: {session: session, state: CKS_RO_PUBLIC_SESSION}
        - unplug: back
        - expect: {event: remove, reader: back}
        - expect: {session: session, state: gone}
        - plug: back
        - call: C_GetTokenInfo(back) -> CKR_TOKEN_NOT_PRESENT
        - remove: front
        - call: present = C_GetSlotList(TRUE)
        - expect: present == []
        - call: all = C_GetSlotList(CK_FALSE)
        - expect: all == [front, back] and TRUE == true and FALSE != CK_TRUE
        """,
    "commands of another program": r"""
        triggers: {pull: {on: {ins: CB}, do: {remove: front}}}
        steps:
        - apdu: {front: 00 A4 04 00 0B A000000308000010000100}
          data: ^61(?P<length>..)
        - expect: {apdu: A4, status: 9000, reader: front}
        - apdu: {front: 00200080}
          status: 63C3
        - apdu: {front: 0020008008313233343536FFFF}
        - apdu: {front: "00${length}0080"}
          status: [6700, 6D00, 6A86, 6A80]
        - apdu: {front: 0020FF80}
          status: any
        - apdu: {front: 00CB3FFF055C035FC10200}
          status: none
        - expect: {trigger: pull}
        - insert: front
        - mute: front
        - apdu: {front: 00A40400}
          status: none
          within: 1s
        """,
    "sessions that end": r"""
        triggers:
          heard: {on: {event: close-sessions}, do: {swap: {front: bob}}, nth: 2}
        cards: {alice: {}, bob: {}}
        steps:
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "123456")
        - close-sessions: front
        - expect: {event: close-sessions, reader: front}
        - expect: {session: session, state: gone}
        - call: C_GetSessionInfo(session) -> CKR_SESSION_HANDLE_INVALID
        - call: pending = events()
        - expect: pending == []
        - call: session = C_OpenSession(front)
        - expect: {session: session, state: CKS_RO_PUBLIC_SESSION}
        - call: C_Login(session, CKU_USER, "123456")
        - call: '[key] = find(session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_ID: b"\x01"})'
        - later: 10ms
          do: {close-sessions: front}
        - wait: {event: close-sessions}
        - wait: {event: insert, reader: front}
        - call: token = C_GetTokenInfo(front)
        - expect: token.label == "Bob"
        """,
    "a session that nobody uses": r"""
        quirks: [idle_timeout=0.2]
        steps:
        - call: session = C_OpenSession(front)
        - expect: {session: session, state: gone}
          within: 5s
        - expect: {count: events, of: close-sessions, exactly: 1}
        - call: C_GetSessionInfo(session) -> CKR_SESSION_HANDLE_INVALID
        - call: info = C_GetSlotInfo(front)
        - expect: info.flags & CKF_TOKEN_PRESENT == CKF_TOKEN_PRESENT
        """,
    "questions": r"""
        steps:
        - run: [sh, -c, 'while read line; do echo "you say $line"; done; echo bye']
          name: echo
          background: true
        - ask: {echo: one}
          answer: ^you say (?P<said>.*)$
        - expect: said == "one"
        - ask: {echo: "again ${said}"}
          answer: ^you say again one$
        - ask: {echo: "${module}"}
          answer: ^you say /
        """,
    "pins": r"""
        cards: {alice: {profile: pin-pad, pin_pad_timeout: 5}}
        steps:
        - call: session = C_OpenSession(front)
        - pin-pad: {front: "123456"}
        - call: C_Login(session, CKU_USER, NULL)
        - call: C_Logout(session)
        - pin-pad: front
        - call: C_Login(session, CKU_USER, NULL) -> CKR_FUNCTION_CANCELED
        - block-pin: front
          left: 1
        - call: token = C_GetTokenInfo(front)
        - expect: token.flags & CKF_USER_PIN_FINAL_TRY == CKF_USER_PIN_FINAL_TRY
        - block-pin: front
        - pin-pad: {front: "123456"}
        - call: C_Login(session, CKU_USER, NULL) -> CKR_PIN_LOCKED
        """,
    "a card that does not answer": r"""
        steps:
        - mute: front
        - call: C_OpenSession(front) -> CKR_DEVICE_ERROR
        - reset: front
        - call: session = C_OpenSession(front)
        - kill: front
        - call: C_Login(session, CKU_USER, "123456") -> CKR_DEVICE_ERROR
        - reset: front
        - call: C_Login(session, CKU_USER, "123456") -> CKR_DEVICE_ERROR
        """,
    "a contactless reader": r"""
        cards: {alice: {}}
        readers: {}
        steps:
        - plug: front
          contactless: true
        - insert: {front: alice}
        - run: cardtear status
          output: front \(contactless\)
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "123456") -> any
        - expect: {count: apdus, of: "20", at-least: 1}
        """,
    "a touch": r"""
        cards: {alice: {touch: always}}
        steps:
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "123456")
        - call: '[key] = find(session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_ID: b"\x01"})'
        - call: C_SignInit(session, CKM_SHA256_RSA_PKCS, key)
        - call: signature = C_Sign(session, "data")
          background: signing
        - expect: {nothing: {background: signing}, for: 50ms}
        - touch: front
        - wait: {background: signing}
        - expect: len(signature) == 256
        """,
    "a bad contact": r"""
        readers: {front: empty}
        steps:
        - insert: {front: alice}
          atr: "3B00"
        - run: cardtear status
          output: 3B00
        - remove: front
        - insert: {front: alice}
        - run: cardtear status
          output: 3B9E
        """,
    "a simulator that is gone": r"""
        steps:
        - call: session = C_OpenSession(front)
        - crash
        - call: C_GetSessionInfo(session) -> CKR_SESSION_HANDLE_INVALID
        - restart
        - call: slots = C_GetSlotList(True)
        - expect: slots == [0]
        """,
    "triggers": r"""
        cards: {alice: {}, bob: {}}
        triggers:
          second: {on: {call: C_GetSlotInfo, when: before}, nth: 2, do: {remove: front}}
        steps:
        - call: info = C_GetSlotInfo(front)
        - expect: info.flags & CKF_TOKEN_PRESENT == CKF_TOKEN_PRESENT
        - expect: {nothing: {trigger: second}, for: 20ms}
        - call: info = C_GetSlotInfo(front)
        - expect: info.flags & CKF_TOKEN_PRESENT == 0
        - wait: {trigger: second}
        - arm:
            back again: {on: {time: 20ms}, do: {insert: {front: alice}}}
        - wait: {event: insert, reader: front}
        - wait: {trigger: back again}
        - arm:
            word: {on: {signal: go}, do: {swap: {front: bob}}}
            never: {on: {signal: go}, do: {unplug: front}}
            after: {on: {event: insert}, do: {block-pin: front, left: 2}}
        - disarm: never
        - signal: go
        - wait: {signal: go}
        - expect: {event: insert}
        - expect: {trigger: after}
        - later: 20ms
          do: {remove: front}
        - wait: {event: remove}
        """,
    "faults": r"""
        steps:
        - call: session = C_OpenSession(front)
        - arm:
            given: {on: {call: C_GetSessionInfo}, do: {return: CKR_FUNCTION_FAILED}}
            slow: {on: {call: C_GetSlotInfo, when: after}, do: {delay: 20ms}}
        - call: C_GetSessionInfo(session) -> CKR_FUNCTION_FAILED
        - call: C_GetSlotInfo(front)
        - wait: {trigger: slow}
        - arm: {status: {on: {ins: 20}, do: {answer: 63C1}}}
        - call: C_Login(session, CKU_USER, "123456") -> CKR_PIN_INCORRECT
        - expect: {apdu: 20, status: 63c1}
        - arm: {cut: {on: {ins: 20, when: after}, do: {cut: 1}}}
        - call: C_Login(session, CKU_USER, "123456") -> CKR_DEVICE_ERROR
        - reset: front
        - arm: {garbled: {on: {ins: 20, when: after}, do: {garble: 2, seed: 3}}}
        - call: C_Login(session, CKU_USER, "123456") -> CKR_DEVICE_ERROR | CKR_GENERAL_ERROR | CKR_FUNCTION_FAILED
        - arm: {gate: {on: {call: C_GetSlotInfo}, do: {hang: door}}}
        - call: info = C_GetSlotInfo(front)
          background: hanging
        - wait: {trigger: gate}
        - expect: {nothing: {background: hanging}, for: 50ms}
        - release: door
        - wait: {background: hanging}
        - arm: {end: {on: {call: C_GetSlotList}, do: crash-application}}
        - call: C_GetSlotList() -> died
        - call: C_GetSlotList()
        """,
    "counting": r"""
        steps:
        - call: session = C_OpenSession(front)
        - mark: here
        - repeat: 3
          steps:
          - call: C_GetSessionInfo(session)
          - repeat: 2
            steps:
            - call: C_GetSlotInfo(front)
        - expect: {count: calls, exactly: 9, since: here}
        - expect: {count: calls, of: C_GetSlot*, at-least: 6, at-most: 6, since: here}
        - expect: {count: calls, of: C_Initialize, at-most: 0}
        - expect: {count: apdus, exactly: 0, since: here}
        - expect: {count: apdus, of: A4, at-least: 1, application: app, since: start}
        - expect: {count: events, of: insert, exactly: 1, since: start}
        """,
    "calls in the trace": r"""
        clients: {second: {}}
        steps:
        - call: session = C_OpenSession(front)
        - call: other = C_OpenSession(front)
          client: second
        - expect: session != other
        - call: C_Login(other, CKU_USER, "123456")
          client: second
        - expect: {call: C_Login, application: second, returns: CKR_OK}
        - expect: {call: C_Login, application: second, when: after}
        - expect: {nothing: {call: C_Login}, for: 20ms}
        - expect: {session: session, state: CKS_RO_PUBLIC_SESSION}
        - call: C_WaitForSlotEvent() -> CKR_OK
          client: second
          thread: waiter
          background: waiting
        - wait: {call: C_WaitForSlotEvent, when: during}
        - expect: {call: C_WaitForSlotEvent, when: under-way, application: second}
        - expect: {nothing: {call: C_WaitForSlotEvent, when: under-way, application: app}, for: 20ms}
        - remove: front
        - wait: {background: waiting}
        - expect: {nothing: {call: C_WaitForSlotEvent, when: under-way}, for: 20ms}
        - expect: {call: C_WaitForSlotEvent, returns: any, since: start}
        """,
    "a call that waits for the card": r"""
        clients: {second: {}}
        steps:
        - call: session = C_OpenSession(front)
        - call: other = C_OpenSession(front)
          client: second
        - arm: {stop: {on: {ins: 20, application: app}, do: {hang: gate}}}
        - call: C_Login(session, CKU_USER, "123456")
          background: first
        - wait: {trigger: stop}
        - arm: {pull: {on: {signal: now}, do: {remove: front}}}
        - call: C_Login(other, CKU_USER, "123456") -> CKR_DEVICE_REMOVED
          client: second
          background: second
        - wait: {call: C_Login, when: under-way, application: second}
        - expect: {call: C_Login, when: during, application: second}
        - expect: {nothing: {background: second}, for: 20ms}
        - signal: now
        - wait: {background: second}
        - expect: {nothing: {call: C_Login, when: under-way, application: second}, for: 20ms}
        """,
    "a call that waits for its session": r"""
        steps:
        - call: session = C_OpenSession(front)
        - call: C_Login(session, CKU_USER, "123456")
        - call: '[key] = find(session, {CKA_CLASS: CKO_PRIVATE_KEY, CKA_ID: b"\x01"})'
        - call: C_SignInit(session, CKM_SHA256_RSA_PKCS, key)
        - arm: {stop: {on: {ins: 87}, do: {hang: gate}}}
        - call: C_Sign(session, "data")
          thread: first
          background: first
        - wait: {trigger: stop}
        - call: C_SignUpdate(session, "data") -> CKR_OPERATION_NOT_INITIALIZED
          thread: second
          background: second
        - wait: {call: C_SignUpdate, when: under-way}
        - expect: {nothing: {background: second}, for: 20ms}
        - release: gate
        - wait: {background: first}
        - wait: {background: second}
        """,
    "the client's own functions": r"""
        clients: {child: {}}
        steps:
        - call: info = C_GetInfo()
        - expect: info.manufacturerID == "cardtear" and info.cryptokiVersion[0] >= 2
        - call: session = C_OpenSession(front)
        - call: 'found = find(session, {CKA_CLASS: CKO_CERTIFICATE})'
        - call: attributes = C_GetAttributeValue(session, found[0], [CKA_CLASS, CKA_ID, CKA_LABEL])
        - expect: attributes[CKA_CLASS] == CKO_CERTIFICATE and len(attributes[CKA_ID]) == 1
        - call: some = C_GenerateRandom(session, 8)
        - expect: len(some) == 8
        - call: C_DigestInit(session, CKM_SHA256)
        - call: digest = C_Digest(session, "abc")
        - call: C_DigestInit(session, CKM_SHA256)
        - call: again = C_Digest(session, "abc")
        - expect: digest == again and len(digest) == 32
        - call: mechanisms = C_GetMechanismList(front)
        - expect: CKM_RSA_PKCS in mechanisms
        - remove: front
        - call: pending = events()
        - expect: pending == [front]
        - call: fork("child")
        - call: C_GetSlotList() -> CKR_CRYPTOKI_NOT_INITIALIZED
          client: child
        - call: C_Initialize()
          client: child
        - call: slots = C_GetSlotList()
          client: child
        - expect: slots == [front]
        - exit: child
        - call: C_Finalize()
        - call: unload()
        - exit: app
        """,
    "programs": r"""
        environment: {WORD: "${folder}"}
        files: {hello.txt: "hello from ${folder}\n"}
        steps:
        - run: cat hello.txt
          output: ^hello from /
        - run: [sh, -c, "echo $WORD $MORE; cat; echo trouble >&2; exit 3"]
          environment: {MORE: x y}
          files: {sub/more.txt: more}
          input: given
          output: "^/.* x y\ngiven$"
          errors: ^trouble$
          exits: [3, 4]
        - run: ["${python}", -c, "import sys\nfor line in sys.stdin: print('>' + line, end='', flush=True)"]
          name: echo
          background: true
        - send: {echo: "one\n"}
        - wait: {program: echo, output: ^>one}
        - expect: {program: echo, running: true}
        - expect: {nothing: {program: echo, exits: any}, for: 20ms}
        - stop: echo
          with: SIGTERM
        - expect: {program: echo, exits: SIGTERM}
        - run: sleep 0.05
          background: true
        - wait: {program: sleep}
        - run: sh -c 'kill -SEGV $$'
          exits: SIGSEGV
        - run: cardtear signal over
          name: speaker
          background: true
        - wait: {signal: over}
        - run: cardtear remove front
          handles: [front]
        - expect: {event: remove}
        - insert: {front: alice}
        """,
}
WITH_PYSCARD = {
    "a reader of PC/SC": r"""
        cards: {alice: {}}
        readers: {front: empty}
        triggers:
          back: {on: {signal: now}, do: {insert: {front: pcsc}}}
        steps:
        - attach-pcsc: {front: no such reader}
        - run: cardtear status
          output: from no such reader
        - signal: now
        - detach-pcsc: front
        - insert: {front: alice}
        """,
}

WITH_PCSCD = {
    "pcscd is stopped and started": r"""
        cards: {alice: {}}
        readers: {front: alice}
        pcsc: true
        triggers:
          back: {on: {signal: now}, do: {pcscd: start}}
        steps:
        - run: opensc-tool --atr
        - pcscd: stop
        - run: opensc-tool --atr
          exits: 1
        - remove: front
        - insert: {front: alice}
        - pcscd: start
        - run: opensc-tool --atr
        - pcscd: stop
        - signal: now
        - pcscd: start
        - run: opensc-tool --atr
        """,
}


@pytest.mark.parametrize(
    "name",
    [
        *STORIES,
        *(pytest.param(name, marks=pytest.mark.needs("smartcard")) for name in WITH_PYSCARD),
        *(
            pytest.param(
                name,
                marks=[
                    pytest.mark.needs("opensc-tool"),
                    pytest.mark.skipif(bool(why_not()), reason="no pcscd can be started"),
                ],
            )
            for name in WITH_PCSCD
        ),
    ],
)
def test_story(passes: Play, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from pathlib import Path

    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    if name in WITH_PYSCARD:  # PC/SC's library looks up only once where pcscd is: where any pcscd of tests will be
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(own_pcscd._socket_here()))
    passes((STORIES | WITH_PYSCARD | WITH_PCSCD)[name])


def test_the_stories_have_everything() -> None:
    """No step, condition or fault is left out above, nor in the scenarios that come with cardtear."""
    used: set[str] = set()
    for text in (STORIES | WITH_PYSCARD | WITH_PCSCD).values():
        _gather(loads(textwrap.dedent(text)).model_dump(by_alias=True), used)
    left_out = (set(STEPS) | set(CONDITIONS) | set(FAULTS)) - used
    assert not left_out, f"put each of {sorted(left_out)} into one of the scenarios above"


def test_the_language_has_everything_that_triggers_can_do() -> None:
    assert set(VERBS) == set(verbs.usable(verbs.Use.ARM))
    assert set(FAULTS) == set(verbs.FAULTS)


def _gather(tree: Any, keys: set[str]) -> None:
    if isinstance(tree, dict):
        keys |= set(tree)
        for value in tree.values():
            _gather(value, keys)
    elif isinstance(tree, list):
        for value in tree:
            _gather(value, keys)


@pytest.mark.parametrize(
    "step",
    [
        "wait: {call: C_Sign, application: app, when: under-way}\n          within: 1s",
        "ask: {app: something}\n          answer: something",
    ],
)
def test_a_program_that_has_failed_in_the_background(play: Play, step: str) -> None:
    """Whatever is awaited in vain, it is said what the program has ended with."""
    outcome = play(f"""
        steps:
        - run: sh -c 'echo "not permitted" >&2; exec <&-; exit 3'
          name: app
          background: true
        - {step}
    """)
    assert outcome.message.endswith("not permitted"), outcome.message
    assert "ended" in outcome.message, outcome.message
    assert outcome.message.count("not permitted") == 1
