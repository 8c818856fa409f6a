"""A real PostgreSQL for the tests of this folder: made, started and ended here."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[dict[str, Any]]:
    """Start a server on a socket in a folder of its own; skip where Debian's package is absent."""
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        pytest.skip("no PostgreSQL server here (apt install postgresql)")
    control = found[-1]
    # The server refuses to run as root; its package brings a user.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="cf-pg-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command: object) -> None:
        subprocess.run(
            [str(word) for word in command],
            user=user,
            check=True,
            cwd=folder,
            timeout=60,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    settings = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=10"
    start = (control, "-w", "-D", data, "-l", folder / "log", "-o", settings, "start")
    stop = (control, "-w", "-D", data, "-m", "immediate", "stop")
    try:
        run(control.with_name("initdb"), "-D", data, "-U", "test", "-A", "trust", "-N")
        run(*start)
        try:
            yield {
                "dsn": f"host={folder} user=test dbname=postgres",
                "stop": lambda: run(*stop),
                "start": lambda: run(*start),
            }
        finally:
            run(*stop)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(
    params=[
        "\x00",
        "\ud800 alone",
        "'; DROP TABLE trades; --",
        "tab\tline\nback\\slash \\N \\.",
        "%s ? $1 {0}",
        "\u202e\U0001f600",
        "".join(map(chr, range(0x4E00, 0x9E00))),
    ],
    ids=["nul", "surrogate", "quote", "copy", "placeholder", "unicode", "long"],
)
def hostile(request: pytest.FixtureRequest) -> str:
    """Return a text that nobody should send."""
    return request.param
