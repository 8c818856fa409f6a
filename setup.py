"""Build the optional compiled accelerator; all other metadata is in pyproject.toml.

The modules in `src/crossfeed/native/*.pyx` make crossfeed faster, never different: without a
compiler, without Cython or with a compile error the install succeeds as pure Python. Set
`CROSSFEED_PURE=1` to leave them out on purpose, `CROSSFEED_NATIVE=require` to fail without them
(for release builds: a wheel that silently lacks its modules still carries the platform tag).
"""

import importlib.metadata
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
SOURCES = sorted(ROOT.glob("src/crossfeed/native/*.pyx"))
HEADERS = sorted([*ROOT.glob("src/crossfeed/native/*.h"), *ROOT.glob("src/crossfeed/native/*.pxd")])
REQUIRED = os.environ.get("CROSSFEED_NATIVE") == "require"


def has_compiler() -> bool:
    """Say whether the C compiler that this Python would call can be found.

    Asked first because generating C takes seconds that are wasted when nothing can compile it.
    """
    if sys.platform == "win32":
        return True
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(command.split()[0]) is not None


def without(reason: str) -> list[Extension]:
    """Go on without the accelerator and say why, or stop where it was required."""
    if REQUIRED:
        raise RuntimeError(f"the compiled accelerator was required: {reason}")
    sys.stderr.write(f"crossfeed: installing without the compiled accelerator: {reason}\n")
    return []


def picows_version() -> str:
    """Return the version of picows whose declarations are compiled against, "" without one."""
    try:
        return importlib.metadata.version("picows")
    except importlib.metadata.PackageNotFoundError:
        return ""


def translated(source: Path) -> list[Extension]:
    """Translate one Cython source into C."""
    from Cython.Build import cythonize

    plain = Extension(
        f"crossfeed.native.{source.stem}",
        [str(source.relative_to(ROOT))],
        include_dirs=["src/crossfeed/native"],
        depends=[str(header.relative_to(ROOT)) for header in HEADERS],
        define_macros=[("CF_PICOWS", f'"{picows_version()}"')],
        extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
    )
    extensions: list[Extension] = cythonize([plain], language_level=3)
    return extensions


def native_extensions() -> list[Extension]:
    """Translate the Cython sources; return no extension where that is impossible or unwanted.

    Raises:
        RuntimeError: `CROSSFEED_NATIVE=require` is set and the sources cannot be translated.
    """
    if not SOURCES or os.environ.get("CROSSFEED_PURE"):
        return []
    if not has_compiler():
        return without("no C compiler found")
    extensions: list[Extension] = []
    for source in SOURCES:
        # Each by itself: a picows whose declarations changed costs the hook, not the decoder.
        try:
            extensions += translated(source)
        # Whatever a changed .pxd or a foreign Cython throws, an accelerator stops no install.
        except Exception as exc:  # noqa: BLE001
            without(f"{source.stem}: {type(exc).__name__}: {exc}")
    for extension in extensions:
        extension.optional = not REQUIRED
    return extensions


setup(ext_modules=native_extensions())
