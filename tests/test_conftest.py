"""The shared test set-up does what it promises."""

import errno
import socket
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

# Reserved for documentation (RFC 5737, RFC 2606): nothing is there, and nothing is sent.
NOWHERE = "192.0.2.1"
NO_NAME = "venue.invalid"


def test_foreign_address_is_unreachable() -> None:
    """A connect beyond loopback fails before a packet leaves."""
    with socket.socket() as sock, pytest.raises(OSError, match="loopback only") as caught:
        sock.connect((NOWHERE, 443))
    assert caught.value.errno == errno.ENETUNREACH


def test_foreign_name_does_not_resolve() -> None:
    """A name lookup fails as on a machine without a resolver."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(NO_NAME, 443)


def test_loopback_is_reachable() -> None:
    """Loopback, where every test lives, works."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> ModuleType:
    """Return the conftest module beside this file."""
    path = str(Path(__file__).with_name("conftest.py"))
    plugins = request.config.pluginmanager.get_plugins()
    return next(plugin for plugin in plugins if getattr(plugin, "__file__", "") == path)


def marked(*args: str) -> SimpleNamespace:
    """Return what looks like a test with one fault mark."""
    mark = SimpleNamespace(args=args)
    return SimpleNamespace(
        nodeid="test_x.py::test_x", iter_markers=lambda _name: [mark], user_properties=[]
    )


def test_unknown_fault_id_is_refused(shared: ModuleType) -> None:
    """A fault mark must name an id of the catalogue."""
    shared.pytest_collection_modifyitems([marked("S08"), marked("T01", "T02")])
    for args in (("S99",), (), ("T01", "nonsense"), ("absent",)):
        with pytest.raises(pytest.UsageError, match=r"faults\.toml"):
            shared.pytest_collection_modifyitems([marked(*args)])
