"""Write constraints.txt: the exact versions that `make` installs, for every supported Python.

    python tools/constraints.py python3.11 python3.12 python3.13

Name the oldest first, in the oldest patch release at hand (packages refuse even those: Debian's
3.11.2 is one). It resolves all extras freely; the others resolve under what it chose and add only
what they alone need. The result holds names and versions and nothing else: no addresses, no
hashes, no paths, so that it serves any package index. Needs pip >= 23 in each interpreter, nothing
is installed. Cost: one resolution per interpreter, half a minute each.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
HEADER = """\
# Exact versions for all extras on every supported Python. Written by tools/constraints.py
# (`make constraints`), not by hand.
"""
# Ourselves, and what belongs to the environment.
LEFT_OUT = frozenset({"crossfeed", "pip"})


def extras() -> list[str]:
    """Return the names of all declared extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return sorted(project["optional-dependencies"])


def resolve(python: str, known: dict[str, str]) -> dict[str, str]:
    """Resolve every extra under `python`, holding on to the versions already known.

    Raises:
        subprocess.CalledProcessError: pip found no solution; its own output says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, held = Path(folder, "report.json"), Path(folder, "held.txt")
        held.write_text(render(known), "utf-8")
        command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--prefer-binary", "--constraint", str(held), "--report", str(report)]
        subprocess.run([*command, f"{ROOT}[{','.join(extras())}]"], check=True)
        installs = json.loads(report.read_text("utf-8"))["install"]
    return {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in installs}


def normal(name: str) -> str:
    """Return the canonical spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def render(versions: dict[str, str]) -> str:
    """Return the text of a constraints file."""
    pins = (f"{name}=={version.partition('+')[0]}" for name, version in sorted(versions.items()))
    return HEADER + "".join(f"{pin}\n" for pin in pins)


def main(pythons: list[str]) -> None:
    """Resolve under each interpreter in turn and write the union."""
    versions: dict[str, str] = {}
    for python in pythons or [sys.executable]:
        found = resolve(python, versions)
        versions |= {name: version for name, version in found.items() if name not in LEFT_OUT}
        print(f"{python}: {len(found)} packages, {len(versions)} in all")
    TARGET.write_text(render(versions), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
