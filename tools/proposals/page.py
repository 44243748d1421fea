"""§4.1 The report on a proposal as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from tools.proposals.difference import Difference
from tools.proposals.report import Report, change

_STYLE = (Path(__file__).parents[1] / "assets" / "document.css").read_text(encoding="utf-8")
_MORE = """
body { display: block; }
main { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
.plus { color: #186a2b; } .minus { color: #a0201a; } .fault { color: #a0201a; font-weight: bold; }
"""


def html_of(report: Report, rationale: str) -> str:
    """§4.1 Rationale, faults, differences and streams of a report, self-contained."""
    before, after = report.bytes
    kind = "compatible" if report.compatible else "breaks the bitstream"
    rows = [
        (
            s.id,
            s.before,
            s.after if s.after is not None else s.refused,
            change(s.before, s.after),
            s.values,
            s.present,
        )
        for s in report.streams
    ]
    heads = ("stream", "bytes", "bytes under the proposal", "", "changed decoder", "today's decoder")
    constraints = (
        f"{name}: {'tested' if name in report.tested else 'no negative stream'}"
        for name in report.new_constraints
    )
    parts = [
        f"<h1>{html.escape(report.title)}</h1><p>Proposal {html.escape(report.proposal)}; {kind}.</p>",
        MarkdownIt("commonmark", {"html": False}).enable("table").render(_without_title(rationale)),
        "<h2>What speaks against it</h2>",
        _list(report.faults, "fault"),
        "<h2>New constraints and missing tests</h2>",
        _list([*constraints, *filter(None, [report.untested])]),
        "<h2>Not exercised by any stream</h2>",
        _list(report.holes),
        f"<h2>Streams</h2><p>{before} bytes become {after} ({change(before, after)}).</p>",
        _table(heads, rows),
        "<h2>Differences</h2>",
        *map(_difference, report.differences),
    ]
    title = f"<title>HGA proposal {html.escape(report.proposal)}</title>"
    head = f'<head><meta charset="utf-8">{title}<style>{_STYLE}{_MORE}</style></head>'
    return f'<!DOCTYPE html>\n<html lang="en">{head}<body><main>{"".join(parts)}</main></body></html>\n'


def _without_title(rationale: str) -> str:
    """The rationale without its first heading: the page has one."""
    return rationale.partition("\n")[2] if rationale.startswith("# ") else rationale


def _list(items: Iterable[str], name: str = "") -> str:
    rows = "".join(f'<li class="{name}">{html.escape(item)}</li>' for item in items)
    return f"<ul>{rows}</ul>" if rows else "<p>Nothing.</p>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table class="data"><tr>{head}</tr>{body}</table></div>'


def _difference(difference: Difference) -> str:
    name = html.escape(f"{difference.kind} {difference.name} {difference.change}")
    return f"<h3>{name} <small>{html.escape(difference.clause)}</small></h3>{_diff(difference.lines)}"


def _diff(lines: Iterable[str]) -> str:
    names = {"+": "plus", "-": "minus"}
    shown = (f'<span class="{names.get(line[:1], "")}">{html.escape(line)}</span>' for line in lines)
    return f'<pre class="code"><code>{chr(10).join(shown)}</code></pre>'
