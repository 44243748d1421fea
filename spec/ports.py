"""§5.1 The ports that carry values: read, write, generate, and the observers that cover and trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NoReturn, Protocol

from spec.bits import BitReader, BitWriter
from spec.errors import KINDS, StreamError
from spec.load import Check, Element, For, If, Let, Node, Standard, Structure, While

Values = MutableMapping[str, Any]
Functions = Mapping[str, Callable[..., Any]]


class Observer(Protocol):
    """Is told of every element, branch and loop that a walk passes."""

    def on_element(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None: ...

    def on_branch(self, condition: If, taken: bool) -> None: ...

    def on_loop(self, loop: For, count: int) -> None: ...


class ValuePort:
    """§5.1 Evaluates conditions, loops, inferences and constraints against the values seen so far.

    `values` maps names to integers, byte strings or nested lists and grows during the walk; it starts
    with what earlier structures left. Every element is checked against its range.
    """

    def __init__(
        self, standard: Standard, values: Values, functions: Functions, observer: Observer | None = None
    ):
        self.standard = standard
        self.values = values
        self.functions = functions
        self.observer = observer
        self.scope = Scope(standard.constant_values, values, functions)

    def code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        """Reads or writes one element and returns its value."""
        raise NotImplementedError

    def position(self) -> int:
        """The bit offset of the next bit."""
        raise NotImplementedError

    def start_payload(self, structure: Structure) -> None:
        """Begins an arithmetic-coded payload."""
        raise NotImplementedError

    def finish_payload(self, structure: Structure) -> None:
        """Ends an arithmetic-coded payload."""
        raise NotImplementedError

    def element(self, element: Element) -> None:
        index = tuple(expression.evaluate(self.scope) for expression in element.index)
        low, high = element.low.evaluate(self.scope), element.high.evaluate(self.scope)
        bit = self.position()
        value = self.code(element, index, low, high)
        self.judge_range(element, index, value, low, high, bit)
        self._store(element.name, index, element.dims, value)
        if self.observer:
            self.observer.on_element(element, index, value, low, high, bit)

    def let(self, let: Let) -> None:
        index = tuple(expression.evaluate(self.scope) for expression in let.index)
        self._store(let.name, index, let.dims, let.value.evaluate(self.scope))

    def check(self, check: Check) -> None:
        requires = self.standard.constraints[check.constraint].requires
        if requires is not None and not requires.evaluate(self.scope):
            self.fail_check(check, self.position(), [self.scope[name] for name in sorted(requires.names)])

    def fail_check(self, check: Check, bit: int, found: Iterable[Any]) -> NoReturn:
        """Raises the error of a constraint that does not hold for the values `found` of the names in it, by name."""
        requires = self.standard.constraints[check.constraint].requires
        assert requires is not None
        values = ", ".join(f"{name} = {v}" for name, v in zip(sorted(requires.names), found, strict=True))
        self.fail(check.constraint, f"'{requires}' does not hold: {values}", bit)

    def iterations(self, loop: For) -> Iterator[int]:
        count = loop.count.evaluate(self.scope)
        if self.observer:
            self.observer.on_loop(loop, count)
        for value in range(count):
            self.values[loop.variable] = value
            yield value

    def repetitions(self, loop: While) -> Iterator[None]:
        while loop.condition.evaluate(self.scope):
            yield

    def branches(self, condition: If) -> Iterator[tuple[Node, ...]]:
        taken = bool(condition.condition.evaluate(self.scope))
        if self.observer:
            self.observer.on_branch(condition, taken)
        yield condition.then if taken else condition.otherwise

    def structure(self, structure: Structure) -> Iterator[None]:
        if structure.coded:
            self.start_payload(structure)
            self._allocate(structure)
        yield
        if structure.coded:
            self.finish_payload(structure)

    def fail(self, constraint: str, message: str, bit: int | None = None) -> NoReturn:
        """Raises the error of a constraint at the present bit offset."""
        rule = self.standard.constraints[constraint]
        raise KINDS[rule.error](
            message,
            constraint=constraint,
            clause=rule.clause,
            bit_offset=self.position() if bit is None else bit,
        )

    def judge_range(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        """Raises the error of an element outside its range."""
        if isinstance(value, int) and not low <= value <= high:
            raise range_error(element, index, value, low, high, bit)

    def _allocate(self, structure: Structure) -> None:
        """§5.1 The arrays of a payload are full of zeros before it is read, so that functions may look at them."""
        for node in self.standard.nodes(structure.name):
            if isinstance(node, Element | Let) and node.dims and node.name not in self.values:
                self.values[node.name] = self._zeros(node.dims)

    def _store(self, name: str, index: tuple[int, ...], dims: tuple[Any, ...], value: Any) -> None:
        if not index:
            self.values[name] = value
            return
        if name not in self.values:
            if not dims:
                dims = next(e.dims for e in self.standard.elements() if e.name == name)
            self.values[name] = self._zeros(dims)
        target = self.values[name]
        for position in index[:-1]:
            target = target[position]
        target[index[-1]] = value

    def start_contexts(
        self, structure: Structure, kept: dict[str, Any], zeros: Callable[[int], Any] = lambda n: [0] * n
    ) -> Any:
        """§5.2.6 The contexts with which a coded payload starts; puts the arrays that persist into `values`.

        They are fresh unless the structure is persistent, the unit is not a key unit and `kept` has them.
        """
        if structure.name not in kept or self.values.get("key_flag", 1) == 1:
            kept[structure.name] = fresh_contexts(self.standard, structure.name, self.functions, zeros)
            for name, (size,) in self.standard.persistent_arrays(structure.name).items():
                kept[name] = zeros(size.evaluate(self.scope))
        for name in self.standard.persistent_arrays(structure.name):
            self.values[name] = kept[name]
        return kept[structure.name] if structure.persistent else kept.pop(structure.name)

    def _zeros(self, dims: tuple[Any, ...]) -> list[Any]:
        counts = [dim.evaluate(self.scope) for dim in dims]

        def build(level: int) -> list[Any]:
            if level == len(counts) - 1:
                return [0] * counts[level]
            return [build(level + 1) for _ in range(counts[level])]

        return build(0)


def fresh_contexts(
    standard: Standard, structure: str, functions: Functions, zeros: Callable[[int], Any] = lambda n: [0] * n
) -> Any:
    """§5.2.6 The contexts that a coded payload has before anything is read, two estimates each."""
    count = standard.context_count(structure)
    contexts = zeros(2 * count)
    functions["reset_contexts"](contexts, count)
    for element in standard.elements(structure):
        if element.context_start:
            table = standard.constant_values[element.context_start]
            start = zeros(len(table))
            start[:] = table
            sets = element.context_sets.evaluate(standard.constant_values)
            first, per_set = standard.context_bases[element.name], standard.contexts_of(element)
            functions["start_sets"](contexts, first, per_set, sets, start, len(start) // sets)
    return contexts


def range_error(
    element: Element, index: tuple[int, ...], value: int, low: int, high: int, bit: int
) -> StreamError:
    """§6.2 The error of an element whose value is outside its range."""
    place = "".join(f"[{position}]" for position in index)
    return KINDS[element.error](
        f"{element.name}{place} is {value}, allowed {low}..{high}",
        constraint=element.range_constraint,
        clause=element.clause,
        bit_offset=bit,
    )


class Scope(dict[str, Any]):
    """Values first, then constants, then functions, without copying values or functions."""

    def __init__(self, constants: Mapping[str, Any], values: Values, functions: Functions):
        super().__init__(constants)
        self._values = values
        self._functions = functions

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        return super().__getitem__(name) if name in self else self._functions[name]


class ReadPort(ValuePort):
    """§8 Reads elements from the payload of one unit.

    `contexts` keeps the contexts of persistent payloads by structure name and their arrays by array name; a
    payload whose contexts are not there, or for which `values["key_flag"]` says so, starts with fresh ones.
    """

    def __init__(
        self,
        standard: Standard,
        values: Values,
        reader: BitReader,
        functions: Functions,
        contexts: dict[str, list[int]] | None = None,
        observer: Observer | None = None,
    ):
        super().__init__(standard, values, functions, observer)
        self.reader = reader
        self.contexts = {} if contexts is None else contexts
        self._engine = [0, 0, 0, 0]
        self._active: list[int] | None = None

    def position(self) -> int:
        return self._engine[0] * 8 if self._active is not None else self.reader.position

    def code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        descriptor = element.descriptor
        if descriptor.kind == "ae":
            return self._decode(element)
        self.values["payload_left"] = self.reader.bytes_left
        size = descriptor.size.evaluate(self.scope)
        try:
            return self.reader.read(descriptor.kind, size)
        except EOFError:
            self.fail(
                "unit_truncated", f"{element.name} ({descriptor.text}) reads beyond the end of its unit"
            )
        except ValueError as error:
            self.fail("leb128_length", f"{element.name}: {error}")

    def check(self, check: Check) -> None:
        self.values["bytes_left"] = self.reader.bytes_left
        super().check(check)

    def _decode(self, element: Element) -> int:
        assert self._active is not None
        binarisation = self.standard.binarisations[element.descriptor.binarisation]
        context = self.standard.context_bases[element.name]
        context += element.context_set.evaluate(self.scope) * self.standard.contexts_of(element)
        size = element.descriptor.size.evaluate(self.scope)
        before = self.position()
        value = self.functions[binarisation.decode](
            self.reader.data, self._engine, self._active, context, size
        )
        if self._engine[0] > self._engine[1] + self.standard.constant_values["ENGINE_MAX_OVERRUN"]:
            self.fail("coded_payload_length", f"{element.name} reads beyond the end of its payload", before)
        return value

    def start_payload(self, structure: Structure) -> None:
        self._active = self.start_contexts(structure, self.contexts)
        start = self.reader.position // 8
        self.functions["start_engine"](self.reader.data, self._engine, start, self.reader.end // 8)

    def finish_payload(self, structure: Structure) -> None:
        self.finish_engine(self._engine)
        self._active = None

    def finish_engine(self, engine: Any) -> None:
        """§8.2.5 Checks that the engine has taken its whole payload."""
        if not self.functions["payload_end_is_valid"](engine):
            left, bit = int(engine[1] - engine[0]), int(engine[0]) * 8
            self.fail("coded_payload_length", f"{left} bytes left over in a coded payload", bit)
        self.reader.position = self.reader.end


Source = Callable[[Element, tuple[int, ...], int, int], Any]


class WritePort(ValuePort):
    """§C Writes elements whose values come from `source(element, index, low, high)`.

    With `given(values)` that is the encoder; with `chosen(random, presets)` it is the generator of
    random valid streams.
    """

    def __init__(
        self,
        standard: Standard,
        values: Values,
        writer: BitWriter,
        functions: Functions,
        source: Source,
        contexts: dict[str, list[int]] | None = None,
        observer: Observer | None = None,
    ):
        super().__init__(standard, values, functions, observer)
        self.writer = writer
        self.source = source
        self.contexts = {} if contexts is None else contexts
        self._engine = [0, 0, 0]
        self._active: list[int] | None = None
        self._output = bytearray()

    def position(self) -> int:
        return self.writer.position

    def code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        value = self.source(element, index, low, high)
        self.judge_range(element, index, value, low, high, self.position())
        descriptor = element.descriptor
        if descriptor.kind == "ae":
            self._encode(element, value)
        else:
            self.values.setdefault("payload_left", len(value) if isinstance(value, bytes) else 0)
            self.writer.write(descriptor.kind, descriptor.size.evaluate(self.scope), value)
        return value

    def _encode(self, element: Element, value: int) -> None:
        assert self._active is not None
        binarisation = self.standard.binarisations[element.descriptor.binarisation]
        context = self.standard.context_bases[element.name]
        context += element.context_set.evaluate(self.scope) * self.standard.contexts_of(element)
        size = element.descriptor.size.evaluate(self.scope)
        room = self._engine[2] + 64 - len(self._output)
        if room > 0:
            self._output.extend(bytes(room + 4096))
        self.functions[binarisation.encode](self._output, self._engine, self._active, context, size, value)

    def start_payload(self, structure: Structure) -> None:
        self._active = self.start_contexts(structure, self.contexts)
        self._output = bytearray(64)
        self.functions["start_encoder"](self._engine)

    def finish_payload(self, structure: Structure) -> None:
        length = self.functions["finish_encoder"](self._output, self._engine)
        self.writer.write("b", length, bytes(self._output[:length]))
        self._active = None


class MissingValue(LookupError):
    """§C.1 The encoder has no value for an element that the syntax asks it to write."""


def given(values: Mapping[str, Any]) -> Source:
    """§C.1 A source that looks elements up in `values` (integers, byte strings, nested sequences)."""

    def source(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        if element.name not in values:
            raise MissingValue(
                f"no value is given for {element.name} (clause {element.clause}: {element.semantics})"
            )
        value = values[element.name]
        for position in index:
            value = value[position]
        return value if isinstance(value, bytes) else int(value)

    return source


def chosen(generator: random.Random, presets: Mapping[str, Any], ends: float = 0.1) -> Source:
    """§5.1 A source of random values within each range; `presets` fixes elements by name.

    A preset is a value, a list with the values of an array, or a function of (generator, low, high). The share
    `ends` of the other values are ends of their ranges.
    """

    def source(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        preset: Any = presets.get(element.name)
        for position in index:
            preset = preset[position] if isinstance(preset, list) else preset
        if preset is not None:
            value = preset(generator, low, high) if callable(preset) else preset
            return value if isinstance(value, bytes) else min(max(value, low), high)
        if element.descriptor.kind == "b":
            return generator.randbytes(16)
        if generator.random() < ends:
            return generator.choice((low, high))
        if element.descriptor.kind == "ae" and generator.random() < 0.8:
            spread = 1 << generator.randrange(1, 10)
            return min(max(generator.randint(-spread, spread), low), high)
        return generator.randint(low, high)

    return source


class Tracer:
    """§6.2 An observer that hands each element on as (element, index, value, bit offset)."""

    def __init__(self, sink: Callable[[Element, tuple[int, ...], Any, int], None]):
        self._sink = sink

    def on_element(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        self._sink(element, index, value, bit)

    def on_branch(self, condition: If, taken: bool) -> None:
        pass

    def on_loop(self, loop: For, count: int) -> None:
        pass


class Coverage:
    """§5.1 An observer that keeps which elements, range ends, branches and empty loops were met."""

    def __init__(self) -> None:
        self.elements: dict[str, int] = {}
        self.range_ends: set[tuple[str, str]] = set()
        self.branches: set[tuple[str, bool]] = set()
        self.loops: set[tuple[str, str]] = set()

    def on_element(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        self.elements[element.name] = self.elements.get(element.name, 0) + 1
        if value == low:
            self.range_ends.add((element.name, "low"))
        if value == high:
            self.range_ends.add((element.name, "high"))

    def on_branch(self, condition: If, taken: bool) -> None:
        self.branches.add((str(condition.condition), taken))

    def on_loop(self, loop: For, count: int) -> None:
        self.loops.add((str(loop.count), "empty" if count == 0 else "entered"))
