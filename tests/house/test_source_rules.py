"""Rules about the source that no linter knows. Each rule is shown a bad sample it must refuse."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "crossfeed"
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
# One place each: the simulator is a program of its own that shares no code with the runtime.
CLOCKS = frozenset({"runtime/clock.py", "simulator/clock.py"})
# A benchmark measures the clock itself, from outside of what it measures.
STOPWATCHES = ("cli/bench/",)
# Where worlds are made up from a seed: `Random(seed)` gives the same world every time.
SEEDED = ("simulator/", "testing/")
CLOCK_MODULES = frozenset({"time", "random", "secrets"})
# These turn one form of a given moment into another; everything else in `time` reads a clock.
CONVERSIONS = frozenset({"gmtime", "strftime", "strptime", "struct_time"})
NOW_METHODS = frozenset({"now", "utcnow", "today"})
DATE_TYPES = frozenset({"datetime", "date", "datetime.datetime", "datetime.date"})
QUEUES = frozenset({"asyncio.Queue", "asyncio.LifoQueue", "asyncio.PriorityQueue", "queue.Queue"})
BROAD = frozenset({"Exception", "BaseException"})
UNFINISHED = re.compile(r"\b(TODO|FIXME|raise NotImplementedError)\b")

Rule = Callable[[str, str], Iterator[str]]


def short_modules(path: str, text: str) -> Iterator[str]:
    """A module is about one thing."""
    lines = len(text.splitlines())
    if lines > MODULE_LINES_MAX:
        yield f"{path}: {lines} lines, at most {MODULE_LINES_MAX}"


def short_functions(path: str, text: str) -> Iterator[str]:
    """A function fits on a screen."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines"


def no_print(path: str, text: str) -> Iterator[str]:
    """Only the command line prints."""
    if path.startswith("cli/"):
        return
    for call in calls(text):
        if ast.unparse(call.func) == "print":
            yield f"{path}:{call.lineno}: print"


def one_clock(path: str, text: str) -> Iterator[str]:
    """Time and randomness enter through the clock modules; elsewhere only a seeded `Random`."""
    if path in CLOCKS or path.startswith(STOPWATCHES):
        return
    for node in ast.walk(ast.parse(text)):
        for name in imported(node):
            module, _, member = name.partition(".")
            is_seeded = name == "random.Random" and path.startswith(SEEDED)
            is_conversion = module == "time" and member in {"", *CONVERSIONS}
            if module in CLOCK_MODULES and not is_seeded and not is_conversion:
                yield f"{path}:{node.lineno}: import {name}"
        if reads_now(node):
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and ast.unparse(node) == "Random()":
            yield f"{path}:{node.lineno}: Random() without a seed"


def bounded_queues(path: str, text: str) -> Iterator[str]:
    """A queue has a limit that is not 0."""
    for call in calls(text):
        if ast.unparse(call.func) not in QUEUES:
            continue
        sizes = [*call.args, *(word.value for word in call.keywords if word.arg == "maxsize")]
        if not sizes or (isinstance(sizes[0], ast.Constant) and not sizes[0].value):
            yield f"{path}:{call.lineno}: {ast.unparse(call)}"


def nothing_swallowed(path: str, text: str) -> Iterator[str]:
    """A broad `except` does something with what it caught."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and is_empty(node.body):
            yield f"{path}:{node.lineno}: exception swallowed"
        is_suppress = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")
        if is_suppress and any(is_broad(arg) for arg in node.args):
            yield f"{path}:{node.lineno}: exception swallowed"


def owned_tasks(path: str, text: str) -> Iterator[str]:
    """A task has an owner: the result of create_task is kept, or a TaskGroup made it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if name in {"asyncio.create_task", "asyncio.ensure_future"} or name.endswith(
                "loop.create_task"
            ):
                yield f"{path}:{node.lineno}: nobody owns {ast.unparse(node.value)}"


def venues_are_strangers(path: str, text: str) -> Iterator[str]:
    """A venue is one folder: it uses itself and what lies beside the folders, no other venue."""
    if not path.startswith("venues/"):
        return
    own = path.split("/")[1]
    for node in ast.walk(ast.parse(text)):
        for name in imported(node):
            parts = name.split(".")
            if parts[:2] != ["crossfeed", "venues"] or parts[2:3] in ([], [own]):
                continue
            if not (SOURCE / "venues" / f"{parts[2]}.py").is_file():
                yield f"{path}:{node.lineno}: {name}"


def finished(path: str, text: str) -> Iterator[str]:
    """Nothing is left for later."""
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line):
            yield f"{path}:{number}: {line.strip()}"


