"""`hga conformance export-fluster`: the suite for those who run their decoders with fluster."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.conformance import records
from tools.parameters import CONTENT_IN, OUT, make_room, stage_names


@click.command("export-fluster")
@click.option("-o", "output", type=OUT, required=True, help="Folder of a fluster checkout, or any other one.")
@click.option(
    "--corpus", multiple=True, type=CONTENT_IN, help="Folders or records [default: the shipped corpus]."
)
@click.option("--only", multiple=True, help="Ids of streams, or patterns such as 'syntax/*'.")
@click.option("--stage", default="gaussians", show_default=True, help="The stage whose digests are compared.")
@click.option(
    "--source", default="file:///corpus", show_default=True, help="URL below which the streams can be had."
)
def export_fluster(
    output: Path, corpus: tuple[Path, ...], only: tuple[str, ...], stage: str, source: str
) -> None:
    """Write a test suite for fluster, a decoder class for it, and the streams where fluster looks for them.

    The decoder class runs the command of the environment variable HGA_DECODER. What it returns tells frames and errors
    apart, so a decoder that accepts a wrong stream does not pass.

    \b
    Example:
      hga conformance export-fluster -o ~/fluster --stage gaussians
      cd ~/fluster && ./fluster.py run -ts HGA-gaussians -d HGA
    """
    from conformance.runner.fluster import export

    if stage not in stage_names():
        raise click.UsageError(f"there is no stage {stage!r}, only {', '.join(stage_names())}")
    make_room(output, folder=True)
    for path in export(records(corpus, only), stage, source, output):
        terminal.say(f"wrote {path}")
