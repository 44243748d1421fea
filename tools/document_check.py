"""§4.1 What must be true of the standard as a whole: nothing undefined, nothing unused, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spec.expr import PLACE_VALUES, Expression
from spec.load import Call, Check, Element, Structure
from tools.document_index import Index, clause_mentions, expressions, flat

Place = tuple[str, int]


def references(index: Index) -> Iterator[str]:
    """Names and clauses that the YAML mentions and nothing defines."""
    standard = index.standard
    for group in (standard.structures, standard.constraints, standard.constants, standard.binarisations):
        for name, entry in group.items():
            if entry.clause not in index.clauses:
                yield f"{index.place(name)}: {name}: there is no clause {entry.clause}"
    for binarisation in standard.binarisations.values():
        for function in (binarisation.decode, binarisation.encode):
            if function not in index.functions:
                yield f"{index.place(binarisation.name)}: {binarisation.name}: no function {function}"
    for structure in standard.structures.values():
        yield from _structure(index, structure)
    known = _expression_names(index)
    for constraint in standard.constraints.values():
        if constraint.requires is not None:
            yield from _unknown(index, constraint.id, constraint.requires, known)
    for name, text in _texts(index):
        for mention in clause_mentions(text):
            if mention[0] not in index.clauses:
                yield f"{index.place(name)}: {name}: there is no clause {mention[0]}"


def _structure(index: Index, structure: Structure) -> Iterator[str]:
    standard = index.standard
    known = _expression_names(index)
    for node in flat(structure.nodes):
        wrong = ""
        if isinstance(node, Check) and node.constraint not in standard.constraints:
            wrong = f"no constraint {node.constraint}"
        elif isinstance(node, Call) and node.structure not in standard.structures:
            wrong = f"no structure {node.structure}"
        elif isinstance(node, Element):
            wrong = _element(index, node)
        if wrong:
            yield f"{index.place(getattr(node, 'name', structure.name))}: {structure.name}: {wrong}"
        for expression in expressions(node):
            yield from _unknown(index, getattr(node, "name", structure.name), expression, known)


def _element(index: Index, element: Element) -> str:
    if element.enumeration and element.enumeration not in index.standard.enumerations:
        return f"{element.name}: no enumeration {element.enumeration}"
    if (
        element.descriptor.kind == "ae"
        and element.descriptor.binarisation not in index.standard.binarisations
    ):
        return f"{element.name}: no binarisation {element.descriptor.binarisation}"
    return "" if element.semantics.strip() else f"{element.name}: no semantics"


def _expression_names(index: Index) -> frozenset[str]:
    standard = index.standard
    local: set[str] = set()
    for structure in standard.structures.values():
        local |= {getattr(node, "variable", getattr(node, "name", "")) for node in flat(structure.nodes)}
    return frozenset(local | standard.constant_values.keys() | standard.limits.keys() | PLACE_VALUES)


def _unknown(index: Index, name: str, expression: Expression, known: frozenset[str]) -> Iterator[str]:
    for unknown in sorted((expression.names - known) | (expression.functions - index.functions.keys())):
        yield f"{index.place(name)}: {name}: '{expression}' uses {unknown}, which nothing defines"


def _texts(index: Index) -> Iterator[tuple[str, str]]:
    standard = index.standard
    for group in (standard.structures, standard.constraints, standard.constants, standard.types):
        for name, entry in group.items():
            yield name, entry.about
    for element in standard.elements():
        yield element.name, element.semantics
    for enumeration, entries in standard.enumerations.items():
        for _, about in entries.values():
            yield enumeration, about


def unspliced(index: Index, spliced: Mapping[tuple[str, str], Place]) -> Iterator[str]:
    """What the YAML defines and the text does not show."""
    standard = index.standard
    required = [("syntax", name) for name in standard.structures]
    required += [
        ("semantics", name) for name in standard.structures if any(r.element for r in index.rows[name])
    ]
    required += [("contexts", name) for name, structure in standard.structures.items() if structure.coded]
    required += [("constraint", name) for name in standard.constraints]
    required += [("constant", name) for name in standard.constants]
    required += [("type", name) for name in standard.types]
    required += [("enumeration", name) for name in standard.enumerations]
    required += [("binarisation", name) for name in standard.binarisations]
    required += [(name, name) for name in ("profiles", "levels", "limits") if getattr(standard, name)]
    for kind, name in required:
        if (kind, name) not in spliced:
            yield f"{index.place(name)}: {kind} {name} is not spliced into the text"


def uncited(index: Index, cited: frozenset[str]) -> Iterator[str]:
    """Constraints that no `check` of the syntax and no prose names, and constants that nothing uses.

    The constants of an annex may stand in its prose alone: what it says of real numbers is no pseudo-code.
    """
    checked = {
        node.constraint
        for structure in index.standard.structures.values()
        for node in flat(structure.nodes)
        if isinstance(node, Check)
    }
    for name in index.standard.constraints:
        if name not in checked | cited:
            yield f"{index.place(name)}: constraint {name}: no syntax checks it and no prose names it"
    used: set[str] = set()
    for structure in index.standard.structures.values():
        for node in flat(structure.nodes):
            used |= {name for expression in expressions(node) for name in expression.names}
            used |= {node.context_start} if isinstance(node, Element) else set()
    for rule in index.standard.constraints.values():
        used |= rule.requires.names if rule.requires is not None else frozenset()
    source = index.document.source()
    for name, constant in index.standard.constants.items():
        in_prose = constant.clause[0].isalpha() and name in cited
        if name not in used and name not in source and not in_prose:
            yield f"{index.place(name)}: constant {name}: nothing uses it"


def uncalled(index: Index, cited: frozenset[str]) -> Iterator[str]:
    """Functions that no function or binarisation calls and no prose names; Annexes may have their own."""
    binarisations = index.standard.binarisations.values()
    called = {function for b in binarisations for function in (b.decode, b.encode)}
    for structure in index.standard.structures.values():
        for node in flat(structure.nodes):
            called |= {name for expression in expressions(node) for name in expression.functions}
    for name, block in index.document.blocks.items():
        if block.clause[0].isdigit() and not index.callers[name] and name not in called | cited:
            yield f"{block.file}:{block.line}: function {name}: nothing calls it and no prose names it"


def codeless(index: Index, excused: frozenset[str]) -> Iterator[str]:
    """Clauses of 7, 8 and 9 that say how to decode but have no pseudo-code."""
    coded = {block.clause for block in index.document.blocks.values()}
    for number, clause in index.clauses.items():
        container = any(other.startswith(number + ".") for other in index.clauses)
        if number[0] not in "789" or "." not in number or clause.title == "General":
            continue
        where = f"{clause.file}:{clause.line}: clause {number} ({clause.title})"
        if number in coded and number in excused:
            yield f"{where} has pseudo-code and says that it needs none"
        if not container and number not in coded | excused:
            yield f"{where} has no pseudo-code"