def calls(text: str) -> Iterator[ast.Call]:
    """Yield every call in a module."""
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names an import statement brings in; `.*` ends a module under an alias."""
    if isinstance(node, ast.Import):
        yield from (f"{alias.name}{'.*' if alias.asname else ''}" for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads_now(node: ast.AST) -> bool:
    """Say whether an expression reads a clock through the datetime or the time module."""
    if not isinstance(node, ast.Attribute):
        return False
    owner = ast.unparse(node.value)
    return (owner in DATE_TYPES and node.attr in NOW_METHODS) or (
        owner == "time" and node.attr not in CONVERSIONS
    )


def is_broad(kind: ast.expr | None) -> bool:
    """Say whether an `except` clause takes every exception."""
    if isinstance(kind, ast.Tuple):
        return any(is_broad(element) for element in kind.elts)
    return kind is None or ast.unparse(kind) in BROAD


def is_empty(body: list[ast.stmt]) -> bool:
    """Say whether a block does nothing."""
    return all(
        isinstance(node, ast.Pass | ast.Continue)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


RULES: tuple[Rule, ...] = (
    short_modules,
    short_functions,
    no_print,
    one_clock,
    bounded_queues,
    nothing_swallowed,
    owned_tasks,
    venues_are_strangers,
    finished,
)
BAD: tuple[tuple[Rule, str], ...] = (
    (short_modules, "x = 1\n" * (MODULE_LINES_MAX + 1)),
    (short_functions, "async def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (no_print, "def f():\n    print('hello')\n"),
    (one_clock, "import time\nx = time.time()\n"),
    (one_clock, "import time as clock\n"),
    (one_clock, "import time\ntime.sleep(1)\n"),
    (one_clock, "import random as dice\n"),
    (one_clock, "from time import monotonic_ns\n"),
    (one_clock, "from datetime import datetime\nx = datetime.now()\n"),
    (one_clock, "from random import Random\n"),
    (one_clock, "x = Random()\n"),
    (one_clock, "import datetime\nx = datetime.datetime.utcnow\n"),
    (bounded_queues, "import asyncio\nq = asyncio.Queue()\n"),
    (bounded_queues, "import asyncio\nq = asyncio.Queue(maxsize=0)\n"),
    (nothing_swallowed, "try:\n    f()\nexcept Exception:\n    pass\n"),
    (nothing_swallowed, "try:\n    f()\nexcept (OSError, BaseException):\n    ...\n"),
    (nothing_swallowed, "try:\n    f()\nexcept:\n    pass\n"),
    (nothing_swallowed, "with contextlib.suppress(Exception):\n    f()\n"),
    (owned_tasks, "async def f():\n    asyncio.create_task(g())\n"),
    (owned_tasks, "async def f():\n    self._loop.create_task(g())\n"),
    (venues_are_strangers, "import crossfeed.venues.binance\n"),
    (venues_are_strangers, "from crossfeed.venues import binance\n"),
    (venues_are_strangers, "from crossfeed.venues.binance.wire import Trade\n"),
    (finished, "def f():\n    raise NotImpl" + "ementedError\n"),
    (finished, "x = 1  # TO" + "DO: two\n"),
)
GOOD = """
import asyncio
from datetime import UTC, datetime

from crossfeed.venues.base import Venue
from crossfeed.venues.kraken.wire import Trade


async def f(queue_length_max: int) -> None:
    q = asyncio.Queue(queue_length_max)
    moment = datetime.fromtimestamp(0, UTC)
    try:
        task = asyncio.create_task(q.get())
    except OSError:
        pass
    except Exception as exc:
        report(exc, moment, task)
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_source_keeps_rule(rule: Rule) -> None:
    """No module of the package breaks the rule."""
    found = [
        problem
        for file in sorted(SOURCE.rglob("*.py"))
        for problem in rule(file.relative_to(SOURCE).as_posix(), file.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("suffix", ["pyx", "pxd", "h"])
def test_compiled_source_is_as_short(suffix: str) -> None:
    """What is written for the compiler keeps the limit of modules."""
    files = sorted(SOURCE.rglob(f"*.{suffix}"))
    assert files
    found = [
        problem
        for file in files
        for problem in short_modules(file.relative_to(SOURCE).as_posix(), file.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "sample"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_refuses_bad_sample(rule: Rule, sample: str) -> None:
    """The rule is able to fail."""
    assert list(rule("venues/kraken/sample.py", sample))


def test_seeded_worlds_may_use_random() -> None:
    """The exception to the clock rule is as narrow as it claims to be."""
    assert not list(one_clock("simulator/market.py", "from random import Random\nx = Random(7)\n"))
    assert list(one_clock("simulator/market.py", "from random import Random\nx = Random()\n"))
    assert list(one_clock("simulator/market.py", "from random import uniform\n"))
    assert list(one_clock("simulator/market.py", "import time\nx = time.monotonic\n"))
    assert not list(one_clock("simulator/market.py", "import time\nx = time.gmtime(0)\n"))


def test_only_the_benchmark_may_measure() -> None:
    """The stopwatch is the benchmark's, not the command line's."""
    sample = "import time\nx = time.monotonic_ns()\n"
    assert not list(one_clock("cli/bench/client.py", sample))
    assert list(one_clock("cli/watch.py", sample))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_accepts_good_sample(rule: Rule) -> None:
    """The rule leaves proper code alone."""
    assert not list(rule("venues/kraken/sample.py", GOOD))
