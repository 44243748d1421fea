"""§4.6 Compiles the document's own functions with Numba, so that fast kernels run the text itself."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np

import spec
from spec.run import Document
from spec.textports import expressions_of

OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True}


def cache_directory() -> Path:
    """The folder of generated modules and machine code: `HGA_CACHE`, else the user's cache."""
    base = os.environ.get("HGA_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hga"


@functools.cache
def fingerprint() -> str:
    """A hash of everything compiled code depends on: Numba's own cache looks at one file only."""
    digest = hashlib.sha256(f"{sys.version}{numba.__version__}{np.__version__}".encode())
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _sources() -> Iterable[Path]:
    here = Path(spec.__file__).parent
    yield from sorted(here.glob("*.py"))
    yield from sorted(here.glob("syntax/*.yaml"))
    yield from sorted(here.glob("text/*.md"))
    yield from sorted(Path(__file__).parent.glob("*.py"))


def use_cache() -> Path:
    """Points Numba at a folder that is new whenever any source changes; to be called before compiling."""
    directory = cache_directory() / fingerprint()
    directory.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(directory)  # type: ignore[attr-defined]
    return directory


def generated_module(name: str, source: str) -> ModuleType:
    """Writes `source` into the cache and imports it: Numba keeps machine code only for files."""
    path = use_cache() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(source, encoding="utf-8")
        temporary.replace(path)
    module_spec = importlib.util.spec_from_file_location(f"hga_generated_{name}", path)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    return module


def module_header(document: Document) -> str:
    """The prelude of generated source: imports, `zeros` and the document's constants."""
    lines = ["import numpy as np", "from numba import njit", ""]
    lines += ["@njit(inline='always')", "def zeros(count):", "    return np.zeros(count, np.int64)", ""]
    for name, value in sorted(document.constants.items()):
        literal = f"np.array({list(value)!r}, np.int64)" if isinstance(value, tuple) else repr(value)
        lines.append(f"{name} = {literal}")
    return "\n".join(lines) + "\n\n"


@functools.cache
def document_module() -> ModuleType:
    """§4.6 The document's functions, compiled; arrays are NumPy arrays of any integer type."""
    document, inlined = spec.document(), payload_functions()

    def decorated(match: re.Match[str]) -> str:
        options = OPTIONS | ({"forceinline": True} if match[1] in inlined else {})
        return f"@njit(**{options!r})\n{match[0]}"

    source = re.sub(r"^def (\w+)", decorated, document.source(), flags=re.MULTILINE)
    return generated_module("document", module_header(document) + source)


def payload_functions() -> frozenset[str]:
    """§8 The functions that run for every value of a coded payload: a call would cost as much as they do."""
    standard, document = spec.standard(), spec.document()
    found = set[str]()
    waiting = {n for b in standard.binarisations.values() for n in (b.decode, b.encode)}
    for structure in standard.structures.values():
        if structure.coded:
            for node in standard.nodes(structure.name):
                waiting |= {name for expression in expressions_of(node) for name in expression.functions}
    while waiting:
        found |= waiting
        waiting = set[str]().union(*(document.calls(name) for name in waiting)) - found
    return frozenset(found)


def function(name: str) -> Callable[..., Any]:
    """§4.6 One compiled document function."""
    return getattr(document_module(), name)


use_cache()
