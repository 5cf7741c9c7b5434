"""The results as a picture: calls a second and the 99th percentile, with 32 connections."""

from collections.abc import Sequence
from html import escape

from tests.bench.load import USUAL
from tests.bench.results import BARE, RIVAL, Results

_WIDTH, _LABEL, _BAR, _ROW = 720, 200, 400, 26
_COLORS = {RIVAL: "#b45309", BARE: "#9ca3af"}
_OURS = "#2563eb"


def draw(results: Results) -> str:
    """Draw both panels, one below the other."""
    loads = [(name, results.load(name)) for name in results.loads if USUAL in results.loads[name]]
    height = 2 * (len(loads) * _ROW + 56)
    rates = _panel(0, "calls per second (more is better)", [(n, load.calls_per_s) for n, load in loads], ",.0f")
    waits = _panel(height // 2, "p99, ms (less is better)", [(n, load.p99_ms) for n, load in loads], ",.1f")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" fill="#6b7280">\n'
        f"<title>tutumd's call path, {USUAL} connections</title>\n{rates}\n{waits}\n</svg>\n"
    )


def _panel(top: int, title: str, bars: Sequence[tuple[str, float]], form: str) -> str:
    most = max(value for _, value in bars)
    parts = [f'<text x="0" y="{top + 22}" font-size="15" font-weight="bold">{escape(title)}</text>']
    for row, (name, value) in enumerate(bars):
        y = top + 36 + row * _ROW
        width = max(1, round(_BAR * value / most))
        label = name if name in _COLORS else f"tutumd, {name}"
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LABEL}" y="{y}" width="{width}" height="18" fill="{_COLORS.get(name, _OURS)}"/>',
            f'<text x="{_LABEL + width + 6}" y="{y + 14}">{value:{form}}</text>',
        ]
    return "\n".join(parts)
