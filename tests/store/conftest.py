"""Events and stores for the tests of this folder; all of it needs the extra `store`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.store import StoreWriter
from crossfeed.store.batch import AttributeReader
from crossfeed.store.query import Store

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the store goes."""
    return tmp_path / "history"


@pytest.fixture(params=["pure", "compiled"])
def reader(request: pytest.FixtureRequest) -> AttributeReader | None:
    """Return what reads attributes: Python alone, or the compiled reader before it."""
    if request.param == "pure":
        return None
    native = compiled_modules()
    if native is None:
        pytest.skip("the compiled core is not in use")
    compiled: AttributeReader = native.columns
    return compiled


@pytest.fixture
def fill(folder: Path, reader: AttributeReader | None) -> Iterator[Callable[..., Store]]:
    """Return a function that stores events under a source and opens the store."""
    opened: list[Store] = []

    def filled(*events: object, source: str = "run-1") -> Store:
        with StoreWriter(folder, reader=reader) as writer:
            writer.write(source, events)
        opened.append(Store(folder))
        return opened[-1]

    yield filled
    for each in opened:
        each.close()
