"""§4.6 Chooses the random streams of the corpus: few and small ones that exercise what the other groups do not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

import spec
from conformance import coverage
from conformance.presets import FEATURES
from conformance.recipes import DIRECTORY, Recipe, released

LARGEST = 6000
"""Bytes of a random stream that may be chosen: larger ones take long to execute and tell little of a failure."""

FIRST_SEED = 1000
PLAIN, EACH = 10, 6
"""Candidates without a feature and with each of them, in each profile."""

SHAPE = {"units": 2, "size": 12, "gaussians": 14}

_HEADER = """# Random streams that exercise what the other groups do not, chosen by `python -m conformance.choose`.
defaults: {clauses: ["5", "6", "7", "8", "9"]}
streams:
"""


def candidates() -> list[Recipe]:
    """Random streams of every profile, without a feature and with each one."""
    found: list[Recipe] = []
    for profile in sorted(entry["number"] for entry in spec.standard().profiles.values()):
        for feature in ("", *FEATURES):
            for _ in range(EACH if feature else PLAIN):
                found.append(candidate(FIRST_SEED + len(found), profile, feature))
    return found


def candidate(seed: int, profile: int, feature: str) -> Recipe:
    """The recipe of one random stream."""
    about = FEATURES[feature].about if feature else "random values in every range"
    return Recipe(
        id=f"random/seed_{seed}",
        purpose=f"A random stream of seed {seed} with {about}.",
        catches=f"What nobody thought of, and what streams with {about} meet by chance.",
        clauses=("5", "6", "7", "8", "9"),
        seed=seed, presets={"profile": profile}, features={feature: 1} if feature else {}, shape=SHAPE,
    )  # fmt: skip


def chosen(done: Callable[[int], None] = lambda count: None) -> list[Recipe]:
    """Those candidates that exercise what the other groups leave out."""
    others = [recipe.build() for recipe in released() if recipe.group != "random"]
    small = [data for data in others if len(data) <= LARGEST]
    already = frozenset().union(*coverage.covered_by_each(small, done=done))
    made = [(recipe, recipe.build()) for recipe in candidates()]
    made = [(recipe, data) for recipe, data in made if len(data) <= LARGEST]
    kept = coverage.covering_set([data for _, data in made], already, done=done)
    return [made[place][0] for place in sorted(kept)]


def write(recipes: Sequence[Recipe], path: Path = DIRECTORY / "random.yaml") -> None:
    """Writes the recipes as a file of them, a line each."""
    lines = [
        "  - " + yaml.safe_dump(_entry(recipe), default_flow_style=True, width=10000, sort_keys=False).strip()
        for recipe in recipes
    ]
    path.write_text(_HEADER + "\n".join(lines) + "\n", encoding="utf-8")


def _entry(recipe: Recipe) -> dict[str, Any]:
    entry = {"name": recipe.id.split("/")[1], "purpose": recipe.purpose, "catches": recipe.catches}
    return entry | recipe.as_dict()


if __name__ == "__main__":
    write(chosen(lambda count: print(f"\r{count} streams", end="", file=sys.stderr)))
