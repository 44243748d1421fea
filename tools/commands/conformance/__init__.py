"""`hga conformance`: judging decoders by the suite."""

from __future__ import annotations

import sys

import click

from tools.subcommands import Subcommands


@click.group(cls=Subcommands, package=sys.modules[__name__])
def conformance() -> None:
    """Judge a decoder, written by anyone in any language, by the conformance suite.

    A decoder takes part as a command that prints one line of JSON for each frame or error; what stands in the lines
    is said in conformance/CONTRACT.md. `hga decode --json --stages all` is such a command.

    \b
    Start here:
      hga conformance run --decoder './mine --json {stream}'
      hga conformance run --decoder mine.toml --html report.html
      hga conformance explain syntax/sh_degree_3 --decoder mine.toml
    """
