"""§4.1 Where every name of the standard is defined, and how text refers to it: the links of the document."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spec import load, run
from spec.expr import PLACE_VALUES
from spec.load import Element, Expression, For, If, Let, Node, Standard, While
from spec.textports import Row, table
from tools.document_coverage import Marks

NAME = re.compile(r"[A-Za-z_]\w*")
_REFERENCE = r"(?:\d+|[A-Z])(?:\.\d+)*"
_MENTION = re.compile(
    rf"\b[Cc]lauses?\s+{_REFERENCE}(?:(?:,\s+|\s+and\s+|\s+or\s+|\s+to\s+){_REFERENCE}\b)*"
    r"|\bAnnex\s+[A-Z]\b|(?<![\w.^])(?:[4-9]|[A-F])(?:\.\d+)+(?!\w)"
)
_NUMBER = re.compile(rf"(?<![\w.]){_REFERENCE}(?![\w])")


@dataclass(frozen=True)
class Target:
    """What a name means: the anchor of its definition, and one line for a tooltip."""

    anchor: str
    about: str


class Index:
    """§4.1 The standard in one directory: its YAML, its clauses, its pseudo-code, and all their names."""

    def __init__(self, directory: Path, coverage: Mapping[str, Any] | None = None):
        self.directory = directory
        self.standard: Standard = load.standard(directory / "syntax")
        self.clauses = {clause.number: clause for clause in run.clauses(directory / "text")}
        self.document = run.Document(
            list(run.blocks(directory / "text")), self.standard.constant_values, self.standard.type_ranges
        )
        lengths = {name: len(block.source.splitlines()) for name, block in self.document.blocks.items()}
        self.marks = Marks(coverage, lengths)

    @cached_property
    def elements(self) -> dict[str, Element]:
        """The elements by name."""
        return {element.name: element for element in self.standard.elements()}

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The rows of the syntax table of each structure."""
        return {name: table(self.standard, name) for name in self.standard.structures}

    @cached_property
    def derived(self) -> dict[str, str]:
        """The derived values -> the structure that derives them first; loop variables are not among them."""
        found: dict[str, str] = {}
        for structure in self.standard.structures.values():
            for node in flat(structure.nodes):
                if isinstance(node, Let) and node.name not in self.elements:
                    found.setdefault(node.name, structure.name)
        return found

    @cached_property
    def targets(self) -> dict[str, Target]:
        """Name -> definition; where things of two kinds share a name, the kind that text means more often."""
        standard = self.standard
        found: dict[str, Target] = {}
        for name, binarisation in standard.binarisations.items():
            found[name] = Target(f"binarisation-{name}", f"binarisation: {binarisation.about}")
        for name, type_ in standard.types.items():
            found[name] = Target(f"type-{name}", f"{type_.minimum} to {type_.maximum}: {type_.about}")
        for name, about in standard.limits.items():
            found[name] = Target(f"limit-{name}", f"level limit: {about}")
        for name in standard.enumerations:
            found[name] = Target(f"enumeration-{name}", f"enumeration {name}")
        for name, clause in self.functions.items():
            found[name] = Target(f"function-{name}", f"function of clause {clause}")
        found |= {
            name: Target(f"derived-{name}", f"derived value of {s}") for name, s in self.derived.items()
        }
        found |= self.constants
        for name, constraint in standard.constraints.items():
            found[name] = Target(f"constraint-{name}", constraint.about)
        for name, structure in standard.structures.items():
            found[name] = Target(f"syntax-{name}", f"structure: {structure.title}")
        for name, element in self.elements.items():
            found[name] = Target(f"element-{name}", element.semantics)
        return found

    @cached_property
    def functions(self) -> dict[str, str]:
        """The functions of the pseudo-code -> their clauses."""
        return {name: block.clause for name, block in self.document.blocks.items()}

    @cached_property
    def callers(self) -> dict[str, list[str]]:
        """The functions that call each function, in reading order."""
        found: dict[str, list[str]] = {name: [] for name in self.functions}
        for user in self.functions:
            for name in self.document.calls(user):
                found[name].append(user)
        return found

    @cached_property
    def constants(self) -> dict[str, Target]:
        """The constants, and the entries of enumerations under the names that expressions use."""
        found = {
            name: Target(f"constant-{name}", f"{name} = {constant.value}: {constant.about}")
            for name, constant in self.standard.constants.items()
        }
        for enumeration, entries in self.standard.enumerations.items():
            for value, (name, about) in entries.items():
                constant = f"{enumeration}_{name}".upper()
                found[constant] = Target(f"enumeration-{enumeration}", f"{constant} = {value}: {about}")
        return found

    @cached_property
    def known(self) -> frozenset[str]:
        """All names that prose may use: the defined ones and those local to syntax and pseudo-code."""
        names = set(self.targets) | PLACE_VALUES | run.BUILTINS | {"array"}
        for structure in self.standard.structures.values():
            names |= {node.variable for node in flat(structure.nodes) if isinstance(node, For)}
        for block in self.document.blocks.values():
            names |= set(NAME.findall(block.source))
        for entries in self.standard.enumerations.values():
            names |= {name for name, _ in entries.values()}
        names |= set(self.standard.profiles)
        return frozenset(names)

    def link(self, name: str, label: str = "", css: str = "") -> str:
        """An HTML link from a name to its definition; the bare name where there is none."""
        shown = html.escape(label or name)
        target = self.targets.get(name)
        if target is None:
            return shown
        style = f' class="{css}"' if css else ""
        return (
            f'<a{style} href="#{target.anchor}" title="{html.escape(target.about, quote=True)}">{shown}</a>'
        )

    def linked(self, text: str) -> str:
        """HTML of a piece of code or an expression with every name that is defined linked."""
        parts, last = [], 0
        for match in NAME.finditer(text):
            parts += [html.escape(text[last : match.start()]), self.link(match[0])]
            last = match.end()
        return "".join([*parts, html.escape(text[last:])])

    def prose(self, text: str) -> str:
        """HTML of plain text with the clauses that it mentions and the names that stand out as such linked."""
        links = {match.span(): self.clause(match[0]) for match in clause_mentions(text)}
        for match in NAME.finditer(text):
            if "_" in match[0] and match[0] in self.targets:
                links[match.span()] = f"<code>{self.link(match[0])}</code>"
        parts, last = [], 0
        for (start, end), link in sorted(links.items()):
            parts += [html.escape(text[last:start]), link]
            last = end
        return "".join([*parts, html.escape(text[last:])])

    def clause(self, number: str) -> str:
        """A link to a clause; its bare number if there is no such clause."""
        if number not in self.clauses:
            return number
        title = html.escape(self.clauses[number].title, quote=True)
        return f'<a class="clause" href="#clause-{number}" title="{title}">{number}</a>'

    def place(self, name: str) -> str:
        """`file:line` of the definition of a name in the YAML."""
        pattern = re.compile(rf'^\s*(?:- )?\{{?(?:element: |let: |"?){re.escape(name)}\b"?')
        for path in sorted((self.directory / "syntax").glob("*.yaml")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if pattern.match(line):
                    return f"{path.name}:{number}"
        return "syntax"


def clause_mentions(text: str) -> Iterator[re.Match[str]]:
    """The clause numbers that a text mentions: after "clause" or "Annex", or bare from 4.1 on."""
    for mention in _MENTION.finditer(text):
        yield from _NUMBER.finditer(text, mention.start(), mention.end())


def expressions(node: Node) -> Iterator[Expression]:
    """§4.5 The expressions that stand in a node itself."""
    if isinstance(node, Element):
        yield from (node.low, node.high, node.descriptor.size, node.context_sets, node.context_set)
        yield from node.index + node.dims
    elif isinstance(node, Let):
        yield from (node.value, *node.index, *node.dims)
    elif isinstance(node, For):
        yield node.count
    elif isinstance(node, If | While):
        yield node.condition


def flat(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """§5.1 The nodes of one structure in order, without those of the structures that it calls."""
    for node in nodes:
        yield node
        if isinstance(node, For | While):
            yield from flat(node.body)
        elif isinstance(node, If):
            yield from flat(node.then + node.otherwise)
