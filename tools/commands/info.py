"""`hga info`: what a stream holds and where its bytes go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools import terminal
from tools.parameters import OutputFile, json_option, make_room, stream_argument

if TYPE_CHECKING:
    from tools.accounting import Account

_PARTS = 16  # of the pose, in the table
_COLUMNS = ("root", "joints", "expressions", "rest", "overhead", "bits")


@click.command()
@stream_argument
@click.option("--bits", is_flag=True, help="Also where the bits went: by frame and by part of the pose.")
@click.option(
    "--plot", type=OutputFile(".png", ".svg"), help="Draw where the bits went, by element, frame and part."
)
@json_option
def info(file: Path, bits: bool, plot: Path | None, as_json: bool) -> int:
    """Show what FILE holds and where its bytes go.

    That is: the headers in words, how much of its level the stream uses, the bytes by layer, and inside
    coded payloads by element. The bytes of an element are the information that the entropy coder spent on
    it. With --bits, motion is also shown frame by frame, key frames marked, and by joint and expression: what
    to make coarser, or to send less often. All bits of motion units are also shown by element.

    \b
    Examples:
      hga info head.hga
      hga info head.hga --bits --plot bits.svg
      hga info head.hga --json | jq .elements
    """
    from tools import streams
    from tools.accounting import account

    if plot is not None:
        from tools.rd_plot import check_plots

        check_plots()
        make_room(plot, file)
    data = file.read_bytes()
    found = account(data)
    streams.complain(file, found.decoder)
    if as_json:
        terminal.emit({"file": str(file), **summary(found), **(details(found) if bits else {})})
    elif found.decoder.sequence:
        show(file, found)
        if bits:
            show_bits(found)
    if plot is not None and found.shares:
        from tools.bits_plot import plot_bits

        plot_bits(plot, file.name, found)
        terminal.say(f"wrote {plot}")
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


def details(found: Account) -> dict[str, Any]:
    """What --bits adds, as plain data."""
    return {
        "bits_by_frame": [frame.as_dict() for frame in found.by_frame],
        "bits_by_part": [{"part": name, "bits": round(bits, 1)} for name, bits in found.by_part],
        "bits_by_element": [{"element": name, "bits": round(bits, 1)} for name, bits in found.by_element],
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
    from tools.accounting import generator_facts

    return facts | generator_facts(found)


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
    shares = [
        (
            s.group,
            s.element,
            f"{s.bytes:.0f}",
            f"{s.bytes / found.size:.1%}",
            terminal.bar(s.bytes / found.size),
        )
        for s in found.shares
    ]
    terminal.table("\nbytes by coded element", ("structure", "element", "bytes>", "share>", ""), shares)


def show_bits(found: Account) -> None:
    """Motion frame by frame, its totals, and the most expensive parts of the pose."""
    frames = found.by_frame
    if not frames:
        terminal.say("no frames: there is no motion to account for")
        return
    each = -(-len(frames) // 100)
    title = "bits by frame" if each == 1 else f"bits by frame, the mean of {each} in each column"
    click.echo(f"\n{title}; ^ key frame")
    for line in terminal.chart([frame.bits for frame in frames], [frame.key for frame in frames]):
        click.echo(line)
    groups = [("key", [f for f in frames if f.key]), ("predicted", [f for f in frames if not f.key])]
    rows = [
        (name, len(group), *(f"{sum(getattr(f, part) for f in group) / len(group):.1f}" for part in _COLUMNS),
         f"{max(f.bits for f in group):.0f} (frame {max(group, key=lambda f: f.bits).frame})")
        for name, group in groups if group
    ]  # fmt: skip
    columns = ("frames", "number>", *(f"{name}>" for name in _COLUMNS), "most>")
    terminal.table("\nmean bits of a frame", columns, rows)
    total, most = sum(frame.bits for frame in frames), found.by_part[0][1] or 1
    parts = [
        (name, f"{bits:.0f}", f"{bits / len(frames):.2f}", f"{bits / total:.1%}", terminal.bar(bits / most))
        for name, bits in found.by_part[:_PARTS]
    ]
    title = "\nmotion by part of the pose" + f", the first {_PARTS}" * (len(found.by_part) > _PARTS)
    terminal.table(title, ("part", "bits>", "bits/frame>", "share>", ""), parts)
    elements = [
        (name, f"{bits:.0f}", f"{bits / len(frames):.2f}", f"{bits / total:.1%}")
        for name, bits in found.by_element
    ]
    terminal.table(
        "\nall bits of motion units by element", ("element", "bits>", "bits/frame>", "share>"), elements
    )


def shortened(names: list[str], limit: int = 12) -> str:
    """At most `limit` of the names, and how many more there are."""
    more = f" … {len(names)} in all" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
