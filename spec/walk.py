"""§5.1 The one traversal of the syntax; what happens at each node is the business of a Port.

Reading, writing, generating, covering, tabulating and compiling are ports. A port decides which
branches and iterations are visited, so the same walk serves values and text alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from spec.load import Call, Check, Element, For, If, Let, Node, Standard, Structure, While


class Port(Protocol):
    """What a walk does at each kind of node. `iterations`, `repetitions` and `branches` yield while they are open."""

    def element(self, element: Element) -> None: ...

    def let(self, let: Let) -> None: ...

    def check(self, check: Check) -> None: ...

    def iterations(self, loop: For) -> Iterable[object]: ...

    def repetitions(self, loop: While) -> Iterable[object]: ...

    def branches(self, condition: If) -> Iterable[tuple[Node, ...]]: ...

    def structure(self, structure: Structure) -> Iterable[object]: ...


def walk(standard: Standard, name: str, port: Port) -> None:
    """§5.1 Visits structure `name` with `port`; the errors are those of the port."""
    structure = standard.structures[name]
    for _ in port.structure(structure):
        _walk_nodes(standard, structure.nodes, port)


def _walk_nodes(standard: Standard, nodes: tuple[Node, ...], port: Port) -> None:
    for node in nodes:
        if isinstance(node, Element):
            port.element(node)
        elif isinstance(node, Let):
            port.let(node)
        elif isinstance(node, Check):
            port.check(node)
        elif isinstance(node, For):
            for _ in port.iterations(node):
                _walk_nodes(standard, node.body, port)
        elif isinstance(node, While):
            for _ in port.repetitions(node):
                _walk_nodes(standard, node.body, port)
        elif isinstance(node, If):
            for body in port.branches(node):
                _walk_nodes(standard, body, port)
        elif isinstance(node, Call):
            walk(standard, node.structure, port)
