"""Write the exact versions that `make` installs, for every supported Python.

    python tools/constraints.py python3.11 python3.12 python3.13

Name the oldest first, in the oldest patch release at hand (packages refuse even those: Debian's
3.11.2 is one). It resolves freely; the others resolve under what it chose and add only what they
alone need. Two files: constraints.txt for all extras but `peers`, constraints-peers.txt for the
tests with other people's clients, whose old requirements must not hold back everybody's. They hold
names and versions and nothing else: no addresses, no hashes, no paths, so that they serve any
package index. Needs pip >= 23 in each interpreter, nothing is installed. Cost: two resolutions per
interpreter, half a minute each.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions for {what} on every supported Python.
# Written by tools/constraints.py (`make constraints`), not by hand.
"""
# Ourselves, and what belongs to the environment.
LEFT_OUT = frozenset({"crossfeed", "pip"})


def extras() -> list[str]:
    """Return the names of all declared extras but `peers`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return sorted(set(project["optional-dependencies"]) - {"peers"})


def resolve(python: str, wanted: list[str], known: dict[str, str]) -> dict[str, str]:
    """Resolve the extras `wanted` under `python`, holding on to the versions already known.

    Raises:
        subprocess.CalledProcessError: pip found no solution; its own output says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, held = Path(folder, "report.json"), Path(folder, "held.txt")
        held.write_text(render(known, "this resolution"), "utf-8")
        command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--prefer-binary", "--constraint", str(held), "--report", str(report)]
        target = f"{ROOT}[{','.join(wanted)}]"
        # Only the metadata is needed: nothing is to be translated or compiled for it.
        subprocess.run([*command, target], check=True, env=os.environ | {"CROSSFEED_PURE": "1"})
        installs = json.loads(report.read_text("utf-8"))["install"]
    return {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in installs}


def normal(name: str) -> str:
    """Return the canonical spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def render(versions: dict[str, str], what: str) -> str:
    """Return the text of a constraints file."""
    pins = (f"{name}=={version.partition('+')[0]}" for name, version in sorted(versions.items()))
    return HEADER.format(what=what) + "".join(f"{pin}\n" for pin in pins)


def write(name: str, what: str, pythons: list[str], wanted: list[str]) -> None:
    """Resolve under each interpreter in turn and write the union."""
    versions: dict[str, str] = {}
    for python in pythons:
        found = resolve(python, wanted, versions)
        versions |= {name: version for name, version in found.items() if name not in LEFT_OUT}
        print(f"{name}, {python}: {len(found)} packages, {len(versions)} in all")
    (ROOT / name).write_text(render(versions, what), "utf-8")


def main(pythons: list[str]) -> None:
    """Write both files."""
    used = pythons or [sys.executable]
    write("constraints.txt", "all extras but `peers`", used, extras())
    write("constraints-peers.txt", "tests with other people's clients", used, ["peers", "test"])


if __name__ == "__main__":
    main(sys.argv[1:])
