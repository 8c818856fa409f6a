"""Rules about the repository: what is committed, and that its parts agree with each other."""

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FILE_KIB_MAX = 512
# Put together from halves, so that this file does not name them itself.
HOSTS = tuple(
    f"{name}.{end}"
    for name, end in (
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("deb.debian", "org"),
        ("security.debian", "org"),
        ("archive.ubuntu", "com"),
        ("conda.anaconda", "org"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|work|Users/\w+|home/\w+)(?=/|\b)")
PIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9A-Za-z.!]*")
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n|\s)+[A-Za-z0-9+/=]{40}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bghp_\w{36}\b"
)

Rule = Callable[[str, str], Iterator[str]]


def no_registry_host(path: str, text: str) -> Iterator[str]:
    """No package registry is named: everybody brings his own."""
    for number, line in enumerate(text.splitlines(), 1):
        if any(host in line for host in HOSTS):
            yield f"{path}:{number}: {line.strip()[:100]}"


def no_machine_path(path: str, text: str) -> Iterator[str]:
    """Nothing names a folder of the machine it was written on."""
    own = tuple(f"{folder}/" for folder in (ROOT.parent, Path.home()) if len(folder.parts) > 1)
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line) or any(folder in line for folder in own):
            yield f"{path}:{number}: {line.strip()[:100]}"


def no_secret(path: str, text: str) -> Iterator[str]:
    """No private key or token is committed, not even an expired one."""
    if SECRET.search(text):
        yield f"{path}: looks like a secret"


RULES: tuple[Rule, ...] = (no_registry_host, no_machine_path, no_secret)
BAD = (
    (no_registry_host, f"index-url = https://{HOSTS[0]}/simple"),
    (no_machine_path, "log = '/" + "root/crossfeed.log'"),
    (no_machine_path, "cd /" + "home/ada/crossfeed"),
    (no_machine_path, f"see {ROOT.parent}/notes.md"),
    (no_secret, "-----BEGIN EC PRIVATE KEY-----\n" + "MHcC" * 16),
    (no_secret, "AKIA" + "Z" * 16),
)


def committed() -> list[Path]:
    """Return every tracked file that is there; without git (an unpacked sdist) skip."""
    try:
        result = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in result.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_committed_text_keeps_rule(rule: Rule) -> None:
    """No tracked file breaks the rule."""
    found = [
        problem
        for file in committed()
        for problem in rule(file.relative_to(ROOT).as_posix(), file.read_text("utf-8", "replace"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "sample"), BAD)
def test_rule_refuses_bad_sample(rule: Rule, sample: str) -> None:
    """The rule is able to fail."""
    assert list(rule("sample.txt", sample))


def test_no_large_file() -> None:
    """The repository holds sources, not data."""
    sizes = {file: file.stat().st_size // 1024 for file in committed()}
    assert sizes
    assert not {str(file): size for file, size in sizes.items() if size > FILE_KIB_MAX}


def newest_version(changelog: str) -> str:
    """Return the version that heads a changelog, an empty `Unreleased` section left out."""
    found = re.search(
        r"^## \[(\d[^\]]*)\] - (unreleased|\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE
    )
    return found[1] if found else ""


def test_changelog_and_version_agree() -> None:
    """The newest entry of the changelog is the version of the package."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert newest_version(changelog) == PROJECT["project"]["version"]


def test_newest_version_is_read_from_the_heading() -> None:
    """The reader of the changelog tells versions apart and refuses other headings."""
    assert newest_version("# Changelog\n\n## [1.2.0] - 2026-11-22\n\n## [1.1.0] - x\n") == "1.2.0"
    assert newest_version("## [0.1.0] - unreleased\n") == "0.1.0"
    assert not newest_version("## 1.2.0\n")


def loose_pins(constraints: str) -> list[str]:
    """Return the lines of a constraints file that are not a name and an exact version."""
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if not PIN.fullmatch(line)]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-peers.txt"])
def test_constraints_hold_names_and_versions_only(name: str) -> None:
    """No address, hash, path or range is among the pins."""
    assert not loose_pins((ROOT / name).read_text("utf-8"))


@pytest.mark.parametrize(
    "line",
    ["rich>=13", "-e .", "--index-url x", "rich==13.0 --hash=sha256:0", "rich @ file:///x", "a==b"],
)
def test_loose_pin_is_found(line: str) -> None:
    """Whatever is more or less than a name and an exact version is refused."""
    assert loose_pins(f"# ok\nrich==15.0.0\n{line}\n") == [line]


def distribution(requirement: str) -> str:
    """Return the canonical name a requirement begins with."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def test_every_declared_requirement_is_pinned() -> None:
    """`make` installs tested versions only: each declared package has its line."""
    project = PROJECT["project"]
    extras = dict(project["optional-dependencies"])
    peers = extras.pop("peers")
    declared = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    for file, wanted in (("constraints.txt", declared), ("constraints-peers.txt", peers)):
        pinned = (ROOT / file).read_text("utf-8")
        names = {distribution(requirement) for requirement in wanted} - {project["name"]}
        assert {name for name in names if f"\n{name}==" not in pinned} == set(), file


def lacking_build_requirements(requires: list[str], sources: list[str]) -> set[str]:
    """Return what compiles the given Cython sources and is not required for a build."""
    needed = {"cython"} if sources else set()
    needed |= {"picows"} if any("cimport" in s and "picows" in s for s in sources) else set()
    return needed - {distribution(item) for item in requires}


def test_native_sources_have_their_build_requirements() -> None:
    """Compiled sources come with what compiles them: an optional build hides its absence."""
    sources = (ROOT / "src" / "crossfeed" / "native").glob("*.pyx")
    requires = PROJECT["build-system"]["requires"]
    assert not lacking_build_requirements(requires, [s.read_text("utf-8") for s in sources])


def test_lacking_build_requirement_is_found() -> None:
    """Sources without a translator, or without what they cimport, are noticed."""
    hook = "from picows.picows cimport WSListener\n"
    assert lacking_build_requirements(["setuptools>=77"], ["x = 1\n"]) == {"cython"}
    assert lacking_build_requirements(["setuptools", "Cython>=3"], [hook]) == {"picows"}
    assert not lacking_build_requirements(["Cython>=3.1", "picows>=2.3.1"], [hook])
    assert not lacking_build_requirements(["setuptools"], [])
