"""The `hga` command: finds its subcommands, and turns every error into one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from tools import commands, terminal
from tools.subcommands import Subcommands

OK, DIFFERENCE, USAGE, CONTENT, STREAM, STANDARD, CRASH, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 130


class CommandLine(Subcommands):
    """The outermost group: it turns what a command returns or raises into an exit code."""

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        """Runs the command and exits; commands return their exit code, or nothing for success."""
        try:
            code = super().main(args, *arguments, **{**options, "standalone_mode": False})
        except Exception as error:
            code = exit_code(error)
        sys.exit(code if isinstance(code, int) else OK)


def exit_code(error: Exception) -> int:
    """Says what went wrong on stderr: in one line what a user can mend, else by the traceback of a crash."""
    from reference_encoder.content import ContentError  # costs start-up time, and only errors need them
    from spec.errors import StreamError
    from spec.load import SyntaxDescriptionError

    if isinstance(error, click.Abort):
        terminal.complain("interrupted")
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return USAGE
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see '{context.command_path} --help')" if context else ""
        terminal.complain(" ".join(error.format_message().split()) + hint)
        return USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        terminal.complain(f"{where}{error.strerror or error}")
        return USAGE
    if isinstance(error, ContentError):
        terminal.complain(str(error))
        return CONTENT
    if isinstance(error, StreamError):
        terminal.complain(str(error))
        return STREAM
    if isinstance(error, standard_errors()):
        hint = "; `hga spec check` says where" if isinstance(error, SyntaxDescriptionError) else ""
        terminal.complain(" ".join(str(error).split()) + hint)
        return STANDARD
    traceback.print_exception(error)
    return CRASH


def standard_errors() -> tuple[type[Exception], ...]:
    """What a mistake in the YAML or the text raises, or a new element that the encoder does not know yet."""
    from yaml import YAMLError

    from spec.expr import ExpressionError
    from spec.load import SyntaxDescriptionError
    from spec.ports import MissingValue
    from spec.run import DocumentError

    return YAMLError, ExpressionError, SyntaxDescriptionError, MissingValue, DocumentError


@click.group(
    cls=CommandLine,
    package=commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 a difference was found, 2 wrong usage or a file that cannot be opened, "
    "3 content that cannot be used, 4 a stream that is not what the standard says, 5 the standard itself is wrong "
    "or the encoder has no value for an element of it, 70 a crash.",
)
@click.version_option(package_name="hga", prog_name="hga")
def main() -> None:
    """Hierarchical Gaussian Avatar coding: encode, decode, look into and check .hga streams.

    \b
    Start here:
      hga encode head.zip track.json.gz -o head.hga     content to a stream
      hga render head.hga -o head.png --sheet 2x4       look at it
      hga info head.hga                                 where its bytes go

    Every command has --help with examples. Results go to stdout, progress and messages to stderr.
    """
