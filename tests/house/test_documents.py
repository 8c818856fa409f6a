"""Documents tell the truth: code blocks run, commands exist, links lead somewhere.

A block that cannot run (it needs an exchange, or is a fragment) is preceded by a comment that says
why: `<!-- not run: needs the live exchanges -->`.
"""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from crossfeed.errors import ConfigError
from crossfeed.runtime.config import load_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
NOT_RUN = re.compile(r"<!-- not run: \S.*? -->\s*$")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
ANCHOR = re.compile(r'(?:\bid|\bname)="([^"]+)"|\{ *#([\w-]+) *\}')
# Words that begin a command line which is no claim about this project.
FOREIGN_COMMANDS = frozenset({"cd", "git", "pip", "python", "python3", "uv", "curl", "source", "."})
PLAIN_LANGUAGES = frozenset({"", "text", "mermaid", "ini", "make"})


class Block(NamedTuple):
    """One fenced block of a document."""

    where: str
    language: str
    code: str
    is_run: bool


def blocks(path: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document in order."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        indent = len(found["indent"])
        code = "\n".join(row[indent:] for row in found["code"].splitlines())
        is_run = not NOT_RUN.search(text[: found.start()])
        yield Block(f"{path}:{line}", found["language"], code, is_run)


def all_blocks() -> list[Block]:
    """Return the blocks of every document."""
    return [
        block
        for file in DOCUMENTS
        for block in blocks(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))
    ]


def command_problem(line: str) -> str:
    """Say what is wrong with one line of a shell block; nothing when it names what exists."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if not words or words[0] in FOREIGN_COMMANDS:
        return ""
    command, arguments = words[0], [word for word in words[1:] if "=" not in word]
    if command == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return "" if set(arguments) <= set(targets) else f"no such make verb: {line}"
    if command == "crossfeed":
        leading = itertools.takewhile(lambda word: not word.startswith("-"), arguments)
        shown = subprocess.run(
            [Path(sys.executable).with_name("crossfeed"), *leading, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        options = [word for word in arguments if word.startswith("--")]
        known = set(re.findall(r"--[\w-]+", shown.stdout))
        lacking = [option for option in options if option not in known]
        return f"{line}: {shown.stderr or lacking}" if shown.returncode or lacking else ""
    if command == "pytest":
        missing = [name for name in arguments if "/" in name and not (ROOT / name).exists()]
        return f"no such test: {missing}" if missing else ""
    return f"unknown command: {line}"


def configuration_problem(text: str) -> str:
    """Say what `crossfeed config check` finds wrong with a configuration file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "crossfeed.toml")
        file.write_text(text, "utf-8")
        try:
            load_config(file, {})
        except ConfigError as error:
            return str(error)
    return ""


def block_problem(block: Block) -> str:
    """Say why a block does not do what a reader expects of it; nothing when it does."""
    if block.language in {"python", "py"}:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", block.code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
        return result.stderr if result.returncode else ""
    if block.language in {"sh", "bash", "console", "shell"}:
        return "\n".join(filter(None, map(command_problem, block.code.splitlines())))
    if block.language == "toml" and re.search(
        r"^\[(aggregator|venues\.)", block.code, re.MULTILINE
    ):
        return configuration_problem(block.code)
    readers = {"toml": tomllib.loads, "json": json.loads}
    if block.language in readers:
        try:
            readers[block.language](block.code)
        except ValueError as exc:
            return str(exc)
        return ""
    return "" if block.language in PLAIN_LANGUAGES else f"unknown language {block.language!r}"


def slug(heading: str) -> str:
    """Return the anchor a heading gets on a code host and in the built site."""
    words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return every anchor of a document."""
    outside = FENCE.sub("", text)
    explicit = {name for found in ANCHOR.findall(outside) for name in found if name}
    return {slug(heading) for heading in HEADING.findall(outside)} | explicit


def link_problems(file: Path, text: str) -> Iterator[str]:
    """Yield the relative links of a document that lead nowhere."""
    for target in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (file.parent / name).resolve() if name else file
        if not goal.exists():
            yield f"{file.name}: {target} does not exist"
            continue
        # The anchors of generated reference pages are the site builder's to check.
        is_written = goal.suffix == ".md" and ":::" not in goal.read_text("utf-8")
        here = anchors(goal.read_text("utf-8") if name else text) if is_written else set()
        if anchor and is_written and anchor not in here:
            yield f"{file.name}: no heading for {target}"


@pytest.mark.parametrize(
    "block", [block for block in all_blocks() if block.is_run], ids=lambda block: block.where
)
def test_block_runs(block: Block) -> None:
    """The block does what a reader expects of it."""
    assert not block_problem(block)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import crossfeed\ncrossfeed.no_such_name\n"),
        ("python", "import warnings\nwarnings.warn('old')\n"),
        ("sh", "make everything\n"),
        ("sh", "make demo\ncrossfood demo\n"),
        ("console", "$ pytest tests/no_such_test.py\n"),
        ("toml", "a = \n"),
        ("toml", "[aggregator]\nexchange = ['binance']\n"),
        ("sh", "crossfeed watch --venue kraken\n"),
        ("sh", "crossfeed config shown\n"),
        ("json", "{\n"),
        ("snake", "x = 1\n"),
    ],
)
def test_bad_block_is_found(language: str, code: str) -> None:
    """The check of the blocks is able to fail."""
    found = list(blocks("sample.md", f"text\n\n```{language}\n{code}```\n"))
    assert len(found) == 1
    assert found[0].is_run
    assert block_problem(found[0])


def test_marked_block_is_left_alone() -> None:
    """A reason in a comment takes a block out, an empty reason does not."""
    fence = "```python\n1 / 0\n```\n"
    assert not next(blocks("a.md", f"<!-- not run: divides by zero -->\n{fence}")).is_run
    assert next(blocks("a.md", f"<!-- not run: -->\n{fence}")).is_run


def test_relative_links_resolve() -> None:
    """Every relative link of every document leads to a file and, with an anchor, to a heading."""
    assert DOCUMENTS
    found = [
        problem for file in DOCUMENTS for problem in link_problems(file, file.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("target", ["nowhere.md", "README.md#no-such-heading", "#no-such-heading"])
def test_broken_link_is_found(target: str) -> None:
    """The check of the links is able to fail."""
    assert list(link_problems(ROOT / "README.md", f"# Here\n\n[there]({target})\n"))


def navigation(config: str) -> set[str]:
    """Return the pages that the site's navigation names."""
    return set(re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", config, re.MULTILINE))


def test_navigation_names_every_page() -> None:
    """A page that nobody can find is not there, and neither is a page that does not exist."""
    named = navigation((ROOT / "mkdocs.yml").read_text("utf-8"))
    folder = ROOT / "docs"
    assert named == {file.relative_to(folder).as_posix() for file in folder.rglob("*.md")}


def test_navigation_is_read() -> None:
    """Titled, untitled and nested entries are pages; titles alone are not."""
    config = "nav:\n  - index.md\n  - How-to:\n      - Add a venue: howto/venue.md\n"
    assert navigation(config) == {"index.md", "howto/venue.md"}
