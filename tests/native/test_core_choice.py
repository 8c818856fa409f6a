"""Which core is used, and that every failure of the compiled one means the pure one."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import picows
import pytest

import crossfeed.native
from crossfeed.runtime import core_choice
from crossfeed.runtime.core_choice import active_core, listener_factory


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forget what was loaded before, and after."""
    monkeypatch.delenv("CROSSFEED_PURE", raising=False)
    core_choice._load.cache_clear()
    yield
    core_choice._load.cache_clear()


def test_switch_leaves_it_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CROSSFEED_PURE", "1")
    assert active_core().name == "pure"
    assert "CROSSFEED_PURE" in active_core().reason
    assert core_choice.compiled_modules() is None
    assert listener_factory() is None


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "crossfeed.native._engine", None)
    choice = active_core()
    assert choice.name == "pure"
    assert "_engine was not built" in choice.reason


def test_an_engine_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str) -> types.ModuleType:
        raise ValueError(f"{name} has the wrong size")

    monkeypatch.setattr(importlib, "import_module", broken)
    choice = active_core()
    assert choice.name == "pure"
    assert "wrong size" in choice.reason


def test_every_source_belongs_to_the_core():
    sources = Path(str(crossfeed.native.__file__)).parent.glob("*.pyx")
    assert {source.stem for source in sources} == {*core_choice.CORE_MODULES, "_hook"}


@pytest.mark.usefixtures("native")
def test_a_hook_for_another_picows_is_not_used(monkeypatch: pytest.MonkeyPatch):
    hook = types.SimpleNamespace(PICOWS="1.9.0", FrameListener=object)
    monkeypatch.setitem(sys.modules, "crossfeed.native._hook", hook)
    assert listener_factory() is None
    choice = active_core()
    assert choice.name == "compiled"
    assert "built for picows 1.9.0" in choice.reason
    hook.PICOWS = str(picows.__version__)
    assert listener_factory() is object
