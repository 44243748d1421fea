"""`hga conformance explain`: what is wrong with a decoder's answer about one stream."""

from __future__ import annotations

from pathlib import Path

import click

from tools import terminal
from tools.conformance import decoder_options, decoder_under_test, records, reference, rules
from tools.parameters import json_option


@click.command()
@click.argument("record")
@decoder_options
@json_option
def explain(
    record: str, source: str, corpus: tuple[Path, ...], profiles: str | None, levels: str | None,
    stages: tuple[str, ...] | None, timeout: float | None, memory: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Run a decoder on the stream with the id RECORD and say where it first goes wrong.

    Shows the first difference, the clause, the syntax around it as the reference decoder reads it, and the likely
    cause. If the description of the decoder has the commands `dump` and `trace` (conformance/CONTRACT.md), the first
    joint, Gaussian or pixel that differs is named, and the first syntax element that it reads otherwise.

    \b
    Examples:
      hga conformance explain syntax/sh_degree_3 --decoder mine.toml
      hga conformance explain damage/truncated --decoder './mine --json {stream}'
    """
    from conformance.runner.decoders import DecoderError
    from conformance.runner.explain import Explainer
    from conformance.runner.judge import PASS, Judge
    from conformance.runner.suite import Runner

    decoder = decoder_under_test(source, profiles, levels, stages, timeout, memory)
    (found,) = records(corpus, (record,))[:1]
    runner = Runner(Judge(decoder, rules(), "exact"))
    try:
        (result,) = runner.all([found], 1)
        sections = Explainer(decoder, reference())(result)
    except DecoderError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        terminal.emit({"id": found.id, "verdict": result.verdict, **sections})
    else:
        for name, lines in sections.items():
            click.secho(name, bold=True)
            click.echo("".join(f"  {line}\n" for line in lines), nl=False)
    return 0 if result.verdict == PASS else 1
