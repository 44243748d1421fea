"""`hga bench`: what the claims of the README rest on, for anyone to run again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tools.parameters import CONTENT_IN, OUT, json_option, weight_options


@click.group()
def bench() -> None:
    """Measure speed, and rate against distortion, on this machine."""


@bench.command()
@click.option(
    "--gaussians", default=100_000, show_default=True, help="Number of Gaussians of the synthetic body."
)
@click.option("--sh-degree", default=3, show_default=True, type=click.IntRange(0, 3))
@click.option(
    "--size", "sizes", multiple=True, default=(512, 1024), show_default=True, help="Picture width and height."
)
@click.option("--runs", default=15, show_default=True, help="Runs of each stage; the fastest counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def speed(gaussians: int, sh_degree: int, sizes: tuple[int, ...], runs: int, as_json: bool) -> None:
    """Time every stage of decoding and drawing, on 1 and 2 threads.

    A synthetic body of 55 joints and 4 influences a Gaussian fills about a fifth of the picture. The
    peer in the same run is a float64 renderer of the same maths on one thread. How fast canonical Gaussians decode
    is told of the shipped body, beside LZMA and zstd unpacking the same Gaussians as 16-bit arrays.

    \b
    Example: hga bench speed --size 512
    """
    from tools.bench_speed import measure

    report = measure(sizes, gaussians, sh_degree, runs)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    _print(report)


@bench.command()
@click.option(
    "--gaussians", default=64_000, show_default=True, help="Number of Gaussians of the synthetic body."
)
@click.option(
    "--channels",
    default=48,
    show_default=True,
    type=click.IntRange(1, 128),
    help="Channels of the finest level; 48 take 4.4 GMAC a frame.",
)
@click.option("--size", default=512, show_default=True, help="Picture width and height.")
@click.option("--runs", default=10, show_default=True, help="Runs; the fastest counts.")
@json_option
def generator(gaussians: int, channels: int, size: int, runs: int, as_json: bool) -> None:
    """Time the network of a generator, alone and with skinning and drawing, on 1 and 2 threads.

    A random network of five levels on maps of 256 x 256 texels; with torch too where it is installed. The chain is
    everything from the pose to the picture.

    \b
    Example: hga bench generator --channels 32
    """
    from tools import terminal
    from tools.bench_generator import measure

    report = measure(gaussians, channels, size, runs, terminal.say)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    title = (
        f"{report['gmac']:.2f} GMAC a frame, {report['weights']:,} weights, maps of {report['map_size']}², "
        f"{report['gaussians']:,} Gaussians, picture {size}²"
    )
    rows = [
        (r["network"], r["threads"], f"{r['ms']:.1f}", f"{r['frames_per_s']:.1f}", f"{r['gmac_per_s']:.1f}",
         f"{r['chain_ms']:.1f}", f"{r['chain_frames_per_s']:.1f}")
        for r in report["networks"]
    ]  # fmt: skip
    heads = ("network", "threads>", "ms>", "frames/s>", "GMAC/s>", "chain ms>", "chain frames/s>")
    terminal.table(title, heads, rows)


class _Factors(click.ParamType[tuple[float, ...]]):
    """Positive numbers with commas between them."""

    name = "X,X,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            factors = tuple(float(part) for part in value.split(","))
        except ValueError:
            factors = ()
        if not factors or not all(0 < factor < 1e6 for factor in factors):
            self.fail(f"{value!r} is not a list of positive numbers such as 4,1,0.5", param, ctx)
        return factors


@bench.command()
@click.option("--motion", is_flag=True, help="Measure motion only (such options may be combined).")
@click.option("--static", "still", is_flag=True, help="Measure static Gaussians only.")
@click.option("--expressions", is_flag=True, help="Measure the head with its expressions only.")
@click.option(
    "--effort", is_flag=True, help="Measure the nine levels of effort only, on parts of the content."
)
@click.option("--face", is_flag=True, help="Measure --face-priority only, on the shipped body.")
@click.option(
    "--content",
    "files",
    multiple=True,
    type=CONTENT_IN,
    help="Splats to measure instead of the shipped head and body (.ply, .spz, SOG); may be repeated.",
)
@click.option(
    "--qualities",
    type=_Factors(),
    default=(16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125),
    show_default="16,8,4,2,1,0.5,0.25,0.125",
    help="Factors on every quantiser step, one point of the curve each.",
)
@click.option("--output-dir", type=OUT, help="A folder for the curves as .png and .svg.")
@click.option("--splat-transform", help="The splat-transform program, where npx does not find it.")
@click.option("--slow", is_flag=True, help="Also peers that take many minutes (.sog above SH degree 0).")
@json_option
def rd(
    motion: bool,
    still: bool,
    expressions: bool,
    effort: bool,
    face: bool,
    files: tuple[Path, ...],
    qualities: tuple[float, ...],
    output_dir: Path | None,
    splat_transform: str | None,
    slow: bool,
    as_json: bool,
) -> None:
    """Encode content at several rates beside its peers, and compare bytes at equal quality.

    Static: PSNR of the object's pixels, 8 cameras on a ring at 512x512, of the integer render of what
    was decoded against the float64 render of the original. Motion: bytes at no larger errors than
    ACL's, and at mean errors, with the frames coded a second of processor time. Expressions: the whole
    head against zstd -19 of its 16-bit arrays. Only if asked for: what each level of effort saves at equal
    quality, and what priority does for a face and a hand at equal bytes.

    \b
    Examples:
      hga bench rd --output-dir curves
      hga bench rd --effort --qualities 2,1 --output-dir curves
      hga bench rd --static --content biker.spz --qualities 4,2,1,0.5
    """
    from tools import bench_rd_report, terminal
    from tools.rd_plot import check_plots

    if output_dir is not None:
        check_plots()
    everything = not (motion or still or expressions or effort or face)
    report: dict[str, Any] = {}
    with terminal.progress() as progress:
        if still or everything:
            report |= bench_rd_report.static(files, qualities, splat_transform, slow, output_dir, progress)
        if expressions or everything:
            report |= bench_rd_report.expressions(progress)
        if motion or everything:
            report |= _motion(progress)
        if effort:
            report |= bench_rd_report.effort(files, qualities, output_dir, progress)
        if face:
            report |= bench_rd_report.face(output_dir, progress)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        bench_rd_report.show(report)


@bench.command()
@click.argument("data", type=CONTENT_IN)
@click.argument("trained", type=CONTENT_IN, nargs=-1, required=True)
@click.option("--cameras", default=4, show_default=True, help="Cameras of the set that are looked from.")
@click.option("--frames", default=16, show_default=True, help="Held-out frames that are looked at.")
@click.option(
    "--seconds", default=10, show_default=True, type=click.IntRange(1, 15), help="Of motion in the size."
)
@click.option("--effort", default=5, show_default=True, type=click.IntRange(1, 9), help="Of `hga encode`.")
@weight_options
@click.option("--floats", is_flag=True, help="Also the networks before their numbers become whole.")
@click.option("--output-dir", type=OUT, help="A folder for pictures side by side, and a plot of rates.")
@json_option
def train(
    data: Path,
    trained: tuple[Path, ...],
    cameras: int,
    frames: int,
    seconds: int,
    effort: int,
    dependent: bool,
    trade: float,
    floats: bool,
    output_dir: Path | None,
    as_json: bool,
) -> None:
    """Decode what `hga train` left in the folders TRAINED, against held-out pictures of the set DATA.

    PSNR and SSIM are over the pixels that show the person, and over those of the face. Skinning alone is
    canonical.npz of the first folder: canonical Gaussians fitted to the training pictures. All is encoded, decoded
    and drawn in integers. A folder trained with --steps 0 is a control of skinning alone that had as many steps as
    a generator; with several generators, from --start of one with other --rate say, a plot shows what bytes bring.
    Bytes are those of the avatar with the poses looked at and 10 seconds of motion at 30 frames a second.

    \b
    Example: hga bench train out/clothed out/trained out/static --floats --output-dir out/pictures
    """
    from reference_encoder.quantise import Settings
    from tools import terminal

    with terminal.torch_needed("trained generators need"):
        from tools.bench_train import Measurement, WeightCoding, measure

    with terminal.progress() as progress:
        plan = Measurement(
            cameras, frames, seconds, Settings(effort=effort), WeightCoding.of(dependent, trade), floats
        )
        report = measure(data, trained, plan, output_dir, progress)
    if as_json:
        terminal.emit(report)
        return
    columns = (
        "",
        "PSNR, dB>",
        "SSIM>",
        "face PSNR>",
        "face SSIM>",
        "stream>",
        "generator>",
        "bit/weight>",
        "GMAC>",
    )
    rows = [
        (name, f"{r['psnr']:.2f}", f"{r['ssim']:.4f}", f"{r['face_psnr']:.2f}", f"{r['face_ssim']:.4f}",
         *(("", "", "", "") if math.isnan(r["bytes"]) else
           (terminal.size(r["bytes"]), terminal.size(r["generator_bytes"]), f"{r['bits_per_weight']:.2f}",
            f"{r['gmacs']:.2f}")))
        for name, r in report["rows"].items()
    ]  # fmt: skip
    terminal.table(f"{report['pictures']} pictures of held-out poses", columns, rows)


@bench.command()
@click.argument("data", type=CONTENT_IN)
@click.argument("trained", type=CONTENT_IN)
@click.option(
    "--frames", default=4, show_default=True, help="Poses on which the network's error is measured."
)
@json_option
def weights(data: Path, trained: Path, frames: int, as_json: bool) -> None:
    """Code the weights of the generator that `hga train` left in TRAINED; its inputs are those of the set DATA.

    The same whole numbers are coded by us and by peers: a static Laplace distribution of the best scale for each
    tensor, by the length of its ideal code, and general compressors. Then steps grow, and the mean squared
    error of the network's output, against the output of its weights in floats, is set against the bits.

    \b
    Example: hga bench weights out/clothed out/trained
    """
    from tools import terminal

    with terminal.torch_needed("trained generators need"):
        from tools import bench_weights

    with terminal.progress() as progress:
        report = bench_weights.measure(data, trained, frames, progress)
    if as_json:
        terminal.emit(report)
        return
    ours, laplace, count = bench_weights.OURS, bench_weights.LAPLACE, report["weights"]
    for name, sizes in report["coded"].items():
        rows = [(coder, f"{size:.0f}", f"{8 * size / count:.3f}", f"{sizes[ours] / size:.3f}")
                for coder, size in sizes.items()]  # fmt: skip
        terminal.table(
            f"{count:,} weights, {name}", ("coder", "bytes>", "bit/weight>", "ours over it>"), rows
        )
    points = [
        (name, f"{p['step']:.1f}", f"{p['error']:.0f}", f"{p[ours]:.3f}", f"{p[laplace]:.3f}")
        for name, curve in report["curves"].items()
        for p in curve
    ]
    shares = ", ".join(f"{share:.3f}" for share in report["equal_error"])
    heads = ("quantisation", "steps>", "squared error>", "ours, bit/weight>", "Laplace, bit/weight>")
    terminal.table(f"dependent and ours over uniform and Laplace at equal error: {shares}", heads, points)


def _motion(progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """{"motion": the nine clips that ACL's table has, in every mode and at mean errors, and a track of a face}"""
    from dataclasses import asdict

    from tools.bench_rd_motion import measure_means, measure_modes, measure_track, rate, summary
    from tools.content import head_track

    modes = measure_modes(progress=progress)
    found: dict[str, list[Any]] = {
        "modes": modes,
        "means": measure_means(progress=progress),
        "track": list(measure_track(head_track())),
    }
    return {
        "motion": {name: [asdict(row) for row in part] for name, part in found.items()}
        | {"kbit_per_s": rate(modes[0].clips), "summary": summary(modes)}
    }


@bench.command()
@click.option("--avatar", type=CONTENT_IN, help="A bound avatar or a LAM head instead of the shipped ones.")
@click.option("--motion", type=CONTENT_IN, help="The motion of --avatar.")
@click.option("--face", type=CONTENT_IN, help="An ARKit track that goes with --motion.")
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1, 600), help="Of each motion."
)
@click.option(
    "--effort", type=click.IntRange(1, 9), help="The encoder's effort  [default: the encoder's own]"
)
@json_option
def stream(
    avatar: Path | None,
    motion: Path | None,
    face: Path | None,
    seconds: float,
    effort: int | None,
    as_json: bool,
) -> None:
    """Encode whole streams as one would send them, and tell what a receiver gets when.

    The shipped body of 64,000 Gaussians in captured clips, in one with its face, and the shipped head, each 10 s at
    30 frames/s in the default quality, with and without a random access point each second.

    \b
    total           all bytes over the duration
    1st bytes       what must arrive before the first picture: headers, Gaussians, expressions, one motion unit
    steady          the motion after the first frame
    encode          seconds; the second stream of a content has the Gaussians of the first
    frame, picture  milliseconds on one thread to decode those bytes to the first frame, and to draw it at 512x512

    \b
    Examples:
      hga bench stream
      hga bench stream --avatar me.npz --motion walk.npz --seconds 4
    """
    from dataclasses import asdict, replace

    from reference_encoder.quantise import Settings
    from tools import terminal
    from tools.bench_stream import measure_streams, own_subject, subjects

    if (avatar is None) != (motion is None):
        raise click.UsageError("--avatar and --motion go together")
    if face is not None and motion is None:
        raise click.UsageError("--face needs --avatar and --motion")
    settings = Settings() if effort is None else replace(Settings(), effort=effort)
    chosen = [own_subject(avatar, motion, face, seconds)] if avatar and motion else [*subjects(seconds)]
    with terminal.progress() as progress:
        rows = [asdict(row) for row in measure_streams(chosen, settings, progress)]
    if as_json:
        click.echo(json.dumps({"streams": rows}, indent=2))
    else:
        _show_streams(rows)


