# SPDX-License-Identifier: MIT
"""Generates functions.h, listed.h, stubs.h, declarations.py and p11/constants.py from the call table and the header.

`python -m cardtear.csrc.generate` writes the files, `--check` fails when one is stale.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from ..p11.calls import BY_NAME, CALLS
from ..p11.constants import CKR
from ..p11.return_values import returned

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "made by csrc/generate.py; do not edit"

# The C parameters behind one letter of a signature.
C_TYPES: dict[str, tuple[str, ...]] = {
    "u": ("CK_ULONG",),
    "U": ("CK_ULONG *",),
    "y": ("CK_BBOOL",),
    "l": ("CK_UTF8CHAR *",),
    "b": ("CK_BYTE *", "CK_ULONG"),
    "n": ("CK_BYTE *", "CK_ULONG"),
    "B": ("CK_BYTE *", "CK_ULONG *"),
    "r": ("CK_BYTE *", "CK_ULONG"),
    "L": ("CK_ULONG *", "CK_ULONG *"),
    "F": ("CK_ULONG *", "CK_ULONG", "CK_ULONG *"),
    "s": ("CK_UTF8CHAR *",),
    "m": ("CK_MECHANISM *",),
    "M": ("CK_MECHANISM *",),
    "w": ("CK_MECHANISM *",),
    "W": ("CK_MECHANISM *",),
    "p": ("void *", "CK_ULONG"),
    "P": ("void *", "CK_ULONG"),
    "t": ("CK_ATTRIBUTE *", "CK_ULONG"),
    "q": ("CK_ATTRIBUTE *", "CK_ULONG"),
    "S": ("CK_SLOT_INFO *",),
    "K": ("CK_TOKEN_INFO *",),
    "E": ("CK_SESSION_INFO *",),
    "H": ("CK_MECHANISM_INFO *",),
    "-": ("void *",),
    "0": ("void *",),
}

# The functions that module.c and interfaces.c have by hand, with their parameters.
BY_HAND = {
    "C_Initialize": ("void *",),
    "C_Finalize": ("void *",),
    "C_GetInfo": ("CK_INFO *",),
    "C_GetFunctionList": ("CK_FUNCTION_LIST **",),
    "C_GetInterfaceList": ("CK_INTERFACE *", "CK_ULONG *"),
    "C_GetInterface": ("CK_UTF8CHAR *", "CK_VERSION *", "CK_INTERFACE **", "CK_FLAGS"),
}

# The order of the function lists (PKCS #11 base specification, 3.6), where it differs from the call table's.
_FIRST = ("C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList")


def _since(version: int, minor: int) -> list[str]:
    return [call.name for call in CALLS if (call.version, call.minor) == (version, minor) and call.name not in _FIRST]


LIST_2_40 = [*_FIRST, *_since(2, 40)]
LIST_3_0 = [*LIST_2_40, "C_GetInterfaceList", "C_GetInterface", *_since(3, 0)]
LIST_3_2 = [*LIST_3_0, *_since(3, 2)]

STRUCTS = {"CK_FUNCTION_LIST": LIST_2_40, "CK_FUNCTION_LIST_3_0": LIST_3_0, "CK_FUNCTION_LIST_3_2": LIST_3_2}

# The function lists that the module offers, newest first. 3.1 has no functions that 3.0 does not have.
LISTS = {
    (3, 2): "CK_FUNCTION_LIST_3_2",
    (3, 1): "CK_FUNCTION_LIST_3_0",
    (3, 0): "CK_FUNCTION_LIST_3_0",
    (2, 40): "CK_FUNCTION_LIST",
}


def _types(name: str) -> tuple[str, ...]:
    if name in BY_HAND:
        return BY_HAND[name]
    return tuple(c_type for letter in BY_NAME[name].signature for c_type in C_TYPES[letter])


def functions_h() -> str:
    """Generate numbers and signatures of the calls, and the function lists; cffi reads them, too, from the typedefs."""

    def struct(tag: str, names: list[str]) -> list[str]:
        pointers = [f"    CK_RV (*{name})({', '.join(_types(name))});" for name in names]
        return [f"struct {tag} {{", "    CK_VERSION version;", *pointers, "};"]

    lines = [
        "/* SPDX-License-Identifier: MIT */",
        f"/* {NOTICE} */",
        *(f"#define CALL_{call.name} {call.number}" for call in CALLS),
        *(f'#define SIGNATURE_{call.name} "{call.signature}"' for call in CALLS),
        "",
        *(f"typedef struct {tag} {tag};" for tag in STRUCTS),
        *(line for tag, names in STRUCTS.items() for line in struct(tag, names)),
    ]
    return "\n".join(lines) + "\n"


def listed_h() -> str:
    """Generate a C function that returns a value as it is if the function's list has it (p11/return_values.py)."""
    cases = [
        line
        for value in (CKR.ARGUMENTS_BAD, CKR.DEVICE_ERROR)
        for line in (
            f"    case CKR_{value.name}:",
            "        switch (number) {",
            *(
                f"        case CALL_{call.name}:\n            return CKR_{returned(call.name, value).name};"
                for call in CALLS
                if call.signature.strip("uy") and returned(call.name, value) is not value
            ),
            "        }",
            "        return rv;",
        )
    ]
    lines = [
        "/* SPDX-License-Identifier: MIT */",
        f"/* {NOTICE} */",
        "/* Return what a function has for `rv`, which it got without the simulator (p11/return_values.py). */",
        "static CK_RV listed(uint16_t number, CK_RV rv)",
        "{",
        "    switch (rv) {",
        *cases,
        "    }",
        "    return rv;",
        "}",
    ]
    return "\n".join(lines) + "\n"


