"""`hga spec`: the standard itself, as a page, as a check, as tables."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tools import terminal
from tools.parameters import IN, OUT, json_option, make_room


@click.group()
def spec() -> None:
    """Build, check and look up the standard.

    \b
    Examples:
      hga spec build -o spec.html
      hga spec check
      hga spec table motion_unit
    """


def directory() -> Path:
    """The folder that the installed standard is read from."""
    import spec as standard

    return Path(standard.__file__).parent


@spec.command()
@click.option("-o", "output", type=OUT, default="spec.html", show_default=True, help="The page to write.")
@click.option("--coverage", type=IN, help="Mark lines by this result of `hga conformance coverage --save`.")
def build(output: Path, coverage: Path | None) -> int:
    """Write the standard as one HTML page; refused while `hga spec check` finds anything.

    With --coverage, each line of pseudo-code and each row of a syntax table shows how many streams run it.
    """
    from spec.run import DocumentError
    from tools import document_example
    from tools.document import build_html

    report = json.loads(coverage.read_text(encoding="utf-8")) if coverage else None
    try:
        page = build_html(directory(), document_example.sections(), report)
    except DocumentError as error:
        for line in str(error).splitlines():
            terminal.complain(line)
        return 1
    make_room(output)
    output.write_text(page, encoding="utf-8")
    terminal.say(f"wrote {output}, {terminal.size(output.stat().st_size)}")
    return 0


@spec.command()
@json_option
def check(as_json: bool) -> int:
    """Find where text, syntax and pseudo-code disagree.

    Exit code 1 if they do.
    """
    from tools.document import check as problems_of

    problems = problems_of(directory())
    if as_json:
        terminal.emit({"problems": problems})
    for problem in [] if as_json else problems:
        click.echo(problem)
    if not as_json and not problems:
        click.echo("the text, the syntax and the pseudo-code agree")
    return 1 if problems else 0


@spec.command()
@click.argument("structure", required=False)
def table(structure: str | None) -> None:
    """Show the syntax table of STRUCTURE, or the names of all structures.

    \b
    Example: hga spec table avatar_header
    """
    from spec import standard
    from spec.textports import table as rows_of

    structures = standard().structures
    if structure is None:
        terminal.table(
            "", ("structure", "clause", "title"), [(s.name, s.clause, s.title) for s in structures.values()]
        )
        return
    if structure not in structures:
        raise click.BadParameter(f"there is no structure {structure!r}; `hga spec table` lists them")
    elements = {element.name: element for element in standard().elements()}
    rows = []
    for row in rows_of(standard(), structure):
        element = elements.get(row.element)
        allowed = f"{element.low}..{element.high}" if element else ""
        about = (
            element.semantics
            if element
            else standard().constraints[row.constraint].about
            if row.constraint
            else ""
        )
        rows.append(("  " * row.indent + row.text, row.descriptor, allowed, about))
    found = structures[structure]
    terminal.table(
        f"{found.clause} {found.title}: {found.about}", ("syntax", "descriptor", "range", "meaning"), rows
    )
