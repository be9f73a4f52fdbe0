# SPDX-License-Identifier: MIT
"""What pyproject.toml cannot say: the C library is a plain .so, and the wheel fits every Python 3 of its platform."""

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

MODULE = Extension(
    "cardtear.csrc.libcardtear-pkcs11",
    sources=[f"csrc/{name}.c" for name in ("marshal", "module", "parameters", "slots", "transport", "wire")],
    depends=[f"csrc/{name}.h" for name in ("cryptoki", "functions", "shim", "stubs")],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread", "-Wl,-z,defs"],
)


class BuildPlainLibrary(build_ext):
    """Builds a library for dlopen, not a Python extension: no version in its name, no init function."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []


class PlatformWheel(bdist_wheel):
    """The library does not depend on Python's ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(ext_modules=[MODULE], cmdclass={"build_ext": BuildPlainLibrary, "bdist_wheel": PlatformWheel})
