"""§4.6 Pseudo-code as HTML: coloured, with calls, types, constants and elements linked."""

from __future__ import annotations

import ast
import html
import io
import keyword
import textwrap
import tokenize

from tools.document_index import Index

_WIDTH = 96


def code_html(index: Index, text: str) -> str:
    """§4.6 One fenced block of functions, and who calls each of them."""
    text = "".join(map(_wrapped, text.splitlines(keepends=True)))
    scopes = _scopes(text)
    lines = text.splitlines(keepends=True)
    parts: list[str] = []
    line, column = 1, 0
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (
            tokenize.NEWLINE,
            tokenize.NL,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            continue
        parts.append(html.escape(_between(lines, (line, column), token.start)))
        parts.append(_token(index, token, previous, scopes))
        line, column = token.end
        previous = token.string
    body = index.marks.code("".join(parts), text)
    return f'<pre class="code"><code>{body}</code></pre>{_callers(index, text)}'


def _wrapped(line: str) -> str:
    """A long first line of a function with its parameters on lines of their own."""
    if not line.startswith("def ") or ") ->" not in line or len(line) <= _WIDTH:
        return line
    head, rest = line.split("(", 1)
    parameters, result = rest.rsplit(") ->", 1)
    indent = "    "
    inner = textwrap.fill(
        parameters, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return f"{head}(\n{inner}\n) ->{result}"


def _scopes(text: str) -> list[tuple[int, int, set[str], set[tuple[int, int]]]]:
    """Per function: first line, last line, its parameters, and where its annotations stand."""
    found = []
    for function in ast.parse(text).body:
        assert isinstance(function, ast.FunctionDef)
        annotations = [function.returns, *(a.annotation for a in function.args.args)]
        annotations += [n.annotation for n in ast.walk(function) if isinstance(n, ast.AnnAssign)]
        places = {
            (name.lineno, name.col_offset)
            for annotation in annotations
            if annotation is not None
            for name in ast.walk(annotation)
            if isinstance(name, ast.Name)
        }
        parameters = {argument.arg for argument in function.args.args}
        found.append((function.lineno, function.end_lineno or function.lineno, parameters, places))
    return found


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    middle = "".join(lines[start[0] : end[0] - 1])
    return lines[start[0] - 1][start[1] :] + middle + lines[end[0] - 1][: end[1]]


def _token(
    index: Index,
    token: tokenize.TokenInfo,
    previous: str,
    scopes: list[tuple[int, int, set[str], set[tuple[int, int]]]],
) -> str:
    text = token.string
    shown = html.escape(text)
    if token.type == tokenize.NUMBER:
        return f'<span class="n">{shown}</span>'
    if token.type in (tokenize.STRING, tokenize.COMMENT):
        return f'<span class="s">{shown}</span>'
    if token.type != tokenize.NAME:
        return shown
    if keyword.iskeyword(text):
        return f'<span class="k">{shown}</span>'
    if previous == "def":
        return f'<span class="f" id="function-{text}">{shown}</span>'
    _, _, parameters, annotations = next(s for s in scopes if s[0] <= token.start[0] <= s[1])
    if token.start in annotations:
        target = f"type-{text}"
        about = index.standard.types.get(text)
        if about is None:
            return f'<span class="t">{shown}</span>'
        title = html.escape(f"{about.minimum} to {about.maximum}: {about.about}", quote=True)
        return f'<a class="t" href="#{target}" title="{title}">{shown}</a>'
    if text in index.constants:
        return index.link(text, css="c")
    if text in parameters:
        return index.link(text, css="e") if text in index.elements else shown
    return index.link(text, css="f") if text in index.functions else shown


def _callers(index: Index, text: str) -> str:
    lines = []
    for function in ast.parse(text).body:
        assert isinstance(function, ast.FunctionDef)
        users = list(index.callers[function.name])
        users += [
            b.name for b in index.standard.binarisations.values() if function.name in (b.decode, b.encode)
        ]
        if users:
            links = ", ".join(_user(index, name) for name in users)
            lines.append(f"<code>{function.name}</code> is used by {links}")
    return f'<p class="callers">{"; ".join(lines)}.</p>' if lines else ""


def _user(index: Index, name: str) -> str:
    if name in index.functions:
        return f"<code>{index.link(name)}</code>"
    return f'binarisation <a href="#binarisation-{name}"><code>{name}</code></a>'