def stubs_h() -> str:
    """Generate a stub for each call that is not in BY_HAND, and the interfaces with their function lists.

    C_GetInfo returns the version of the list that it is called through (PKCS #11 base specification, 5.4), so each list
    has its own.
    """
    lines = [
        "/* SPDX-License-Identifier: MIT */",
        f"/* {NOTICE} */",
        "CK_RV C_GetFunctionList(CK_FUNCTION_LIST **);",
        "CK_RV C_GetInterfaceList(CK_INTERFACE *, CK_ULONG *);",
        "CK_RV C_GetInterface(CK_UTF8CHAR *, CK_VERSION *, CK_INTERFACE **, CK_FLAGS);",
        "",
    ]
    for call in CALLS:
        if call.name in BY_HAND:
            continue
        types = _types(call.name)
        parameters = ", ".join(
            f"{c_type}{'' if c_type.endswith('*') else ' '}a{number}" for number, c_type in enumerate(types)
        )
        passed = "".join(f", a{number}" for number in range(len(types)))
        lines += [
            f"static CK_RV {call.name}({parameters})",
            "{",
            f"    return invoke(CALL_{call.name}, SIGNATURE_{call.name}{passed});",
            "}",
            "",
        ]
    for (major, minor), tag in LISTS.items():
        suffix = f"{major}_{minor}"
        own = {"C_GetInfo": f"C_GetInfo_{suffix}"}
        lines += [
            f"static CK_RV C_GetInfo_{suffix}(CK_INFO *a0)",
            "{",
            f"    return get_info((CK_VERSION){{{major}, {minor}}}, a0);",
            "}",
            "",
            f"static {tag} functions_{suffix} = {{",
            f"    {{{major}, {minor}}},",
            *(f"    {own.get(name, name)}," for name in STRUCTS[tag]),
            "};",
            "",
        ]
    lines += [
        "static CK_INTERFACE interfaces[] = {",
        *(f'    {{(CK_CHAR *)"PKCS 11", &functions_{major}_{minor}, 0}},' for major, minor in LISTS),
        "};",
    ]
    return "\n".join(lines) + "\n"


_DEFINE = re.compile(r"#define (CK[A-Z]?)_(\w+) (0x[0-9A-F]+)UL")
_DOCS = {
    "CKR": "Return values.",
    "CKA": "Attribute types.",
    "CKM": "Mechanism types.",
    "CKO": "Object classes.",
    "CKK": "Key types.",
    "CKC": "Certificate types.",
    "CKU": "User types.",
    "CKS": "Session states, and types of validation flags.",
    "CKH": "Hardware feature types, and how a signature is hedged.",
    "CKP": "Profile identifiers, pseudo-random functions of PBKDF2, and parameter sets.",
    "CKN": "Notifications.",
    "CKD": "Key derivation functions.",
    "CKZ": "Sources of OAEP labels and of salts.",
    "CKG": "Mask generation functions and IV generators.",
    "CKF": "Flags; one number can have several names, one for each struct.",
    "CKV": "Types of validations and of their authorities.",
    "CKT": "Trust.",
    "CK": "Special values, certificate categories, security domains, and what SP 800-108 is fed.",
}


def constants_py() -> str:
    """Generate the header's numbers as Python enumerations."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for prefix, name, number in _DEFINE.findall((ROOT / "csrc" / "cryptoki.h").read_text()):
        groups[prefix].append((name, number))
    lines = [
        "# SPDX-License-Identifier: MIT",
        f'"""The numbers of PKCS #11 by name, from csrc/cryptoki.h ({NOTICE})."""',
        "",
        "from enum import IntEnum",
    ]
    for prefix, members in groups.items():
        lines += ["", "", f"class {prefix}(IntEnum):", f'    """{_DOCS[prefix]}"""', ""]
        lines += [f"    {name} = {number}" for name, number in members]
    return "\n".join(lines) + "\n"


def declarations_py() -> str:
    """Generate all types of both headers for cffi, parsed: parsing takes 0.2 s at the start of every client."""
    from cffi import FFI

    functions = functions_h()
    types = (ROOT / "csrc" / "cryptoki.h").read_text() + functions[functions.index("typedef") :]
    ffi = FFI()
    ffi.set_source("cardtear.csrc.declarations", None)
    ffi.cdef(re.sub("^#define .*$", "", types, flags=re.MULTILINE) + _LOADED)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        made = Path(folder) / "declarations.py"
        ffi.emit_python_code(str(made))
        _, _, code = made.read_text().partition("\n")
    return f'# SPDX-License-Identifier: MIT\n"""Types of PKCS #11 for cffi ({NOTICE})."""\n\n{code}'


_LOADED = """
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);
CK_RV C_GetInterface(char *name, CK_VERSION *version, CK_INTERFACE **interface, CK_FLAGS flags);
"""
"""What is looked up in the library itself."""

FILES = {
    "csrc/functions.h": functions_h,
    "csrc/listed.h": listed_h,
    "csrc/stubs.h": stubs_h,
    "csrc/declarations.py": declarations_py,
    "p11/constants.py": constants_py,
}


def stale() -> list[str]:
    """Return the generated files that differ from what the table and the header give now."""
    return [name for name, make in FILES.items() if not (ROOT / name).is_file() or (ROOT / name).read_text() != make()]


def main() -> int:
    """Write the files, or with --check only list stale ones."""
    if "--check" in sys.argv[1:]:
        for name in stale():
            print(f"{name} is stale: run python -m cardtear.csrc.generate", file=sys.stderr)
        return 1 if stale() else 0
    for name, make in FILES.items():
        (ROOT / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
