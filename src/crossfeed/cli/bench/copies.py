"""Further venues for the aggregator: Binance's folder under other names.

They are found the way any package's venue is found, through entry points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import crossfeed.venues

__all__ = ["write_copies"]

NAMES: Final = ("binance_2", "binance_3")
SOURCE: Final = "binance"


def write_copies(folder: Path) -> None:
    """Write packages with the venues `binance_2` and `binance_3` into a folder for `PYTHONPATH`."""
    origin = Path(crossfeed.venues.__path__[0]) / SOURCE
    for name in NAMES:
        package = f"bench_{name}"
        (folder / package).mkdir()
        for module in origin.glob("*.py"):
            text = module.read_text("utf-8")
            text = text.replace(f"crossfeed.venues.{SOURCE}", package)
            text = text.replace(f'"{SOURCE}"', f'"{name}"')
            (folder / package / module.name).write_text(text, "utf-8")
        about = folder / f"{package}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[crossfeed.venues]\n{name} = {package}:VENUE\n")
