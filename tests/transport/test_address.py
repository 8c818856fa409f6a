"""Names and addresses: resolved anew, last good answer kept, dead addresses skipped quickly."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import pytest

from crossfeed.errors import ConnectFailedError
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.address import Address, Resolver, connect_first, tune_socket

Serve = Callable[..., Awaitable[object]]
DEADLINE_S = 5.0


def v4(host: str, port: int) -> Address:
    """Return an IPv4 address."""
    return Address(socket.AF_INET, (host, port))


class Names:
    """A resolver whose answers a test sets."""

    def __init__(self) -> None:
        self.answer: Sequence[Address] | BaseException | asyncio.Event = [v4("10.0.0.1", 1)]
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[Address]:
        """Answer, fail or hang."""
        self.asked += 1
        answer = self.answer
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return [v4("10.0.0.9", 1)]
        return answer


@pytest.mark.fault("T16")
async def test_each_attempt_asks_anew() -> None:
    """Each attempt asks anew."""
    names = Names()
    resolver = Resolver(SystemClock(), names)
    assert await resolver.resolve("venue.example", 1) == [v4("10.0.0.1", 1)]
    names.answer = [v4("10.0.0.2", 1)]
    assert await resolver.resolve("venue.example", 1) == [v4("10.0.0.2", 1)]
    assert names.asked == 2


@pytest.mark.fault("T15")
@pytest.mark.parametrize("failure", [OSError("no answer"), UnicodeError("bad label"), []])
async def test_when_the_lookup_fails_the_last_good_answer_serves(failure) -> None:
    """When the lookup fails the last good answer serves."""
    names = Names()
    resolver = Resolver(SystemClock(), names)
    known = await resolver.resolve("venue.example", 1)
    names.answer = failure
    assert await resolver.resolve("venue.example", 1) == known
    assert (resolver.failures, resolver.stale_uses) == (1, 1)
    with pytest.raises(ConnectFailedError, match=r"cannot look up other\.example"):
        await resolver.resolve("other.example", 1)
    assert (resolver.failures, resolver.stale_uses) == (2, 1)


@pytest.mark.fault("T15")
async def test_a_hanging_lookup_is_asked_once_and_given_up_in_time() -> None:
    """A hanging lookup is asked once and given up in time."""
    names, clock = Names(), ManualClock()
    resolver = Resolver(clock, names)
    known = await resolver.resolve("venue.example", 1)
    names.answer = hanging = asyncio.Event()
    waiting = [asyncio.ensure_future(resolver.resolve("venue.example", 1)) for _ in range(5)]
    await clock.advance(4.9)
    assert not any(wait.done() for wait in waiting)
    await clock.advance(0.2)
    assert [await wait for wait in waiting] == [known] * 5
    assert names.asked == 2
    hanging.set()
    await clock.settle()
    assert await resolver.resolve("venue.example", 1) == [v4("10.0.0.9", 1)]


async def test_the_systems_lookup_knows_loopback() -> None:
    """The system's lookup knows loopback."""
    found = await Resolver(SystemClock()).resolve("127.0.0.1", 80)
    assert found == [v4("127.0.0.1", 80)]


@pytest.mark.fault("T17")
async def test_a_refusing_address_costs_no_time(serve: Serve) -> None:
    """A refusing address costs no time."""
    server = await serve(lambda peer: peer.gone())
    clock = ManualClock()  # it never moves: only failures can lead on to the next address
    dead = [v4("127.0.0.1", 1), v4("127.0.0.2", 1)]
    async with asyncio.timeout(DEADLINE_S):
        sock = await connect_first([*dead, v4("127.0.0.1", server.port)], clock)
    assert sock.getpeername() == ("127.0.0.1", server.port)
    sock.close()


@pytest.mark.fault("T17", "T14")
async def test_a_silent_address_is_overtaken_by_the_next(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent address is overtaken by the next."""
    server = await serve(lambda peer: peer.gone())
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    hung: list[socket.socket] = []

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "127.0.0.3":
            hung.append(sock)
            await asyncio.Event().wait()
        await connect(sock, address)

    clock = SystemClock()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("a uvloop loop takes no other methods")
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    addresses = [v4("127.0.0.3", 1), v4("127.0.0.1", server.port)]
    async with asyncio.timeout(DEADLINE_S):
        sock = await connect_first(addresses, clock, delay_s=0.01)
    assert sock.getpeername() == ("127.0.0.1", server.port)
    assert [left.fileno() for left in hung] == [-1]
    sock.close()


@pytest.mark.fault("T13")
async def test_when_all_fail_the_first_error_is_told() -> None:
    """When all fail the first error is told."""
    with pytest.raises(ConnectionRefusedError):
        await connect_first([v4("127.0.0.1", 1), v4("127.0.0.1", 2)], SystemClock())
    with pytest.raises(OSError, match="no address"):
        await connect_first([], SystemClock())


@pytest.mark.fault("T19")
async def test_out_of_file_descriptors_is_an_error_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of file descriptors is an error like any other."""

    def no_more(*_args: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("crossfeed.transport.address.socket.socket", no_more)
    with pytest.raises(OSError, match="Too many open files"):
        await connect_first([v4("127.0.0.1", 1)], SystemClock())


async def test_cancelled_connecting_closes_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled connecting closes its sockets."""
    made: list[socket.socket] = []
    real = socket.socket

    def keep(*args: int) -> socket.socket:
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr("crossfeed.transport.address.socket.socket", keep)
    task = asyncio.ensure_future(connect_first([v4("127.0.0.1", 1)], SystemClock()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, OSError)):
        await task
    assert [sock.fileno() for sock in made] == [-1] * len(made)


def test_options_a_system_refuses_are_no_reason_to_fail() -> None:
    """Options a system refuses are no reason to fail."""

    class Refusing:
        def setsockopt(self, *_args: int) -> None:
            raise OSError("not here")

    tune_socket(Refusing(), 5)
    with socket.socket() as sock:
        tune_socket(sock, 0)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
