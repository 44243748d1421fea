"""§A.3.3 How many streams run each line of the document, set beside the lines and linked to the streams."""

from __future__ import annotations

import ast
import html
from collections.abc import Iterable, Mapping
from typing import Any

_SHOWN = 6


class Marks:
    """§A.3.3 Marks for lines of pseudo-code and rows of syntax tables; none without a coverage report."""

    def __init__(self, report: Mapping[str, Any] | None = None, functions: Mapping[str, int] | None = None):
        """`functions` gives the number of lines of each function as it stands in the text."""
        self._report = report or {"streams": [], "points": {}}
        self._functions = functions or {}
        self._at: dict[tuple[str, int], list[tuple[str, Mapping[str, Any]]]] = {}
        for identity, point in self._report["points"].items():
            name, line = point["place"]
            self._at.setdefault((name, line), []).append((identity, point))

    def row(self, structure: str, number: int) -> str:
        """The mark of one row of a syntax table, counted from 1."""
        return self._mark((structure, number))

    def code(self, body: str, text: str) -> str:
        """The HTML `body` of functions with a mark before each line; `text` is what it shows."""
        if not self._at:
            return body
        places: dict[int, tuple[str, int]] = {}
        for function in ast.parse(text).body:
            assert isinstance(function, ast.FunctionDef) and function.end_lineno
            last = self._functions.get(function.name, 0)
            for line in range(
                function.lineno, function.end_lineno + 1
            ):  # parameters may be wrapped: from the end
                number = last - (function.end_lineno - line)
                places[line] = (function.name, 1 if line == function.lineno else number)
        lines = body.split("\n")
        gutter = '<span class="runs"></span>'
        return "\n".join(
            (self._mark(places[n]) if n in places else gutter) + line for n, line in enumerate(lines, 1)
        )

    def _mark(self, place: tuple[str, int]) -> str:
        if not self._at:
            return ""
        points = self._at.get(place, [])
        if not points:
            return '<span class="runs"></span>'
        _, most = max(points, key=lambda item: item[1]["count"])
        title = html.escape("\n".join(_lines(points)), quote=True)
        css = "runs" if all(p["count"] or p["reason"] for _, p in points) else "runs open"
        if not most["streams"]:
            return f'<span class="{css}" title="{title}">0</span>'
        link = html.escape(most["streams"][0], quote=True)
        shown = most["count"] if any(p["kind"] != "range" for _, p in points) else "↔"  # ends of parameters
        return f'<a class="{css}" href="#stream-{link}" title="{title}">{shown}</a>'

    def section(self) -> str:
        """The list of all streams, to which the marks link."""
        if not self._at:
            return ""
        items = "".join(
            f'<li id="stream-{html.escape(name, quote=True)}"><code>{html.escape(name)}</code></li>'
            for name in self._report["streams"]
        )
        heading = f"<h2>Streams that the marks count: {len(self._report['streams'])}</h2>"
        return f'<section class="streams">{heading}<ul>{items}</ul></section>'


def _lines(points: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """The points of one place for a tooltip, with the first streams that exercise them."""
    found = []
    for identity, point in points:
        names = ", ".join(point["streams"][:_SHOWN]) + (" …" if point["count"] > _SHOWN else "")
        found.append(f"{identity}: {point['count']} {names}{point['reason'] if not point['count'] else ''}")
    return found
