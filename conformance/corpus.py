"""§A.3.3 The corpus: every stream of the recipes with its record, the same bytes whenever it is made."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba

from conformance import records
from conformance.recipes import Recipe

DIRECTORY = Path(__file__).parent / "corpus"

LARGEST = 25_000_000
"""Bytes that the corpus may take in the repository."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Entry:
    """A stream with its record."""

    id: str
    data: bytes
    record: dict[str, Any]

    def files(self) -> dict[str, bytes]:
        """The two files by their place under the corpus."""
        text = json.dumps(self.record, indent=1, ensure_ascii=False) + "\n"
        return {f"{self.id}.hga": self.data, f"{self.id}.json": text.encode()}


def make(recipe: Recipe, executed: bool = True, stored: Path | None = None, quick: bool = False) -> Entry:
    """§A.3.3 One stream with its record; raises RecipeError or RecordError.

    With `executed`, the document has to agree with the decoder wherever executing it takes seconds. Of real content
    the stream that the corpus `stored` has from the same recipe is kept: the encoder begins with floating-point
    numbers, which another machine may round otherwise. All else is made of integers, again each time. With `quick` a
    stream that comes out as it is stored keeps its record too, without being decoded.
    """
    numba.set_num_threads(1)  # for a few Gaussians, waking a second thread costs more than it does
    before = read_entry(stored, recipe.id) if stored else None
    kept = kept_content(recipe, before)
    data = recipe.build() if kept is None else kept
    if quick and before and before.data == data and records.still_holds(before.record, recipe, data):
        return before
    try:
        return Entry(recipe.id, data, records.record(recipe, data, executed))
    except records.RecordError as error:
        if kept is None:
            raise
        raise records.RecordError(f"{error}; --encode codes its content anew") from None


def read_entry(directory: Path, name: str) -> Entry | None:
    """A stream and its record as a corpus has them, if it has both."""
    stream, record = (directory / f"{name}.{suffix}" for suffix in ("hga", "json"))
    if not (stream.exists() and record.exists()):
        return None
    return Entry(name, stream.read_bytes(), json.loads(record.read_bytes()))


def kept_content(recipe: Recipe, before: Entry | None) -> bytes | None:
    """The stream of real content that a corpus has from this very recipe, if it is that of its record."""
    if not recipe.content or before is None or before.record["recipe"] != recipe.as_dict():
        return None
    return before.data if hashlib.sha256(before.data).hexdigest() == before.record["sha256"] else None


def encoded_otherwise(recipes: Sequence[Recipe], directory: Path) -> list[str]:
    """The ids of the streams of real content that the encoder, on this machine, gives other bytes."""
    kept = [(recipe, kept_content(recipe, read_entry(directory, recipe.id))) for recipe in recipes]
    return [recipe.id for recipe, data in kept if data is not None and recipe.build() != data]


def make_all(
    recipes: Sequence[Recipe], jobs: int = 1, progress: Progress = lambda what, done, total: None,
    stored: Path | None = None, quick: bool = False,
) -> Iterator[Entry]:  # fmt: skip
    """§A.3.3 The streams of all recipes in their order, made by `jobs` processes."""
    making = partial(make, stored=stored, quick=quick)
    if jobs == 1:
        for number, recipe in enumerate(recipes, 1):
            yield making(recipe)
            progress("streams", number, len(recipes))
        return
    context = multiprocessing.get_context("spawn")  # threads of the compiled decoder do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for number, entry in enumerate(pool.map(making, recipes, chunksize=8), 1):
            yield entry
            progress("streams", number, len(recipes))


def write(entries: Iterator[Entry], directory: Path) -> list[Entry]:
    """Writes streams and records to DIRECTORY/group/name; removes what is no part of them. Returns the entries."""
    kept: set[Path] = set()
    written = []
    for entry in entries:
        for name, content in entry.files().items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            kept.add(path)
        written.append(entry)
    for path in files(directory):
        if path not in kept:
            path.unlink()
    return written


def files(directory: Path) -> list[Path]:
    """The streams and records in a corpus."""
    return sorted(path for path in directory.glob("*/*") if path.suffix in (".hga", ".json"))


def differences(entries: Iterator[Entry], directory: Path, groups: Sequence[str] = ()) -> Iterator[str]:
    """Where the corpus in `directory` is not what the recipes give, a line each; only in `groups`, if there are any."""
    made: set[Path] = set()
    for entry in entries:
        for name, content in entry.files().items():
            path = directory / name
            made.add(path)
            if not path.exists():
                yield f"{name} is missing"
            elif path.read_bytes() != content:
                yield f"{name} differs from what its recipe gives"
    for path in files(directory):
        if path not in made and (not groups or path.parent.name in groups):
            yield f"{path.relative_to(directory)} has no recipe"


def lint(directory: Path) -> list[str]:
    """§A.3.3 What is wrong with the records of a corpus, a line each."""
    paths = [path for path in files(directory) if path.suffix == ".json"]
    found = [json.loads(path.read_bytes()) for path in paths]
    complaints = records.lint(found)
    ids = {entry["id"] for entry in found}
    complaints += [
        f"{e['id']}: its twin {e['twin']} is missing" for e in found if e.get("twin", e["id"]) not in ids
    ]
    total = sum(path.stat().st_size for path in files(directory))
    if total > LARGEST:
        complaints.append(f"the corpus takes {total} bytes, more than {LARGEST}")
    return complaints


def read(directory: Path) -> list[dict[str, Any]]:
    """§A.3.3 The records of a corpus, smallest streams first."""
    paths = [path for path in files(directory) if path.suffix == ".json"]
    return sorted((json.loads(path.read_bytes()) for path in paths), key=lambda e: (e["size"], e["id"]))
