"""setup.py builds the accelerator where it can and never fails an install where it cannot."""

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import setuptools

SETUP = Path(__file__).resolve().parents[2] / "setup.py"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy setup.py into a project with one Cython source and no switches set."""
    (tmp_path / "src" / "crossfeed" / "native").mkdir(parents=True)
    (tmp_path / "src" / "crossfeed" / "native" / "_engine.pyx").write_text("x = 1\n")
    (tmp_path / "setup.py").write_text(SETUP.read_text("utf-8"))
    monkeypatch.delenv("CROSSFEED_PURE", raising=False)
    monkeypatch.delenv("CROSSFEED_NATIVE", raising=False)
    monkeypatch.setenv("CC", sys.executable)
    return tmp_path / "setup.py"


@pytest.fixture
def extensions(script: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a call that runs setup.py and gives the extensions it would build."""

    def run() -> list[setuptools.Extension]:
        given: dict[str, Any] = {}
        monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
        runpy.run_path(str(script))
        return list(given["ext_modules"])

    return run


def provide_cython(monkeypatch: pytest.MonkeyPatch, cythonize: Any) -> None:
    """Put a translator in Cython's place: the test environment has no Cython."""
    build = ModuleType("Cython.Build")
    build.cythonize = cythonize  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "Cython", ModuleType("Cython"))
    monkeypatch.setitem(sys.modules, "Cython.Build", build)


def test_sources_are_built_as_optional(extensions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With compiler and Cython each source is an extension that may fail."""
    provide_cython(monkeypatch, lambda plain, **_: plain)
    built = extensions()
    assert [extension.name for extension in built] == ["crossfeed.native._engine"]
    assert built[0].optional


def test_release_builds_are_not_optional(extensions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A required accelerator may not fail silently."""
    provide_cython(monkeypatch, lambda plain, **_: plain)
    monkeypatch.setenv("CROSSFEED_NATIVE", "require")
    assert not extensions()[0].optional


def test_no_sources_build_nothing(extensions: Any, script: Path) -> None:
    """A tree without Cython sources is a pure package."""
    (script.parent / "src" / "crossfeed" / "native" / "_engine.pyx").unlink()
    assert extensions() == []


def test_switch_leaves_them_out(extensions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CROSSFEED_PURE=1 wins over everything."""
    provide_cython(monkeypatch, lambda plain, **_: plain)
    monkeypatch.setenv("CROSSFEED_PURE", "1")
    assert extensions() == []


def fail(*_: Any, **__: Any) -> None:
    """Fail as Cython does on a source it cannot translate."""
    raise ValueError("cannot translate")


@pytest.mark.parametrize("cause", ["compiler", "cython", "translation"])
def test_failure_means_pure_install(
    extensions: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cause: str
) -> None:
    """Whatever is missing or broken, the install goes on and says why."""
    provide_cython(monkeypatch, fail if cause == "translation" else lambda plain, **_: plain)
    if cause == "compiler":
        monkeypatch.setenv("CC", "no-such-compiler")
    if cause == "cython":
        monkeypatch.setitem(sys.modules, "Cython.Build", None)
    assert extensions() == []
    assert "without the compiled accelerator" in capsys.readouterr().err
    monkeypatch.setenv("CROSSFEED_NATIVE", "require")
    with pytest.raises(RuntimeError, match="required"):
        extensions()
