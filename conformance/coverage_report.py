"""§A.3.3 What a set of streams exercises of the standard, as plain data and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.coverage import covered_by_each, points, unreachable

SHOWN = 12
"""Streams named at a point; its count is that of all."""


def report(
    streams: Mapping[str, bytes],
    processes: int | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """§A.3.3 `streams`: their ids; `points`: id -> kind, clause, about, place, count, streams and reason.

    `streams` of a point are the first few that exercise it. `reason` says why no stream can, if that is so.
    """
    users: dict[str, list[str]] = {identity: [] for identity in points()}
    for name, found in zip(streams, covered_by_each(list(streams.values()), processes, done), strict=True):
        for identity in found:
            users[identity].append(name)
    reasons = unreachable()
    return {
        "streams": list(streams),
        "points": {
            identity: {
                "kind": point.kind, "clause": point.clause, "about": point.about, "place": list(point.place),
                "count": len(users[identity]), "streams": users[identity][:SHOWN],
                "reason": reasons.get(identity, ""),
            }
            for identity, point in points().items()
        },
    }  # fmt: skip


def counts(report: Mapping[str, Any], by: str) -> list[tuple[str, int, int, int]]:
    """(kind or clause, points, exercised, explained) of each kind or clause, in the order of the standard."""
    total, hit, explained = Counter[str](), Counter[str](), Counter[str]()
    for point in report["points"].values():
        name = point[by]
        total[name] += 1
        hit[name] += point["count"] > 0
        explained[name] += point["count"] == 0 and point["reason"] != ""
    return [(name, total[name], hit[name], explained[name]) for name in total]


def holes(report: Mapping[str, Any]) -> list[str]:
    """The points that nothing exercises and no reason excuses."""
    return [identity for identity, p in report["points"].items() if not p["count"] and not p["reason"]]


def wrongly_excused(report: Mapping[str, Any]) -> list[str]:
    """The points that streams exercise although they are listed as out of reach."""
    return [identity for identity, p in report["points"].items() if p["count"] and p["reason"]]


def verdict(report: Mapping[str, Any]) -> str:
    """How much is exercised, how much is listed as out of reach, and how much is open, in a sentence."""
    total, open_points, excused = len(report["points"]), len(holes(report)), len(_excused(report))
    hit = total - open_points - excused
    if not open_points:
        return f"every point is exercised ({hit}) or listed with a reason ({excused})"
    return f"{open_points} of {total} points are open; --json and -o list them"


def page(report: Mapping[str, Any], rows: Sequence[str] = ("kind", "clause")) -> str:
    """One HTML page with the counts, the holes and the reasons."""
    from html import escape

    parts = [f"<h1>Coverage of the standard by {len(report['streams'])} streams</h1>"]
    for by in rows:
        cells = "".join(
            f"<tr><td>{escape(name)}</td><td>{total}</td><td>{hit}</td><td>{explained}</td>"
            f"<td>{total - hit - explained}</td><td><meter max={total} value={hit + explained}></meter></td></tr>"
            for name, total, hit, explained in counts(report, by)
        )
        heads = "".join(
            f"<th>{head}</th>" for head in (by, "points", "exercised", "out of reach", "open", "")
        )
        parts.append(f"<table><tr>{heads}</tr>{cells}</table>")
    for title, chosen in (("Open", holes(report)), ("Out of reach", list(_excused(report)))):
        items = "".join(
            f"<li><code>{escape(i)}</code> {escape(report['points'][i]['about'])} "
            f"<i>{escape(report['points'][i]['reason'])}</i></li>"
            for i in chosen
        )
        parts.append(f"<details><summary>{title}: {len(chosen)}</summary><ul>{items}</ul></details>")
    style = (
        "body{font:15px sans-serif;margin:2rem auto;max-width:60rem}td,th{padding:2px 12px;text-align:left}"
    )
    return (
        f"<!DOCTYPE html><meta charset=utf-8><title>Coverage</title><style>{style}</style>{''.join(parts)}\n"
    )


def _excused(report: Mapping[str, Any]) -> list[str]:
    return [identity for identity, p in report["points"].items() if not p["count"] and p["reason"]]
