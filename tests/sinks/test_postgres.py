"""A real PostgreSQL: every digit, each event once, through restarts of the server."""

# ruff: noqa: S608 - the tests' own names
import threading
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from crossfeed.errors import ConfigError, SinkError, SinkUnavailableError
from crossfeed.sinks.postgres import PostgresSink
from crossfeed.sinks.runner import SinkRunner
from crossfeed.testing.events import heartbeat, quote, ticker, trade

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    """Return a schema of the test's own."""
    return "s_" + "".join(c for c in request.node.name.lower() if c.isalnum())[:40]


def ask(server: dict[str, Any], query: str) -> list[tuple[Any, ...]]:
    """Answer a query over a connection of its own."""
    import psycopg

    with psycopg.connect(server["dsn"]) as connection:
        return connection.execute(query).fetchall()


def test_rows_come_back_exactly(postgres: dict[str, Any], schema: str) -> None:
    """Numeric holds what the venue wrote; NUL is no text."""
    sink = PostgresSink(postgres["dsn"], schema=schema)
    sink.open()
    odd = trade(2, price=0.00000001, symbol="A'B\x00\t\\N")
    assert (
        sink.write([trade(1, price=0.1, quantity=12345.678901), odd, quote(1, 2), ticker(3)]) == 4
    )
    sink.close()
    rows = ask(postgres, f"SELECT price, quantity, side, trade_id FROM {schema}.trades ORDER BY 4")
    assert rows[0] == (Decimal("0.1"), Decimal("12345.678901"), "buy", 1)
    assert rows[1][0] == Decimal("0.00000001")
    assert ask(postgres, f"SELECT symbol FROM {schema}.trades WHERE trade_id = 2") == [
        ("A'B\ufffd\t\\N",)
    ]
    assert ask(postgres, f"SELECT price, open FROM {schema}.tickers") == [(Decimal(3), None)]


def test_same_events_are_stored_once(postgres: dict[str, Any], schema: str) -> None:
    """Within a batch, again after it, and from a second collector."""
    one, two = (PostgresSink(postgres["dsn"], schema=schema) for _ in range(2))
    one.open()
    two.open()
    batch = [trade(n) for n in range(1, 1001)]
    assert one.write([*batch, batch[0], heartbeat()]) == 1000
    assert one.write(batch) == 0
    seen_later = msgspec.structs.replace(batch[5], ts_recv_ns=batch[5].ts_recv_ns + 7)
    assert two.write([seen_later, trade(1001)]) == 1
    one.close()
    two.close()
    assert ask(postgres, f"SELECT count(*) FROM {schema}.trades") == [(1001,)]


def test_hostile_words_end_nothing(
    postgres: dict[str, Any], request: pytest.FixtureRequest, hostile: str
) -> None:
    """Whatever a venue says is a value; numbers beyond 64 bits are no id."""
    schema = f"hostile_{request.node.callspec.id}"
    sink = PostgresSink(postgres["dsn"], schema=schema)
    sink.open()
    events = [
        trade(1, symbol=hostile),
        replace(trade(2), unified=hostile, trade_id=2**70),
        trade(3),
    ]
    assert sink.write(events) == 3
    assert sink.write(events) == 0
    sink.close()
    found = ask(postgres, f"SELECT trade_id FROM {schema}.trades")
    assert sorted(found, key=str) == [(1,), (3,), (None,)]


@pytest.mark.fault("F12")
def test_server_restart_loses_and_doubles_nothing(postgres: dict[str, Any], schema: str) -> None:
    """The runner keeps its batch, reconnects by itself, and counts the failure."""
    sink = PostgresSink(postgres["dsn"], schema=schema)
    written = threading.Event()
    write = sink.write

    def told(events: Any) -> int:
        new = write(events)
        written.set()
        return new

    sink.write = told
    with SinkRunner(sink, batch_max=50, wait_s=0.02, retry_s=(0.02, 0.1)) as runner:
        for n in range(1, 101):
            runner.put(trade(n))
        assert written.wait(20)
        postgres["stop"]()
        for n in range(101, 301):
            runner.put(trade(n))
        postgres["start"]()
        runner.close(30)
        stats = runner.stats()
    assert (stats.received, stats.stored + stats.not_new, stats.dropped) == (300, 300, 0)
    assert stats.failures > 0
    assert ask(postgres, f"SELECT count(*) FROM {schema}.trades") == [(300,)]


def test_refusals_are_told_apart(postgres: dict[str, Any]) -> None:
    """A server that is not there may come; a database that does not exist will not."""
    with pytest.raises(SinkUnavailableError):
        PostgresSink("host=/nonexistent-folder user=test").open()
    with pytest.raises(SinkError) as told:
        PostgresSink(postgres["dsn"].replace("dbname=postgres", "dbname=nope")).open()
    assert "password" not in str(told.value)
    with pytest.raises(SinkUnavailableError):
        PostgresSink(postgres["dsn"]).write([trade(1)])


@pytest.mark.parametrize("schema", ["a b", "x;drop", "", "Über", "1a", "A"])
def test_schema_is_a_plain_name(schema: str) -> None:
    """It becomes part of SQL, so it is a word."""
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match="plain"):
        PostgresSink("", schema=schema)
