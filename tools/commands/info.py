"""`hga info`: what a stream holds and where its bytes go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import json_option, stream_argument

if TYPE_CHECKING:
    from tools.accounting import Account


@click.command()
@stream_argument
@json_option
def info(file: Path, as_json: bool) -> int:
    """Show what FILE holds and where its bytes go.

    That is: the headers in words, how much of its level the stream uses, the bytes by layer, and inside
    coded payloads by element. The bytes of an element are the information that the entropy coder spent on
    it.

    \b
    Examples:
      hga info head.hga
      hga info head.hga --json | jq .elements
    """
    from tools import streams
    from tools.accounting import account

    data = file.read_bytes()
    found = account(data)
    streams.complain(file, found.decoder)
    if as_json:
        terminal.emit({"file": str(file), **summary(found)})
    elif found.decoder.sequence:
        show(file, found)
    return 4 if found.decoder.errors else 0


def summary(found: Account) -> dict[str, Any]:
    """Everything about a stream as plain data."""
    decoder = found.decoder
    return {
        "bytes": found.size,
        "header": header(found),
        "frames": found.frames,
        "random_access": found.random_access,
        "hashed_frames": len(decoder.hashes),
        "limits": {
            name: {"used": used, "limit": found.limits.get(name)} for name, used in found.used.items()
        },
        "layers": [layer.as_dict() for layer in found.layers],
        "elements": [
            {"structure": s.group, "element": s.element, "bytes": round(s.bytes, 1)} for s in found.shares
        ],
        "joint_names": [decoder.joint_names[n] for n in sorted(decoder.joint_names)],
        "expression_names": [decoder.expression_names[n] for n in sorted(decoder.expression_names)],
        "cameras": {number: f"{c.width}x{c.height}" for number, c in decoder.cameras.items()},
        "description": decoder.description,
        "errors": [error.as_dict() for error in decoder.errors],
    }


def header(found: Account) -> dict[str, Any]:
    """The two headers in words."""
    import spec

    enumerations = spec.standard().enumerations
    sequence, avatar = found.decoder.sequence, found.decoder.avatar
    facts: dict[str, Any] = {}
    if sequence:
        rate = sequence["frame_rate_numerator"] / sequence["frame_rate_denominator"]
        facts |= {"profile": enumerations["profile"][sequence["profile"]][0], "level": sequence["level"]}
        facts |= {"frames_per_second": round(rate, 3), "seconds": round(found.frames / rate, 3)}
    if avatar:
        facts["template_family"] = enumerations["template_family"].get(
            avatar["template_family"], ("reserved", "")
        )[0]
        facts |= {
            name: avatar[name] for name in ("gaussian_count", "joint_count", "expression_count", "sh_degree")
        }
        facts |= {
            "influences": avatar["influence_limit"] + 1,
            "skin_weight_bits": avatar["skin_weight_bits"] + 9,
        }
    return facts


def show(file: Path, found: Account) -> None:
    """The tables."""
    decoder = found.decoder
    facts = [(name.replace("_", " "), value) for name, value in header(found).items()]
    points = shortened([str(n) for n in found.random_access])
    facts += [("frames", found.frames), ("random access at", points), ("hashed frames", len(decoder.hashes))]
    facts += [(f"camera {n}", f"{c.width}x{c.height}") for n, c in decoder.cameras.items()]
    facts += [("joints", shortened([*decoder.joint_names.values()]))] if decoder.joint_names else []
    facts += (
        [("expressions", shortened([*decoder.expression_names.values()]))] if decoder.expression_names else []
    )
    facts += [("description", decoder.description)] if decoder.description else []
    terminal.table(f"{file}: {terminal.size(found.size)}", ("", ""), facts)
    limits = [
        (
            name.removeprefix("max_").replace("_", " "),
            used,
            found.limits.get(name, ""),
            f"{used / found.limits[name]:.0%}",
        )
        for name, used in found.used.items()
    ]
    terminal.table(f"\nlimits of level {decoder.sequence['level']}", ("", "used>", "limit>", ">"), limits)
    rows = [(l.layer, l.units, l.size, f"{l.size / found.size:.1%}", l.per_frame) for l in found.layers]
    terminal.table("\nbytes by layer", ("layer", "units>", "bytes>", "share>", "bytes/frame>"), rows)
    shares = [(s.group, s.element, f"{s.bytes:.0f}", f"{s.bytes / found.size:.1%}") for s in found.shares]
    terminal.table("\nbytes by coded element", ("structure", "element", "bytes>", "share>"), shares)


def shortened(names: list[str], limit: int = 12) -> str:
    """At most `limit` of the names, and how many more there are."""
    more = f" … {len(names)} in all" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