def _show_streams(rows: list[dict[str, Any]]) -> None:
    from tools import terminal

    columns: tuple[str, ...] = (
        "content",
        "mode",
        "Gaussians>",
        "frames>",
        "bytes>",
        "total kbit/s>",
        "first bytes>",
    )
    columns += ("steady kbit/s>", "frame ms>", "picture ms>", "encode s>")
    cells = [
        (
            row["content"],
            row["mode"],
            f"{row['gaussians']:,}",
            row["frames"],
            f"{row['bytes']:,}",
            f"{row['total_kbit_s']:.1f}",
            f"{row['first_bytes']:,}",
            f"{row['steady_kbit_s']:.2f}",
            f"{row['first_frame_ms']:.0f}",
            f"{row['first_picture_ms']:.0f}",
            f"{row['encode_s']:.1f}",
        )
        for row in rows
    ]
    terminal.table("whole streams", columns, cells)


def _print(report: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{report['gaussians']:,} Gaussians, SH degree {report['sh_degree']}, {report['joints']} joints; "
        f"encoded in {report['encode_s']:.1f} s to {report['stream_bytes']:,} bytes; "
        f"first frame decoded after {report['first_frame_ms']:.0f} ms"
    )
    _print_canonical(report["canonical"])
    table = Table(title="milliseconds per frame, the fastest of several runs")
    table.add_column("stage")
    for picture in report["pictures"]:
        table.add_column(f"{picture['size']}², {picture['threads']} thr.", justify="right")
    motion = report["motion_decode_ms_per_frame"]
    table.add_row("motion decoding", *(f"{motion:.2f}" for _ in report["pictures"]))
    for stage in report["pictures"][0]["stages_ms"]:
        table.add_row(stage, *(f"{picture['stages_ms'][stage]:.2f}" for picture in report["pictures"]))
    table.add_row(
        "whole frame", *(f"{picture['frame_ms']:.1f}" for picture in report["pictures"]), style="bold"
    )
    table.add_row(
        "of the picture covered", *(f"{100 * picture['covered']:.0f} %" for picture in report["pictures"])
    )
    table.add_row(
        "ratio to float64", *(f"{picture['ratio_to_float64']:.3f}" for picture in report["pictures"])
    )
    console.print(table)


def _print_canonical(part: dict[str, Any]) -> None:
    """The canonical layer of the shipped body beside its peers."""
    from tools import terminal

    rows = [("HGA", f"{part['bytes']:,}", f"{part['ms']:.1f}", "1.00")]
    rows += [
        (name, f"{peer['bytes']:,}", f"{peer['ms']:.1f}", f"{part['ms'] / peer['ms']:.2f}")
        for name, peer in part["peers"].items()
    ]
    title = f"{part['gaussians']:,} canonical Gaussians, SH degree 0, on one thread: "
    title += f"{part['gaussians_per_s'] / 1e6:.2f} million a second"
    terminal.table(title, ("coder", "bytes>", "decoding ms>", "HGA's time over it>"), rows)
