"""Pieces of a self-contained HTML page: style, tables, inline figures. All text is escaped here."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from spikeframe.plots.style import GRID, INK, MUTED

STYLE = """
:root { color-scheme: light dark; --ink: #24292f; --muted: #57606a; --grid: #d8dee4; --paper: #ffffff; --panel: #f6f8fa;
  --good: #116329; --bad: #b35900; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9aa5b1; --grid: #3a424c; --paper: #14181d;
  --panel: #1c2229; --good: #56d364; --bad: #ffa657; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1000px; padding: 1.2rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; } .lead { font-size: 1.05rem; } .note, figcaption, th { color: var(--muted); }
.note, figcaption { font-size: .87rem; }
.tiles { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fit, minmax(13.5rem, 1fr)); margin: 1rem 0; }
.tile { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { font-size: .87rem; color: var(--muted); } .good b { color: var(--good); } .bad b { color: var(--bad); }
.figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr));
  align-items: start; }
figure { margin: .6rem 0; } figure svg { width: 100%; max-width: 520px; height: auto; display: block; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; margin: .6rem 0; }
th, td { padding: .28rem .7rem .28rem 0; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th { font-weight: 500; vertical-align: bottom; white-space: normal; min-width: 4rem; }
th:first-child, td:first-child, th.name, td.name { text-align: left; }
tr.total td { font-weight: 600; } table.words td { white-space: normal; text-align: left; vertical-align: top; }
table.words th { text-align: left; } details { margin: .6rem 0; } summary { cursor: pointer; }
li { margin: .15rem 0; font-size: .87rem; } td.wrap { overflow-wrap: anywhere; }
"""

# Colours that follow the page's light or dark theme.
_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"}


def page(title: str, body: Iterable[str]) -> str:
    """Put escaped pieces into a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Set the page's own heading."""
    return f"<h1>{escape(text)}</h1>"


def section(title: str, *pieces: str) -> str:
    """Set a heading over pieces of HTML."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(pieces) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """Set a paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def tile(value: str, label: str, kind: str = "") -> str:
    """Set one key figure with its label."""
    return f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def tiles(items: Iterable[str]) -> str:
    """Set key figures side by side."""
    return '<div class="tiles">\n' + "\n".join(items) + "\n</div>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, total: bool = False, words: bool = False, named: int = 1
) -> str:
    """Set a table that scrolls sideways on narrow screens.

    Args:
        head: column names.
        rows: cells of plain text.
        total: whether the last row is a sum.
        words: whether cells hold sentences rather than numbers.
        named: first columns that hold names.

    Returns:
        HTML.
    """
    aligned = ["" if at in (0, *range(named, len(head))) else ' class="name"' for at in range(len(head))]
    lines = ["".join(f"<td{a}>{escape(cell)}</td>" for a, cell in zip(aligned, row, strict=True)) for row in rows]
    kinds = ["" for _ in lines[:-1]] + [' class="total"' if total else ""] * bool(lines)
    body = "".join(f"<tr{kind}>{line}</tr>\n" for kind, line in zip(kinds, lines, strict=True))
    names = "".join(f"<th{a}>{escape(name)}</th>" for a, name in zip(aligned, head, strict=True))
    shape = ' class="words"' if words else ""
    return f'<div class="scroll"><table{shape}><thead><tr>{names}</tr></thead><tbody>\n{body}</tbody></table></div>'


def figure(ax: Axes, caption: str) -> str:
    """Set the figure that axes stand in as inline SVG whose lines and letters follow the page's theme."""
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": hashlib.sha256(caption.encode()).hexdigest()}
    buffer = io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing"
        )  # the browser draws the letters, with its own fonts
        ax.figure.canvas.print_figure(buffer, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every figure, and a page's ids are unique
    for colour, themed in _THEMED.items():
        svg = svg.replace(colour, themed)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def figures(items: Iterable[str]) -> str:
    """Set figures side by side where there is room."""
    return '<div class="figures">\n' + "\n".join(items) + "\n</div>"


def details(summary: str, *pieces: str) -> str:
    """Set pieces that open on request."""
    return f"<details><summary>{escape(summary)}</summary>\n" + "\n".join(pieces) + "\n</details>"


def bullets(items: Iterable[str]) -> str:
    """Set a list of plain text."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
