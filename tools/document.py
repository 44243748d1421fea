"""§4.1 The standard as one HTML page, refused as long as text, YAML and pseudo-code disagree."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from spec.expr import ExpressionError
from spec.load import SyntaxDescriptionError
from spec.run import DocumentError
from tools import document_check
from tools.document_code import code_html
from tools.document_index import NAME, Index, clause_mentions
from tools.document_tables import DIRECTIVES, arguments, prose

TITLE = "Hierarchical Gaussian Avatar coding"
ASSETS = Path(__file__).parent / "assets"
NO_CODE = "no_code"
"""The directive of a decoding clause that has nothing to compute."""
INSERTS = ("example_stream", "example_stages")
"""Directives whose content takes a decoder to make; whoever builds a page hands it over."""

_DIRECTIVE = re.compile(r"\{\{ *(\w+)(?: +([\w.]+))? *\}\}")


def build_html(
    spec_directory: Path, inserts: Mapping[str, str], coverage: Mapping[str, Any] | None = None
) -> str:
    """§4.1 The standard in `spec_directory` (with `syntax/` and `text/`) as one HTML page.

    `inserts` is the HTML of each of INSERTS; `coverage` a report by which lines are marked. Raises DocumentError, one
    problem a line, if `check` finds any.
    """
    page, problems = _build(spec_directory, coverage)
    if problems:
        raise DocumentError("\n".join(problems))
    for name in INSERTS:
        page = page.replace(_place_of(name), inserts[name])
    return page


def check(spec_directory: Path) -> list[str]:
    """§4.1 What is wrong with the standard in `spec_directory`, each as `file:line: problem`."""
    return _build(spec_directory)[1]


def _build(directory: Path, coverage: Mapping[str, Any] | None = None) -> tuple[str, list[str]]:
    try:
        index = Index(directory, coverage)
    except (SyntaxDescriptionError, ExpressionError, DocumentError) as error:
        return "", [str(error)]
    if problems := list(document_check.references(index)):
        return "", problems
    text = _Text(index)
    body = "".join(
        text.file(name) for name in dict.fromkeys(clause.file for clause in index.clauses.values())
    )
    problems = text.problems
    problems += document_check.unspliced(index, text.spliced)
    problems += document_check.uncited(index, frozenset(text.cited))
    problems += document_check.uncalled(index, frozenset(text.cited))
    problems += document_check.codeless(index, frozenset(text.excused))
    return _page(index, body), problems


class _Text:
    """Turns the Markdown files into HTML one after the other, and notes what they splice and cite."""

    def __init__(self, index: Index):
        self.index = index
        self.problems: list[str] = []
        self.spliced: dict[tuple[str, str], tuple[str, int]] = {}
        self.cited: set[str] = set()
        self.excused: set[str] = set()
        self._headings = {(clause.file, clause.line): clause for clause in index.clauses.values()}
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self._file = ""
        self._clause = ""

    def file(self, name: str) -> str:
        """The HTML of one file; problems are kept, not raised."""
        self._file = name
        source = (self.index.directory / "text" / name).read_text(encoding="utf-8")
        tokens = self._markdown.parse(source)
        return self._markdown.renderer.render(list(self._rewritten(tokens)), self._markdown.options, {})

    def _rewritten(self, tokens: list[Token]) -> Iterator[Token]:
        position = 0
        while position < len(tokens):
            token = tokens[position]
            line = token.map[0] + 1 if token.map else 0
            if token.type == "heading_open":
                yield self._heading(token, tokens[position + 1].content, line)
                position += 3
            elif token.type == "paragraph_open" and tokens[position + 1].content.startswith("{{"):
                yield _raw("".join(self._directives(tokens[position + 1].content, line)))
                position += 3
            else:
                yield self._block(token, line)
                position += 1

    def _block(self, token: Token, line: int) -> Token:
        if token.type == "fence":
            code = token.content
            if token.info == "python":
                return _raw(code_html(self.index, code))
            return _raw(f'<pre class="code"><code>{html.escape(code)}</code></pre>')
        if token.type == "inline":
            token.children = list(self._inline(token.children or [], line))
        if token.type in ("table_open", "table_close"):
            opening = token.type == "table_open"
            return _raw('<div class="wide"><table class="data">' if opening else "</table></div>")
        return token

    def _heading(self, token: Token, title: str, line: int) -> Token:
        clause = self._headings.get((self._file, line))
        if clause is None:
            self._problem(line, f"heading '{title}' has no clause number")
            return _raw("")
        self._clause = clause.number
        label = f"Annex {clause.number}" if clause.number.isalpha() else clause.number
        anchor = f'<a class="number" href="#clause-{clause.number}">{label}</a>'
        tag = f"h{min(6, int(token.tag[1]) + 1)}"
        return _raw(f'<{tag} id="clause-{clause.number}">{anchor} {prose(self.index, clause.title)}</{tag}>')

    def _directives(self, content: str, first_line: int) -> Iterator[str]:
        for line, text in enumerate(content.splitlines(), first_line):
            match = _DIRECTIVE.fullmatch(text.strip())
            if match is None:
                self._problem(line, f"'{text}' is not a directive on a line of its own")
            elif match[1] == NO_CODE and not match[2]:
                self.excused.add(self._clause)
            elif match[1] in INSERTS and not match[2]:
                yield _place_of(match[1])
            elif match[1] not in DIRECTIVES:
                self._problem(line, f"there is no directive '{match[1]}'")
            elif (match[2] or "") not in arguments(self.index, match[1]):
                self._problem(line, f"there is no {match[1]} '{match[2] or ''}'")
            else:
                yield self._splice(match[1], match[2] or "", line)

    def _splice(self, directive: str, argument: str, line: int) -> str:
        text, contents = DIRECTIVES[directive](self.index, argument)
        for key in contents:
            if key in self.spliced:
                file, first = self.spliced[key]
                self._problem(line, f"{key[0]} {key[1]} is spliced twice, first at {file}:{first}")
            self.spliced.setdefault(key, (self._file, line))
        return text

    def _inline(self, children: list[Token], line: int) -> Iterator[Token]:
        """Text with its clauses linked and inline code with its names linked; counts lines on the way."""
        before = ""
        for token in _joined(children):
            if token.type == "text":
                self._check_text(token.content, line)
                yield _raw(self.index.prose(token.content))
            elif token.type == "code_inline":
                self._check_code(token.content, line)
                yield _raw(f"<code>{self.index.linked(token.content)}</code>")
            else:
                if token.type == "em_open" and before[-1:].isalnum():
                    self._problem(line, "emphasis within a word: a formula stands in inline code")
                yield token
            before = token.content
            line += token.content.count("\n")

    def _check_text(self, text: str, line: int) -> None:
        if "{{" in text:
            self._problem(line, "a directive stands on a line of its own, with empty lines around it")
        for mention in clause_mentions(text):
            if mention[0] not in self.index.clauses:
                place = line + text.count("\n", 0, mention.start())
                self._problem(place, f"there is no clause {mention[0]}")

    def _check_code(self, code: str, line: int) -> None:
        for name in NAME.findall(code):
            self.cited.add(name)
            element, _, suffix = code.partition(".")
            is_range = suffix == "range" and element in self.index.elements
            if "_" in name and name not in self.index.known and not is_range and not name.endswith("_"):
                self._problem(line, f"`{code}`: nothing is called {name}")

    def _problem(self, line: int, message: str) -> None:
        self.problems.append(f"{self._file}:{line}: {message}")


def _joined(children: list[Token]) -> Iterator[Token]:
    """Runs of text and line breaks as one text each, so that a clause may be mentioned across two lines."""
    text = ""
    for token in children:
        if token.type in ("text", "softbreak"):
            text += token.content if token.type == "text" else "\n"
            continue
        if text:
            yield Token("text", "", 0, content=text)
            text = ""
        yield token
    if text:
        yield Token("text", "", 0, content=text)


def _place_of(insert: str) -> str:
    return f"<!-- {insert} -->"


def _raw(text: str) -> Token:
    return Token("html_block", "", 0, content=text)


def _page(index: Index, body: str) -> str:
    style, script = ((ASSETS / f"document.{suffix}").read_text(encoding="utf-8") for suffix in ("css", "js"))
    version = index.elements["version"].high if "version" in index.elements else ""
    heading = f"<header><h1>{TITLE}</h1><p>The standard. Version {version} of the stream.</p></header>"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>HGA: {TITLE}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        '<nav><input type="search" placeholder="Find a clause or a name" aria-label="Find">\n'
        f"{_contents(index)}</nav>\n"
        f"<main>\n{heading}\n{body}{index.marks.section()}</main>\n<script>\n{_names(index)}{script}</script>\n</body>\n</html>\n"
    )


def _contents(index: Index) -> str:
    items = []
    for number, clause in index.clauses.items():
        depth = number.count(".")
        label = f"Annex {number}" if number.isalpha() else number
        title = prose(index, clause.title)
        items.append(f'<li class="depth-{depth}"><a href="#clause-{number}"><b>{label}</b> {title}</a></li>')
    return f'<ol class="contents">{"".join(items)}</ol><ol class="found"></ol>'


def _names(index: Index) -> str:
    """The names of the standard for the search field, as a script."""
    pairs = ",".join(f'["{name}","{target.anchor}"]' for name, target in sorted(index.targets.items()))
    return f"const NAMES = [{pairs}];\n"
