"""The verdicts of a run as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from conformance.runner.judge import PASS, UNSUPPORTED, VERDICTS, Result
from conformance.runner.report import Finding, details, findings, next_step, summary_lines
from conformance.runner.suite import Run

_COLOURS = {
    "pass": "#2e8b57",
    "fail": "#c0392b",
    "error": "#8e44ad",
    "timeout": "#b9770e",
    "unsupported": "#7f8c8d",
}
_STYLE = """
:root { color-scheme: light dark; --rule: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h3 { font-size: 1em; margin: 0; }
h2 { font-size: 1.15em; margin: 2em 0 .5em; border-bottom: 1px solid var(--rule); }
code, pre, .id { font-family: ui-monospace, monospace; font-size: .9em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); padding: .5em; margin: .3em 0; }
a { color: inherit; }
.bar { display: flex; height: 1em; border-radius: 3px; overflow: hidden; min-width: 12em; }
.verdict { color: #fff; border-radius: 3px; padding: 0 .5em; font-size: .85em; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .2em .7em; border-bottom: 1px solid var(--soft); }
th { font-weight: 600; text-align: right; } th:first-child, td:first-child { text-align: left; white-space: nowrap; }
td { text-align: right; font-variant-numeric: tabular-nums; } td.wide { width: 45%; }
tr:last-child td { font-weight: 600; }
ol { padding-left: 1.5em; } ol > li { margin: 0 0 1.4em; }
summary { cursor: pointer; padding: .15em 0; } details { border-bottom: 1px solid var(--soft); }
.reason { opacity: .8; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 9em 1fr; margin: .3em 0 1em 1.5em; }
li dl { margin-left: 0; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
label { margin-right: 1.2em; }
""" + "\n".join(
    f".{verdict} .verdict, .bar .{verdict}, label .{verdict} {{ background: {colour}; }}\n"
    f"body:has(#show-{verdict}:not(:checked)) details.{verdict} {{ display: none; }}"
    for verdict, colour in _COLOURS.items()
)


def as_html(run: Run) -> str:
    """The page: the verdict, counts by group, what to look at first, then every stream."""
    title = f"HGA conformance of {run.decoder.name}"
    notes = "".join(f"<p>{escape(line)}</p>" for line in summary_lines(run))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>{_verdict(run)}</p>{_bar(list(run.results))}"
        f"<p><code>{escape(run.decoder.command)}</code><br>{len(run.results)} streams in {run.seconds:.1f} s, "
        f"strictness {run.judge.strictness}</p>{notes}{_findings(run)}{_groups(run)}{_streams(run)}</body></html>"
    )


def _verdict(run: Run) -> str:
    """The whole run in a sentence."""
    if run.conforms:
        left = run.counts[UNSUPPORTED]
        return "<b>All that was asked passed</b>" + (f"; {left} streams were not asked." if left else ".")
    wrong = len(run.results) - run.counts[PASS] - run.counts[UNSUPPORTED]
    return (
        f"<b>{wrong} of {len(run.results)} streams did not pass.</b>"
        if wrong
        else "<b>Nothing was asked.</b>"
    )


def _bar(results: Sequence[Result]) -> str:
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in VERDICTS}
    parts = "".join(
        f'<span class="{verdict}" style="flex:{count}" title="{count} {verdict}"></span>'
        for verdict, count in counts.items()
        if count
    )
    return f'<div class="bar">{parts}</div>'


def _findings(run: Run) -> str:
    """What to look at first: one stream for each way to fail, and the command that says more about it."""
    found = findings(run)
    if not found:
        return ""
    listed = "".join(f"<li>{_finding(run, finding)}</li>" for finding in found)
    return (
        "<h2>Where to begin</h2><p>Ways to fail, in the order of the decoding process: what is wrong early spoils what "
        f"comes after it. Each with the smallest stream that shows it.</p><ol>{listed}</ol>"
    )


def _finding(run: Run, finding: Finding) -> str:
    result = finding.example
    link = f'<a class="id" href="#{escape(result.record.id)}">{escape(result.record.id)}</a>'
    kept = ("likely cause", "purpose", "catches", "clauses")
    rows = {name: value for name, value in details(result).items() if name in kept}
    command = next_step(run, result)
    return (
        f"<h3>{escape(finding.what)} ({len(finding.results)} of {len(run.results)} streams)</h3>{link} "
        f'<span class="reason">{escape(result.reason)}</span>{_rows(rows)}'
        + (f"<pre>{escape(command)}</pre>" if command else "")
    )


def _groups(run: Run) -> str:
    """Verdicts by group."""
    rows = [(f'<a href="#{escape(name)}">{escape(name)}</a>', group) for name, group in run.groups.items()]
    body = "".join(_group_row(name, group) for name, group in [*rows, ("all", run.results)])
    head = "<th>group</th><th></th>" + "".join(f"<th>{verdict}</th>" for verdict in VERDICTS)
    return f"<h2>By group</h2><table><tr>{head}</tr>{body}</table>"


def _group_row(name: str, results: Sequence[Result]) -> str:
    counts = "".join(f"<td>{sum(r.verdict == verdict for r in results) or ''}</td>" for verdict in VERDICTS)
    return f'<tr><td>{name}</td><td class="wide">{_bar(results)}</td>{counts}</tr>'


def _streams(run: Run) -> str:
    """Every stream by group; those to look at first are open."""
    opened = {finding.example.record.id for finding in findings(run)}
    groups = "".join(
        f'<h2 id="{escape(name)}">{escape(name)}</h2>'
        + "".join(_stream(run, result, result.record.id in opened) for result in results)
        for name, results in run.groups.items()
    )
    return f"<h2>Every stream</h2>{_filters(run)}{groups}"


def _filters(run: Run) -> str:
    return "<p>" + "".join(
        f'<label><input type="checkbox" id="show-{verdict}" checked> '
        f'<span class="verdict {verdict}">{run.counts[verdict]} {verdict}</span></label>'
        for verdict in VERDICTS
    ) + "</p>"  # fmt: skip


def _stream(run: Run, result: Result, opened: bool) -> str:
    failed = result.verdict not in (PASS, UNSUPPORTED)
    reason = f' <span class="reason">{escape(result.reason)}</span>' if result.verdict != PASS else ""
    rows = {name: value for name, value in details(result).items() if name != "first difference"}
    rows["took"] = f"{result.seconds:.2f} s, {result.peak} MiB"
    if failed and (command := next_step(run, result)):
        rows["say more"] = command
    log = f"<pre>{escape(result.stderr)}</pre>" if failed and result.stderr else ""
    return (
        f'<details class="{result.verdict}" id="{escape(result.record.id)}"{" open" * opened}><summary>'
        f'<span class="verdict">{result.verdict}</span> <span class="id">{escape(result.record.id)}</span>{reason}'
        f"</summary>{_rows(rows)}{log}</details>"
    )


def _rows(rows: dict[str, str]) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"<dl>{listed}</dl>"
