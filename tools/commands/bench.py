"""`hga bench`: what the claims of the README rest on, for anyone to run again."""

from __future__ import annotations

import json

import click


@click.group()
def bench() -> None:
    """Measure speed (and, with later versions, rate and distortion) on this machine."""


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
    peer in the same run is a float64 renderer of the same maths on one thread.

    \b
    Example: hga bench speed --size 512
    """
    from tools.bench_speed import measure

    report = measure(sizes, gaussians, sh_degree, runs)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    _print(report)


def _print(report: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{report['gaussians']:,} Gaussians, SH degree {report['sh_degree']}, {report['joints']} joints; "
        f"encoded in {report['encode_s']:.1f} s to {report['stream_bytes']:,} bytes; "
        f"first frame decoded after {report['first_frame_ms']:.0f} ms"
    )
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
