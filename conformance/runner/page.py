"""The verdicts of a run as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape

from conformance.runner.judge import PASS, VERDICTS, Result
from conformance.runner.report import details, summary_lines
from conformance.runner.suite import Run

_COLOURS = {
    "pass": "#2e8b57",
    "fail": "#c0392b",
    "error": "#8e44ad",
    "timeout": "#d68910",
    "unsupported": "#95a5a6",
}
_STYLE = """
:root { color-scheme: light dark; --rule: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin: 2em 0 .5em; border-bottom: 1px solid var(--rule); }
code, pre, .id { font-family: ui-monospace, monospace; font-size: .9em; }
pre { white-space: pre-wrap; background: var(--soft); padding: .5em; margin: .3em 0; }
.bar { display: flex; height: 1.2em; border-radius: 4px; overflow: hidden; margin: 1em 0; }
.verdict { color: #fff; border-radius: 3px; padding: 0 .5em; font-size: .85em; }
summary { cursor: pointer; padding: .15em 0; } details { border-bottom: 1px solid var(--soft); }
dl { display: grid; grid-template-columns: 8em 1fr; margin: .3em 0 1em 1.5em; }
dt { opacity: .7; } dd { margin: 0; }
label { margin-right: 1.2em; }
""" + "\n".join(
    f".{verdict} .verdict, .bar .{verdict}, label .{verdict} {{ background: {colour}; }}\n"
    f"body:has(#show-{verdict}:not(:checked)) details.{verdict} {{ display: none; }}"
    for verdict, colour in _COLOURS.items()
)


def as_html(run: Run) -> str:
    """The page: counts, then every stream by group, failures open, with the first difference and likely cause."""
    title = f"HGA conformance of {run.decoder.name}"
    sections = "".join(
        f"<h2>{escape(name)}</h2>" + "".join(_stream(result) for result in results)
        for name, results in run.groups.items()
    )
    notes = "".join(f"<p>{escape(line)}</p>" for line in summary_lines(run))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p><code>{escape(run.decoder.command)}</code><br>strictness {run.strictness}, "
        f"{len(run.results)} streams, {run.seconds:.1f} s</p>{_bar(run)}{_filters(run)}{notes}{sections}</body></html>"
    )


def _bar(run: Run) -> str:
    parts = "".join(
        f'<span class="{verdict}" style="flex:{count}" title="{count} {verdict}"></span>'
        for verdict, count in run.counts.items()
        if count
    )
    return f'<div class="bar">{parts}</div>'


def _filters(run: Run) -> str:
    return "<p>" + "".join(
        f'<label><input type="checkbox" id="show-{verdict}" checked> '
        f'<span class="verdict {verdict}">{run.counts[verdict]} {verdict}</span></label>'
        for verdict in VERDICTS
    ) + "</p>"  # fmt: skip


def _stream(result: Result) -> str:
    failed = result.verdict in ("fail", "error", "timeout")
    reason = f" {escape(result.reason)}" if result.verdict != PASS else ""
    rows = details(result) | {"took": f"{result.seconds:.2f} s, {result.peak} MiB"}
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    log = f"<pre>{escape(result.stderr)}</pre>" if failed and result.stderr else ""
    return (
        f'<details class="{result.verdict}"{" open" * failed}><summary><span class="verdict">{result.verdict}</span> '
        f'<span class="id">{escape(result.record.id)}</span>{reason}</summary><dl>{listed}</dl>{log}</details>'
    )
