"""§4.6 Mutants of the reference decoder: of what is written by hand around the functions of the document."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba

from conformance.mutants import Mutant, function_mutants
from spec.run import Block

MODULES = (
    "reference_decoder.lanes", "reference_decoder.convolution", "reference_decoder.network",
    "reference_decoder.skinning", "reference_decoder.projection", "reference_decoder.raster",
    "reference_decoder.canonical", "reference_decoder.decoder", "reference_decoder.frames",
    "reference_decoder.generator", "reference_decoder.motion", "reference_decoder.payload",
    "reference_decoder.units", "spec.bits", "spec.ports",
)  # fmt: skip
"""The modules with faults: the kernels, and what reads units and keeps the state of a decoder."""

NOT_DECODING = frozenset({
    "network:network_class",  # chooses between libraries that give the same
    "projection:Camera.look_at", "projection:project",  # not normative
    "raster:reach_table",  # runs when the module is imported
    "lanes:blend_lanes", "convolution:_block_intrinsic",  # Numba keeps what they generate
    "decoder:open_stream", "decoder:decode", "decoder:Decoder._entry_unit",  # not what a record is made of
    "frames:Frame.stage_bytes", "frames:Frame.render", "generator:Generator.network_arguments",
    "payload:write_payload", "payload:AccountingPort", "payload:compiled", "units:motion_units",
    "spec.bits:BitWriter", "spec.ports:WritePort", "spec.ports:given", "spec.ports:chosen",
    "spec.ports:Coverage", "spec.ports:Tracer",
    "spec.ports:ValuePort.code", "spec.ports:ValuePort.position", "spec.ports:ValuePort.start_payload",
    "spec.ports:ValuePort.finish_payload", "spec.ports:ValuePort.structure", "spec.ports:ValuePort._allocate",
    "spec.ports:ReadPort.position", "spec.ports:ReadPort.start_payload", "spec.ports:ReadPort.finish_payload",
    "spec.ports:ReadPort._decode",  # walk coded payloads, for which the decoder has compiled code
})  # fmt: skip
"""Functions and classes that encode, draw up tables or are not run for what the record of a stream says."""


@dataclass(frozen=True)
class DecoderMutant(Mutant):
    """A fault in a function of a module; `function` is its qualified name, `line` that of the file."""

    module: str = ""

    @property
    def is_kernel(self) -> bool:
        """Whether Numba compiles it, or what it writes."""
        return self.module in MODULES[:6]


def decoder_mutants() -> Iterator[DecoderMutant]:
    """§4.6 Every mutant of the functions of MODULES that decoding runs."""
    for name in MODULES:
        module = importlib.import_module(name)
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        short = name.removeprefix("reference_decoder.")
        for qualified, node in _functions(ast.parse(text).body):
            names = {f"{short}:{qualified}", f"{short}:{qualified.split('.')[0]}"}
            if not names & NOT_DECODING and qualified in functions_of(module):
                yield from _mutants_of(module, short, qualified, node, text)


def _functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{node.name}.")


def _mutants_of(
    module: ModuleType, short: str, qualified: str, node: ast.FunctionDef, text: str
) -> Iterator[DecoderMutant]:
    source = textwrap.dedent(ast.get_source_segment(text, node, padded=True) or "")
    block = Block(qualified, short, source, short, 1)
    for mutant in function_mutants(f"{short}/{qualified}", ast.parse(source), block, {}):
        if "super()" not in mutant.before:  # what is left out there has to be called by the class
            yield DecoderMutant(
                mutant.id, qualified, node.lineno - 1 + mutant.line, mutant.before, mutant.after, mutant.source,
                proof=mutant.proof, module=module.__name__,
            )  # fmt: skip


@functools.cache
def functions_of(module: ModuleType) -> dict[str, FunctionType]:
    """The functions of a module and of its classes by qualified name, those that Numba compiles among them."""
    found: dict[str, FunctionType] = {}
    for value in vars(module).values():
        members = vars(value).values() if inspect.isclass(value) else [value]
        for member in members:
            function = _function(member)
            if function is not None and function.__module__ == module.__name__:
                found[function.__qualname__] = function
    return found


def _function(member: Any) -> FunctionType | None:
    for attribute in ("fget", "func", "__func__", "py_func", "__wrapped__"):
        member = getattr(member, attribute, member) if not isinstance(member, FunctionType) else member
    return member if isinstance(member, FunctionType) else None


def code_of(mutant: DecoderMutant) -> CodeType:
    """The code of the changed function, compiled where the original stands so that `super()` means the same."""
    parts = mutant.function.split(".")
    text = "from __future__ import annotations\n"
    for depth, part in enumerate(parts[:-1]):
        text += "    " * depth + f"class {part}:\n"
    indent = "    " * (len(parts) - 1)
    text += "".join(f"{indent}{line}\n" for line in mutant.source.splitlines())
    code: CodeType = compile(text, mutant.id, "exec")
    for part in parts:
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


# Kernels: what Numba compiled has to be compiled again, with everything that calls it

KERNELS = tuple(importlib.import_module(name) for name in MODULES[:6])
_GENERATED = {"lanes": ("blend_lanes",), "convolution": ("_one", "_two")}
"""Modules whose plain functions write code -> what comes of it."""

Replaced = tuple[ModuleType, str, Any]
"""A name of a module and the kernel that it stood for."""


@contextlib.contextmanager
def sequential_kernels() -> Iterator[None]:
    """Makes every kernel one of a single thread for a while: threads do not survive that a process is copied."""
    replaced: list[Replaced] = []
    try:
        for module, name, kernel in list(_kernels()):
            if kernel.targetoptions.get("parallel"):
                _replace(module, name, _compiled(kernel, kernel.py_func.__code__, ()), replaced)
        yield
    finally:
        _restore(replaced)


@contextlib.contextmanager
def planted(mutant: DecoderMutant) -> Iterator[None]:
    """Runs with a mutant in its place; numba.errors.NumbaError or ValueError if it is nothing that can be compiled."""
    home = importlib.import_module(mutant.module)
    function, code = functions_of(home)[mutant.function], code_of(mutant)
    kept, replaced = function.__code__, list[Replaced]()
    kernel = vars(home).get(mutant.function)
    try:
        if hasattr(kernel, "py_func"):
            _replace(home, mutant.function, _compiled(kernel, code), replaced)
        else:
            function.__code__ = code
        if home in KERNELS:
            _compile_callers(home, replaced)
        yield
    finally:
        function.__code__ = kept
        _restore(replaced)


def _restore(replaced: list[Replaced]) -> None:
    for module, name, kernel in reversed(replaced):
        setattr(module, name, kernel)


def _replace(home: ModuleType, name: str, kernel: Any, replaced: list[Replaced]) -> None:
    """Puts a kernel in the place of another, wherever that is imported."""
    old = vars(home)[name]
    for module in KERNELS:
        if vars(module).get(name) is old:
            replaced.append((module, name, old))
            setattr(module, name, kernel)


def _compile_callers(home: ModuleType, replaced: list[Replaced]) -> None:
    """Compiles again what calls a changed kernel, or what the changed functions of a module have written."""
    names = {name for _, name, _ in replaced} or set(_GENERATED.get(home.__name__.split(".")[-1], ()))
    done = set(names)
    while names:
        callers = [each for each in _kernels() if each[1] not in done and _calls(each[2], names)]
        names = {name for _, name, _ in callers}
        done |= names
        for module, name, kernel in callers:
            _replace(module, name, _compiled(kernel, kernel.py_func.__code__), replaced)


def _kernels() -> Iterator[tuple[ModuleType, str, Any]]:
    for module in KERNELS:
        for name, value in vars(module).items():
            if hasattr(value, "py_func") and value.py_func.__module__ == module.__name__:
                yield module, name, value


def _calls(kernel: Any, names: set[str]) -> bool:
    return not names.isdisjoint(kernel.py_func.__code__.co_names)


def _compiled(dispatcher: Any, code: CodeType, signatures: Any = None) -> Callable[..., Any]:
    """A kernel with other code, neither kept on disk nor run by several threads; compiled for the types met so far."""
    dropped = ("cache", "parallel", "nopython", "boundscheck")
    options = {key: value for key, value in dispatcher.targetoptions.items() if key not in dropped}
    old = dispatcher.py_func
    new = types.FunctionType(code, old.__globals__, old.__name__, old.__defaults__)
    kernel = numba.njit(**options)(new)
    for types_met in dispatcher.signatures if signatures is None else signatures:
        kernel.compile(types_met)
    return kernel
