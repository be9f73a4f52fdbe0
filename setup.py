# SPDX-License-Identifier: MIT
"""What pyproject.toml cannot say: the C library is a plain .so, and the wheel fits every Python 3 of its platform."""

import os
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

MODULE = Extension(
    "cardtear.csrc.libcardtear-pkcs11",
    sources=[
        f"csrc/{name}.c"
        for name in (
            *("greeting", "interfaces", "invoke", "marshal", "module"),
            *("notice", "parameters", "pool", "slots", "transport", "wire"),
        )
    ],
    depends=[f"csrc/{name}.h" for name in ("cryptoki", "functions", "listed", "shim", "stubs")],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread", "-Wl,-z,defs"],
)
ONLY_US = Extension(
    "cardtear.csrc.libcardtear-only-us",
    sources=["csrc/only_us.c"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
    extra_link_args=["-Wl,-z,defs"],
)


def require_compiler() -> None:
    """Compile an empty program with the headers of the C library. Exits with one line where that fails."""
    command = [*os.environ.get("CC", "cc").split(), "-x", "c", "-c", "-o", os.devnull, "-"]
    try:
        made = subprocess.run(command, input=b"#include <stdio.h>\n", capture_output=True, check=False)
        why = made.stderr.decode(errors="replace").strip().splitlines()[:1] if made.returncode else None
    except OSError as error:
        why = [str(error)]
    if why is not None:
        raise SystemExit(
            f"cardtear needs a C compiler and the C library's headers ({' '.join(why)}). "
            "Debian, Ubuntu: apt install gcc libc6-dev. Fedora: dnf install gcc. Alpine: apk add build-base."
        )


class BuildPlainLibrary(build_ext):
    """Builds a library for dlopen, not a Python extension: no version in its name, no init function."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []


class BuildProductModules(build_py):
    """Collects the package's modules: its root is the root of the repository, where this file lies, too."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        return [each for each in super().find_package_modules(package, package_dir) if each[1] != "setup"]


class PlatformWheel(bdist_wheel):
    """Tags the wheel for its platform and any Python 3: the library does not depend on Python's ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


if not {"egg_info", "sdist"}.intersection(sys.argv):  # those build nothing
    require_compiler()
setup(
    ext_modules=[MODULE, ONLY_US],
    cmdclass={"build_ext": BuildPlainLibrary, "build_py": BuildProductModules, "bdist_wheel": PlatformWheel},
)
