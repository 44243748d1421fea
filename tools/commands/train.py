"""`hga train`: multi-view video to a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tools import terminal
from tools.parameters import CONTENT_IN, OUT, OutputFile, json_option, make_room, weight_options


@click.command()
@click.argument("data", type=CONTENT_IN)
@click.option("-o", "output", type=OUT, required=True, help="Folder for checkpoint, pictures and loss curve.")
@click.option(
    "--avatar", type=CONTENT_IN, help="The bound avatar to start from [default: avatar.npz of the set]."
)
@click.option(
    "--canonical-steps", default=1500, show_default=True, help="Steps on the canonical Gaussians alone."
)
@click.option("--warm-steps", default=800, show_default=True, help="Steps on the generator's first guess.")
@click.option("--steps", default=4000, show_default=True, help="Steps on the generator.")
@click.option("--views", default=2, show_default=True, help="Pictures of one pose in a step.")
@click.option("--maps", "map_bits", default=7, show_default=True, type=click.IntRange(4, 11),
              help="Binary logarithm of the width of the maps.")  # fmt: skip
@click.option("--channels", default=16, show_default=True, type=click.IntRange(4, 128),
              help="Channels at the finest level; coarser ones have up to four times as many.")  # fmt: skip
@click.option("--heads", default="position,colour", show_default=True,
              help="What the generator changes: position, colour, opacity, scale, rotation.")  # fmt: skip
@click.option("--rate", default=3e-3, show_default=True, help="Loss per megabyte of weights.")
@click.option("--squared", default=2.0, show_default=True, help="Loss per squared error, beside L1 and SSIM.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Of the generator.")
@click.option(
    "--canonical-rate", default=1.0, show_default=True, help="Factor on those of the canonical Gaussians."
)
@click.option(
    "--face-attention", default=0.0, show_default=True,
    help="How much more a pixel of the face counts. Other than 0 it also has the generator taught what expressions "
         "do to the face's colours, which is found in the pictures by linear regression; 10 is good.",
)  # fmt: skip
@click.option(
    "--lpips", default=0.0, show_default=True, help="Loss per LPIPS, if the package and its weights are here."
)
@click.option(
    "--prune", default=0.0, show_default=True, help="Share of the multiplications to get rid of, 0 to 0.95."
)
@click.option("--renderer", type=click.Choice(["auto", "cpu", "gsplat"]), default="auto", show_default=True,
              help="Our own on the CPU or gsplat on CUDA.")  # fmt: skip
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--quantised/--floats", default=True, show_default=True, help="Whole numbers, or a control in floats."
)
@click.option(
    "--start", type=CONTENT_IN, help="Begin with the avatar and generator that training left in this folder."
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.option("--previews", default=4, show_default=True, help="Held-out pictures in preview.png.")
@click.option(
    "--export", "stream", type=OutputFile(".hga"), help="Write the set's motion with the generator (.hga)."
)
@weight_options
@json_option
def train(
    data: Path,
    output: Path,
    avatar: Path | None,
    as_json: bool,
    resume: bool,
    start: Path | None,
    previews: int,
    stream: Path | None,
    dependent: bool,
    trade: float,
    **chosen: Any,
) -> None:
    """Train a generator on the multi-view video in the folder DATA.

    DATA is laid out like THuman4.0, AvatarReX or ActorsHQ: pictures, masks, calibration and smpl_params.npz, or
    motion.npz with poses of another rig. `python -m tools.content.clothed` makes such a set of the shipped body.
    First the canonical Gaussians are fitted, which is the best that skinning alone can do (canonical.npz), then a
    generator with them. The folder gets checkpoint.pt, loss.csv, loss.png and preview.png: truth, canonical,
    generative and their differences from the truth on poses that training does not see.

    \b
    Examples:
      python -m tools.content.clothed out/clothed && hga train out/clothed -o out/trained
      hga train out/clothed -o out/trained --resume --steps 8000 --export out/trained.hga
      hga train out/clothed -o out/pruned --start out/trained --canonical-steps 0 --steps 800 --prune 0.5
      hga train out/clothed -o out/face --start out/trained --canonical-steps 0 --steps 500 --face-attention 10
      hga train avatarrex_zzr -o out/zzr --avatar zzr.npz --face-attention 10
    """
    with terminal.torch_needed("training needs"):
        from tools import training
    if stream is not None:
        make_room(stream, avatar)
    with terminal.progress() as progress:
        report = training.train(
            data, avatar, output, training.Choices(**chosen), resume, start, previews, progress
        )
        if stream is not None:
            coding = training.WeightCoding.of(dependent, trade)
            stream.write_bytes(training.stream(data, output, coding, progress))
    if as_json:
        terminal.emit(report)
        return
    rows = [
        (name, f"{s['psnr']:.2f}", f"{s['ssim']:.4f}", f"{s['face_psnr']:.2f}", f"{s['face_ssim']:.4f}")
        for name, s in report["held_out"].items()
    ]
    columns = ("held-out poses", "PSNR, dB>", "SSIM>", "face PSNR>", "face SSIM>")
    terminal.table(f"{output}: {report['note']}", columns, rows)
