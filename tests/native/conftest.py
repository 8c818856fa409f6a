"""Both decoders side by side, over the golden samples and the recorded sessions."""

import gzip
import importlib
import importlib.util
import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfeed.errors import DecodeError
from crossfeed.runtime.core_choice import SWITCH, compiled_modules
from crossfeed.runtime.native_tables import engine_spec
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.codec import TableCodec
from crossfeed.venues.decoder import Decoder
from crossfeed.venues.registry import find_venue, venue_names
from crossfeed.venues.symbols import SymbolTable

FOLDERS = {
    "binance": "binance_spot",
    "coinbase": "coinbase_exchange",
    "coinbase_advanced": "coinbase_advanced",
    "kraken": "kraken_v2",
}
SYMBOL = re.compile(rb'"(?:s|product_id|symbol)"\s*:\s*"([^"\\]+)"')
CBCAP = re.compile(rb"(?m)^[\d.]+ (\d+)\n")


class Pair:
    """One venue's two decoders: same tables, same live symbols."""

    def __init__(self, name: str, engine_type: Callable[..., Any]) -> None:
        venue = find_venue(name)
        codec = venue.make_codec(SymbolTable(name, venue.builtin()), CodecOptions())
        assert isinstance(codec, TableCodec)
        tables = codec.tables()
        self.name = name
        self.symbols: dict[str, tuple[str, str]] = {}
        self.plain: set[str] = set()
        self.pure = Decoder(
            tables.exchange, tables.routes, self.symbols, time_unit_ns=tables.time_unit_ns
        )
        spec = engine_spec(
            tables.exchange,
            tables.routes,
            time_unit_ns=tables.time_unit_ns,
            sequence_field=codec.sequence_field,
            plain=lambda _name: self.plain,
        )
        self.spec = spec
        self.sequence_field = codec.sequence_field
        self.engine = engine_type(spec, self.symbols, tables.routes.guess)

    def know(self, frames: list[bytes]) -> None:
        """Ask for every symbol that is in the frames."""
        for frame in frames:
            for name in SYMBOL.findall(frame):
                text = name.decode("utf-8", "ignore")
                self.symbols[text] = (text, f"unified {text}")
                self.plain.add(text)

    def judge(self, frame: bytes) -> bool:
        """Decode with both; assert the rule; return whether the engine accepted."""
        got = self.engine.decode(frame, 1_790_000_000_000_000_000, 7)
        if got is None:
            return False
        try:
            _, message, events = self.pure.decode(frame, 1_790_000_000_000_000_000, 7)
        except DecodeError as error:
            pytest.fail(f"accepted what the reference refuses ({error.reason}): {frame[:400]!r}")
        assert events is not None, frame[:400]
        assert [spelled(event) for event in got] == [spelled(event) for event in events], frame[
            :400
        ]
        if self.sequence_field:
            assert self.engine.sequence == getattr(message, self.sequence_field)
        return True


def spelled(value: Any) -> Any:
    """Return a value so that equality means: same types, same values, same sign of zero."""
    if isinstance(value, float):
        return (float, value, math.copysign(1.0, value))
    if isinstance(value, list | tuple):
        return (type(value), [spelled(item) for item in value])
    if hasattr(value, "__struct_fields__"):
        return (type(value), [spelled(getattr(value, name)) for name in value.__struct_fields__])
    return (type(value), value)


def sample_frames(name: str) -> list[bytes]:
    """Return every frame of a venue's golden samples."""
    folder = Path(str(find_venue(name).__class__.__module__))
    module = importlib.import_module(f"crossfeed.venues.{name}")
    folder = Path(str(module.__file__)).parent / "samples"
    frames: list[bytes] = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            sample = json.loads(line)
            texts = [*sample.get("before", []), sample.get("frame")]
            frames += [text.encode() for text in texts if isinstance(text, str)]
    return frames


def recorded_frames(captures: Path, name: str) -> list[bytes]:
    """Return every frame of a venue's recorded sessions."""
    path = Path(__file__).parents[1] / "venues" / "conftest.py"
    spec = importlib.util.spec_from_file_location("recordings", path)
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    frames: list[bytes] = []
    for file in sorted((captures / FOLDERS[name]).iterdir()):
        if file.suffix in {".gz", ".jsonl"} and not file.name.endswith(".json.gz"):
            try:
                frames += [r.text for r in reader.read_recording(file) if r.kind == "recv"]
            except gzip.BadGzipFile:
                continue
    return frames


NUMBERS = (
    b"0",
    b"-0",
    b"-0.0",
    b"1e5",
    b"1E-2",
    b"00",
    b"0.1",
    b"1.",
    b".5",
    b"-1",
    b"nan",
    b"Infinity",
    b"9007199254740993",
    b"0.1234567890123456789",
    b"123456789012345678901",
    b"1" * 41,
    b"null",
    b"true",
    b'"5"',
    b'""',
    b"1.7976931348623157",
    b"+1",
    b"0x1",
)
PIECES = (
    b'"',
    b"\\",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b" ",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xc3\xa9",
    b"\\u0041",
    b"null",
    b'"s":',
    b'"t":1,',
    b'"data":',
    b"[[",
    b"]]",
)


def mutated(frame: bytes, other: bytes, source: random.Random) -> bytes:
    """Return a damaged frame."""
    size = max(len(frame), 1)
    at, to = sorted((source.randrange(size), source.randrange(size)))
    match source.randrange(8):
        case 0:
            return frame[:at]
        case 1:
            return frame[:at] + frame[to:]
        case 2:
            return frame[:at] + bytes([source.randrange(256)]) + frame[at + 1 :]
        case 3:
            return frame[:at] + source.choice(PIECES) + frame[at:]
        case 4:
            return frame[:at] + other[source.randrange(len(other) or 1) :]
        case 5:
            return frame[:at] + frame[at:to] * 2 + frame[to:]
        case 6:
            digits = [i for i in range(len(frame)) if frame[i : i + 1].isdigit()] or [0]
            place = source.choice(digits)
            return frame[:place] + source.choice(NUMBERS) + frame[place + 1 :]
        case _:
            texts = frame.split(b'"')
            if len(texts) > 4:
                one, two = source.randrange(1, len(texts), 2), source.randrange(1, len(texts), 2)
                texts[one], texts[two] = texts[two], texts[one]
            return b'"'.join(texts)


@pytest.fixture(scope="session")
def native() -> Any:
    """Return the compiled modules, whatever is asked for; skip where they were not built."""
    pytest.importorskip("crossfeed.native._path", reason="the accelerator is not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(SWITCH, raising=False)
        modules = compiled_modules()
    assert modules is not None
    return modules


@pytest.fixture(params=venue_names())
def pair(request: pytest.FixtureRequest, native: Any) -> Pair:
    """Return the two decoders of each venue."""
    return Pair(request.param, native.engine.Engine)
