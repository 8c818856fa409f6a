"""The growth plot: small multiples as SVG text, without a drawing library."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from crossfeed.cli.bench.scenarios import FLOOR, GROUPS, OURS, PURE
from crossfeed.cli.bench.suite import Results, Row

__all__ = ["growth_plot"]

PANELS: Final = (
    ("symbols", "symbols", "ticks"),
    ("subscribers", "subscribers of a stream", "ticks"),
    ("levels", "book levels a side", "book, 23 changes"),
)
"""(group, what grows, what is received)."""
STYLES: Final = {
    OURS: ("#1d4ed8", "", 2.5),
    PURE: ("#60a5fa", "", 2.0),
    FLOOR: ("#6b7280", "5 4", 1.6),
}
"""Client -> colour, dashes, width."""
WIDTH: Final = 960
HEIGHT: Final = 318
TOP: Final = 92
BOTTOM: Final = 282
LEFT: Final = 58
PANEL: Final = 244
GAP: Final = 62
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
TICKS_MAX: Final = 5
HEAD: Final = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
    f'height="{HEIGHT}" role="img" aria-label="CPU a message against what grows" '
    'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="12">'
)
INSET: Final = 14
LABEL_GAP: Final = 13.0


def growth_plot(results: Results) -> str:
    """Return the plot of CPU a message against what grows."""
    parts = [
        HEAD,
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>',
        _text(LEFT - 2, 32, "CPU microseconds a message", size=15, weight=600, fill="#111827"),
        *_legend(),
    ]
    for number, (group, what, received) in enumerate(PANELS):
        rows = results.rows(GROUPS[group])
        parts += _panel(LEFT + number * (PANEL + GAP), what, received, rows)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> list[str]:
    parts: list[str] = []
    x = WIDTH - 376
    for name, width in ((OURS, 104), (PURE, 138), (FLOOR, 110)):
        parts += [
            f'<line x1="{x}" y1="28" x2="{x + 22}" y2="28" {_stroke(name)}/>',
            _text(x + 28, 32, name, fill="#374151"),
        ]
        x += width
    return parts


def _panel(left: int, what: str, received: str, rows: Sequence[Row]) -> list[str]:
    """Draw one panel: linear from zero upwards, logarithmic to the right."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.client in STYLES:
            curves.setdefault(row.client, []).append((_number(row.scenario), row.cpu_us))
    parts = [
        _text(left - 2, TOP - 28, what, size=13, weight=600, fill="#111827"),
        _text(left - 2, TOP - 12, received, size=11, fill="#6b7280"),
    ]
    if not curves:
        return parts
    counts = sorted({count for curve in curves.values() for count, _ in curve})
    ticks = _ticks(max(us for curve in curves.values() for _, us in curve))
    span = math.log(counts[-1] / counts[0]) or 1.0

    def place(count: int, us: float) -> tuple[float, float]:
        across = math.log(count / counts[0]) / span * (PANEL - 2 * INSET)
        return left + INSET + across, BOTTOM - us / ticks[-1] * (BOTTOM - TOP)

    for us in ticks:
        y = place(counts[0], us)[1]
        colour = "#9ca3af" if us == 0 else "#e5e7eb"
        parts += [
            f'<line x1="{left}" y1="{y:.1f}" x2="{left + PANEL}" y2="{y:.1f}" stroke="{colour}"/>',
            _text(left - 7, y + 4, f"{us:g}", anchor="end", size=11, fill="#6b7280"),
        ]
    for count in counts:
        x = place(count, 0)[0]
        parts += [
            f'<line x1="{x:.1f}" y1="{BOTTOM}" x2="{x:.1f}" y2="{BOTTOM + 4}" stroke="#9ca3af"/>',
            _text(x, BOTTOM + 19, f"{count:,}", anchor="middle", size=11, fill="#6b7280"),
        ]
    for name in reversed(STYLES):
        points = [place(*point) for point in sorted(curves.get(name, ()))]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" {_stroke(name)}/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{STYLES[name][0]}" stroke="#ffffff"/>'
            for x, y in points
        ]
    return [*parts, *_values(curves, place(counts[-1], 0)[0], ticks[-1])]


def _values(curves: dict[str, list[tuple[int, float]]], x: float, top_us: float) -> list[str]:
    """Write each curve's last value beside its end; values that would touch are moved apart."""
    ends = sorted(((max(curve)[1], name) for name, curve in curves.items()), reverse=True)
    parts: list[str] = []
    lowest = 0.0
    for us, name in ends:
        y = max(BOTTOM - us / top_us * (BOTTOM - TOP) + 4, lowest + LABEL_GAP)
        lowest = y
        parts.append(_text(x + 9, y, f"{us:.1f}", size=11, weight=600, fill=STYLES[name][0]))
    return parts


def _ticks(most: float) -> list[float]:
    """Return round numbers from zero to beyond the largest value."""
    power = 10.0 ** math.floor(math.log10(max(most, 1e-9)) - 1)
    step = next(
        power * tens * each
        for tens in (1, 10)
        for each in STEPS
        if math.ceil(most / (power * tens * each)) <= TICKS_MAX
    )
    return [step * number for number in range(math.ceil(most / step) + 1)]


def _number(name: str) -> int:
    """Return what grew, from a scenario's name."""
    found = re.search(r"\d+", name)
    assert found is not None, name
    return int(found[0])


def _stroke(name: str) -> str:
    colour, dashes, width = STYLES[name]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dashed}'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: int = 400,
    fill: str = "#111827",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
    )
