"""§5.1 The tables and lists of the document that are generated from the YAML, one function a directive."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable

from markdown_it import MarkdownIt

from spec.load import Constraint, Element, Type
from tools.document_index import Index

_MARKDOWN = MarkdownIt("commonmark")
_INDENT = 4  # spaces a level of a syntax table (5.1)

Spliced = tuple[str, list[tuple[str, str]]]
"""HTML, and what it splices as (kind, name)."""


def syntax(index: Index, name: str) -> Spliced:
    """§5.1 The syntax table of a structure."""
    structure = index.standard.structures[name]
    coded = " This structure is a coded payload." if structure.coded else ""
    about = f"<p>{prose(index, structure.about)}{coded}</p>"
    body, derived = [], set()
    for number, row in enumerate(index.rows[name], 1):
        text, anchor = index.linked(row.text), ""
        variable = row.text.split(" = ")[0].split("[")[0].strip()
        if " = " in row.text and index.derived.get(variable) == name and variable not in derived:
            derived.add(variable)
            anchor = f' id="derived-{variable}"'
        kind = "check" if row.constraint else "element" if row.element else "control"
        descriptor = _descriptor(index, row.descriptor)
        indent = "&nbsp;" * _INDENT * row.indent  # characters, so that it survives as text without a style
        cells = f"{index.marks.row(name, number)}<code>{indent}{text}</code></td><td><code>{descriptor}</code></td>"
        body.append(f'<tr><td class="{kind}"{anchor}>{cells}</tr>')
    head = "<thead><tr><th>syntax</th><th>descriptor</th></tr></thead>"
    return f'{about}<table class="syntax" id="syntax-{name}">{head}<tbody>{"".join(body)}</tbody></table>', [
        ("syntax", name)
    ]


def semantics(index: Index, name: str) -> Spliced:
    """§6.2 The meaning of the elements that a structure itself reads."""
    items = [_element(index, index.elements[row.element]) for row in index.rows[name] if row.element]
    caption = f'<p class="caption">Elements of {index.link(name)}</p>'
    return f'{caption}<dl class="semantics">{"".join(items)}</dl>', [("semantics", name)]


def constraints(index: Index, clause: str) -> Spliced:
    """§6.1 The constraints of one clause."""
    chosen = [c for c in index.standard.constraints.values() if c.clause == clause]
    items = "".join(_constraint(index, constraint) for constraint in chosen)
    return f'<dl class="constraints">{items}</dl>', [("constraint", c.id) for c in chosen]


def enumeration(index: Index, name: str) -> Spliced:
    """§6.2 The listed values of an enumeration."""
    rows = [
        [str(value), f"<code>{entry}</code>", prose(index, about)]
        for value, (entry, about) in sorted(index.standard.enumerations[name].items())
    ]
    table = _table(("value", "name", "meaning"), rows, f"enumeration-{name}", f"Values of {index.link(name)}")
    return table, [("enumeration", name)]


def constants(index: Index, clause: str) -> Spliced:
    """§4.8 The constants of a clause and its subclauses."""
    chosen = [
        c
        for c in index.standard.constants.values()
        if c.clause == clause or c.clause.startswith(clause + ".")
    ]
    rows = []
    for constant in chosen:
        values = constant.value if isinstance(constant.value, tuple) else (constant.value,)
        shown = (
            "[" + ", ".join(map(str, values)) + "]"
            if isinstance(constant.value, tuple)
            else number(values[0])
        )
        name = f'<code id="constant-{constant.name}">{constant.name}</code>'
        rows.append([name, shown, prose(index, constant.about), index.clause(constant.clause)])
    table = _table(("constant", "value", "meaning", "clause"), rows, caption=f"Constants of clause {clause}")
    return table, [("constant", constant.name) for constant in chosen]


def types(index: Index, _: str) -> Spliced:
    """§4.7 The integer types with their ranges and fixed-point formats."""
    rows = [
        [
            f'<code id="type-{type_.name}">{type_.name}</code>',
            f"{number(type_.minimum)} to {number(type_.maximum)}",
            _format(type_),
            prose(index, type_.about),
        ]
        for type_ in index.standard.types.values()
    ]
    return _table(("type", "range", "format", "meaning"), rows), [
        ("type", name) for name in index.standard.types
    ]


def binarisations(index: Index, _: str) -> Spliced:
    """§8.4 The binarisations with their functions and their numbers of contexts."""
    rows = [
        [
            f'<code id="binarisation-{b.name}">{b.name}</code>',
            prose(index, b.about),
            f"<code>{html.escape(str(b.contexts))}</code>",
            f"<code>{index.link(b.decode)}</code>",
            index.clause(b.clause),
        ]
        for b in index.standard.binarisations.values()
    ]
    table = _table(("binarisation", "meaning", "contexts", "function", "clause"), rows)
    return table, [("binarisation", name) for name in index.standard.binarisations]


def contexts(index: Index, name: str) -> Spliced:
    """§5.2.6 The contexts of a coded payload, element by element."""
    standard = index.standard
    rows = []
    for element in standard.elements(name):
        sets = element.context_sets.evaluate(standard.constant_values)
        per_set = standard.contexts_of(element)
        rows.append(
            [
                f"<code>{index.link(element.name)}</code>",
                str(standard.context_bases[element.name]),
                str(sets),
                str(per_set),
                f"<code>{index.linked(str(element.context_set))}</code>",
                index.link(element.context_start) if element.context_start else "",
            ]
        )
    caption = f"Contexts of {index.link(name)}: {standard.context_count(name)} in all"
    heads = ("element", "first context", "sets", "contexts in a set", "set", "start")
    return _table(heads, rows, f"contexts-{name}", caption), [("contexts", name)]


def levels(index: Index, _: str) -> Spliced:
    """§A.2 The limits of each level."""
    names = list(index.standard.levels)
    rows = [
        [f"<code>{index.link(limit)}</code>", *(number(index.standard.levels[name][limit]) for name in names)]
        for limit in index.standard.limits
    ]
    heads = ("limit", *(f"level {index.standard.levels[name]['number']}" for name in names))
    return _table(heads, rows), [("levels", "levels")]


def limits(index: Index, _: str) -> Spliced:
    """§A.2 What each level limit bounds."""
    rows = [
        [f'<code id="limit-{name}">{name}</code>', prose(index, about)]
        for name, about in index.standard.limits.items()
    ]
    return _table(("limit", "greatest number of"), rows), [("limits", "limits")]


def profiles(index: Index, _: str) -> Spliced:
    """§A.1 The profiles and the types of units that they use."""
    rows = [
        [
            str(entry["number"]),
            f"<code>{name}</code>",
            ", ".join(entry["units"]),
            prose(index, entry["about"]),
        ]
        for name, entry in index.standard.profiles.items()
    ]
    return _table(("profile", "name", "units", "meaning"), rows), [("profiles", "profiles")]


_ALL = (
    syntax,
    semantics,
    constraints,
    enumeration,
    constants,
    types,
    binarisations,
    contexts,
    levels,
    limits,
)
DIRECTIVES: dict[str, Callable[[Index, str], Spliced]] = {f.__name__: f for f in (*_ALL, profiles)}
"""The directives by name; each is called with the argument that stands behind its name."""


def arguments(index: Index, directive: str) -> Iterable[str]:
    """The arguments that a directive may have; the empty string if it takes none."""
    standard = index.standard
    parents = {c.clause.split(".")[0] for c in standard.constants.values()}
    return {
        "syntax": standard.structures,
        "semantics": standard.structures,
        "enumeration": standard.enumerations,
        "contexts": [structure.name for structure in standard.structures.values() if structure.coded],
        "constraints": {constraint.clause for constraint in standard.constraints.values()},
        "constants": parents | {constant.clause for constant in standard.constants.values()},
    }.get(directive, ("",))


def prose(index: Index, text: str) -> str:
    """HTML of one line of Markdown with the names in inline code linked."""
    parts = []
    for token in _MARKDOWN.parseInline(text)[0].children or []:
        if token.type == "code_inline":
            parts.append(f"<code>{index.linked(token.content)}</code>")
        elif token.type == "text":
            parts.append(index.prose(token.content))
        else:
            parts.append(_MARKDOWN.renderer.render([token], _MARKDOWN.options, {}))
    return "".join(parts)


def number(value: int) -> str:
    """An integer, with its power of two where that says more than its digits."""
    for offset, rest in ((0, ""), (1, " − 1"), (-1, " + 1")):
        power = abs(value) + offset
        if abs(value) >= 1000 and power & (power - 1) == 0:
            shown = f"2<sup>{power.bit_length() - 1}</sup>{rest}"
            if value < 0:
                shown = f"−({shown})" if rest else f"−{shown}"
            return f'<span class="value">{value} <span class="power">= {shown}</span></span>'
    return f'<span class="value">{value}</span>'


def sentence(index: Index, text: str) -> str:
    """`prose` with a capital letter and a full stop."""
    return prose(index, text[:1].upper() + text[1:]) + "."


def _element(index: Index, element: Element) -> str:
    subscripts = "".join(f"[{expression}]" for expression in element.index)
    facts = [f"<code>{_descriptor(index, element.descriptor.text)}</code>"]
    if element.descriptor.kind != "b":
        facts.append(f"range {_bound(index, str(element.low))} to {_bound(index, str(element.high))}")
    if element.unit:
        facts.append(f"in {index.link(element.unit) if element.unit in index.elements else element.unit}")
    if element.dims:
        facts.append(
            "array of " + " × ".join(f"<code>{index.linked(str(dim))}</code>" for dim in element.dims)
        )
    if element.enumeration:
        facts.append(f'<a href="#enumeration-{element.enumeration}">values</a>')
    if element.error != "ConstraintViolation":
        facts.append(f"outside its range: {element.error}")
    cited = [
        c.id for c in index.standard.constraints.values() if c.requires and element.name in c.requires.names
    ]
    if cited:
        facts.append("constrained by " + ", ".join(f"<code>{index.link(name)}</code>" for name in cited))
    heading = f'<code>{element.name}</code><code class="subscript">{index.linked(subscripts)}</code>'
    notes = " · ".join(facts)
    return (
        f'<div id="element-{element.name}"><dt>{heading}</dt>'
        f'<dd>{sentence(index, element.semantics)}<p class="facts">{notes}</p></dd></div>'
    )


def _bound(index: Index, text: str) -> str:
    try:
        return number(int(text, 0))
    except ValueError:
        return f"<code>{index.linked(text)}</code>"


def _descriptor(index: Index, text: str) -> str:
    """A descriptor; `ae` links to its binarisation and not to whatever else has that name."""
    if not text.startswith("ae("):
        return index.linked(text)
    name = text[3:].rstrip(")").split(",")[0]
    return html.escape(text).replace(name, f'<a href="#binarisation-{name}">{name}</a>', 1)


def _constraint(index: Index, constraint: Constraint) -> str:
    requires = ""
    if constraint.requires is not None:
        requires = f'<p class="requires"><code>{index.linked(str(constraint.requires))}</code></p>'
    return (
        f'<div id="constraint-{constraint.id}"><dt><code>{constraint.id}</code></dt>'
        f"<dd>{sentence(index, constraint.about)}{requires}"
        f'<p class="facts">otherwise {constraint.error}</p></dd></div>'
    )


def _format(type_: Type) -> str:
    if not type_.q:
        return html.escape(type_.unit)
    low, high = (f"{bound / 2**type_.q:.6g}".replace("-", "−") for bound in (type_.minimum, type_.maximum))
    return f'Q.{type_.q} {html.escape(type_.unit)} <span class="power">{low} to {high}</span>'


def _table(heads: Iterable[str], rows: Iterable[list[str]], anchor: str = "", caption: str = "") -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{caption}</caption>" if caption else ""
    identity = f' id="{anchor}"' if anchor else ""
    return (
        f'<div class="wide"><table class="data"{identity}>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
