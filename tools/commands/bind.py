"""`hga bind`: a splat of a body becomes an avatar."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tools import terminal
from tools.parameters import CONTENT_IN, OutputFile, json_option, make_room


def placement_options(required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that say how a splat stands in a rig; the command receives them as `placement`."""
    options = (
        click.option("--rig", type=CONTENT_IN, required=required,
                     help="A MakeHuman or soma77 body (.npz) to bind a splat to."),
        click.option("--pose", default="rest", show_default=True, metavar="rest|t|FILE",
                     help="How the splat stands: as the rig rests, in the T-pose, or as in frame 0 of a motion."),
        click.option("--shape", help="Body shape, for a MakeHuman rig [default: its first]."),
        click.option("--arkit", type=CONTENT_IN, help="ARKit targets for the rig's mesh (.npz)."),
        click.option("--up", type=click.Choice(["y", "-y", "z", "-z", "x", "-x"]), default="y", show_default=True,
                     help="The splat's up axis; write --up=-y."),
        click.option("--yaw", type=float, default=0.0, show_default=True,
                     help="Degrees to turn the splat about y until it faces +z."),
        click.option("--height", type=float, help="Height in metres [default: the rig's]."),
    )  # fmt: skip

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(rig: Path | None, **values: Any) -> Any:
            keys = ("pose", "shape", "arkit", "up", "yaw", "height")
            given = {key: values.pop(key) for key in keys}
            return function(placement=_placement(rig, given), **values)

        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _placement(rig: Path | None, given: dict[str, Any]) -> Any:
    from tools.encoding import Placement

    return None if rig is None else Placement(rig, **given)


@click.command()
@click.argument("splat", type=CONTENT_IN)
@click.option("-o", "output", type=OutputFile(".npz"), required=True, help="The avatar to write (.npz).")
@click.option(
    "--influences", type=click.IntRange(1, 8), default=4, show_default=True, help="Joints per Gaussian."
)
@json_option
@placement_options(required=True)
def bind(splat: Path, output: Path, influences: int, as_json: bool, placement: Any) -> None:
    """Bind a splat of a person to a rigged body.

    SPLAT is a .ply, .compressed.ply, .spz or SOG; a folder is taken for an unpacked SOG. It is turned
    upright, scaled and put where the body stands; each Gaussian takes the skinning weights and expressions
    of the nearest surface. How far the Gaussians lie from it is printed, with a warning where another --up
    or --yaw fits better. Distances hardly know front from back, nor the pose: look at the result with
    `hga encode` and `hga render --sheet`.

    \b
    Examples:
      hga bind man.spz --rig makehuman.npz --up=-y -o man.npz
      hga bind robot.sog --rig soma77.npz --pose t --height 1.4 -o robot.npz
    """
    from reference_encoder.avatar_file import save_avatar
    from tools.encoding import bound_avatar, centimetres

    make_room(output, splat, *placement.files)
    bound = bound_avatar(splat, placement, influences)
    avatar, fit = bound.avatar, bound.fit
    save_avatar(output, avatar)
    facts = {
        "file": str(output),
        "gaussians": avatar.gaussians.count,
        "joints": avatar.rig.count,
        "expressions": len(avatar.expression_names),
        "height": round(
            float(avatar.gaussians.positions[:, 1].max() - avatar.gaussians.positions[:, 1].min()), 3
        ),
        "fit": {"median": round(fit.median, 4), "most": round(fit.most, 4)},
        "warning": bound.warning,
    }
    if as_json:
        terminal.emit(facts)
    else:
        terminal.say(
            f"wrote {output}: {facts['gaussians']} Gaussians on {facts['joints']} joints, "
            f"{facts['expressions']} expressions, {facts['height']} m from lowest to highest; "
            f"fits the body to {centimetres(fit.median)} (median), {centimetres(fit.most)} (95 %)"
        )
    if bound.warning:
        terminal.say(f"warning: {bound.warning}")
