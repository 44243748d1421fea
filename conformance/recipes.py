"""§A.3.3 Recipes: short YAML files that say which streams to make, how, and what each is for."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conformance.drafts import Draft
from conformance.edits import EditError, Made, edited, joined
from conformance.generate import drafts
from conformance.presets import PresetError

DIRECTORY = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot be followed; names the file and the stream."""


@dataclass(frozen=True)
class Recipe:
    """How one stream is made, and what it is for."""

    id: str
    purpose: str
    catches: str
    clauses: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    causes: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    presets: Mapping[str, Any] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)
    shape: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Mapping[str, Any], ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    expect: tuple[str, ...] = ()  # the constraints of the errors, in order; or any
    twin: str = ""  # the legal stream next to this one
    full: bool = False  # only in the larger set

    @property
    def group(self) -> str:
        """The first part of the id."""
        return self.id.split("/")[0]

    def build(self) -> bytes:
        """The stream; raises RecipeError."""
        try:
            return joined(edited(self._origin(), list(self.edits)))
        except (PresetError, EditError) as error:
            raise RecipeError(f"{self.id}: {error}") from None

    def _origin(self) -> list[Made]:
        if self.content:
            from conformance.real import content_units

            return content_units(self.content)
        made = (self.seed, _frozen(self.presets), _frozen(self.features), _frozen(self.shape))
        return [Made.of(draft) for draft in _drafts(*made)]

    def as_dict(self) -> dict[str, Any]:
        """What the stream is made from, as its record holds it: in JSON, all keys are text."""
        if self.content:
            made: dict[str, Any] = {"content": dict(self.content)}
        else:
            made = {"seed": self.seed, "presets": dict(self.presets)}
            made |= {"features": dict(self.features)} if self.features else {}
            made |= {"shape": dict(self.shape)} if self.shape else {}
        made |= {"edits": list(self.edits)} if self.edits else {}
        held: dict[str, Any] = json.loads(json.dumps(made))
        return held


def _frozen(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=False)


@functools.lru_cache(64)
def _drafts(seed: int, presets: str, features: str, shape: str) -> tuple[Draft, ...]:
    return tuple(drafts(seed, json.loads(presets), features=json.loads(features), **json.loads(shape)))


def load(path: Path) -> Iterator[Recipe]:
    """The recipes of a YAML file, families written out; raises RecipeError.

    The file has `streams`, and may have `group` (else its name) and `defaults`, which every stream inherits; edits of
    the defaults come first. A stream with `each: {name: [values]}` is a family: one stream for every combination,
    {name} replaced in its texts and `$name` in its settings; `with: {other: {value: setting}}` gives further names by
    the value. A file with `derive` gets more streams from the standard itself.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path.name}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("streams"), list):
        raise RecipeError(f"{path.name}: no list of streams")
    group, defaults = content.get("group", path.stem), content.get("defaults", {})
    for entry in content["streams"]:
        for single in _family(entry):
            yield _recipe(path.name, group, _merged(defaults, single))
    if "derive" in content:
        from conformance.negative import derived

        yield from derived(group, defaults, content["derive"])


def _family(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    each = entry.get("each", {})
    plain = {key: value for key, value in entry.items() if key not in ("each", "with")}
    for combination in itertools.product(*each.values()):
        values = dict(zip(each, combination, strict=True))
        for name, table in entry.get("with", {}).items():
            values[name] = next(table[value] for value in combination if value in table)
        yield _filled(plain, values) if each else plain


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        if value.startswith("$"):
            return values[value[1:]]
        for name, filling in values.items():
            value = value.replace("{" + name + "}", str(filling))
        return value
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, dict):
        return {_filled(key, values): _filled(item, values) for key, item in value.items()}
    return value


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **entry}
    for key in ("presets", "shape", "features"):
        if key in defaults:
            merged[key] = {**defaults[key], **entry.get(key, {})}
    merged["edits"] = [*defaults.get("edits", ()), *entry.get("edits", ())]
    return merged


def _recipe(file: str, group: str, entry: Mapping[str, Any]) -> Recipe:
    settings = dict(entry)
    name = settings.pop("name", None)
    known = {each for each in Recipe.__dataclass_fields__ if each != "id"}
    unknown = settings.keys() - known
    missing = {"purpose", "catches"} - settings.keys()
    if name is None or unknown or missing:
        what = f"unknown {', '.join(sorted(unknown))}" if unknown else "name, purpose or catches is missing"
        raise RecipeError(f"{file}: stream {name}: {what}")
    for key in ("clauses", "constraints", "edits", "expect"):
        settings[key] = tuple(settings.get(key, ()))
    return Recipe(id=f"{group}/{name}", **settings)


def released(directory: Path = DIRECTORY, full: bool = False) -> list[Recipe]:
    """§A.3.3 The recipes of the corpus, sorted by id; with `full`, those of the larger set too."""
    found = [recipe for path in sorted(directory.glob("*.yaml")) for recipe in load(path)]
    ids = [recipe.id for recipe in found]
    if len(set(ids)) != len(ids):
        raise RecipeError(f"two streams are called {min(name for name in ids if ids.count(name) > 1)}")
    return sorted((r for r in found if full or not r.full), key=lambda recipe: recipe.id)
