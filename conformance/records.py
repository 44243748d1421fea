"""§A.3.3 The record of a stream: what it is for, and what a decoder shall make of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import spec
from conformance.recipes import Recipe
from reference_decoder import Camera, Decoder, Executed, Frame
from reference_decoder.frames import stages_in_order

SCHEMA = Path(__file__).parent / "record.schema.json"

ANY = ("any",)
"""What recipes expect of a stream whose damage breaks no rule in particular."""

EXECUTED_WORK = 3_000_000
"""How many Gaussians times frames times pixels the executed document is asked for, to check a record."""


class RecordError(ValueError):
    """A stream that is not what its recipe says, or on which the two decoders disagree."""


def record(recipe: Recipe, data: bytes, executed: bool = True) -> dict[str, Any]:
    """§A.3.3 The record of a stream; raises RecordError if it is not what the recipe expects.

    What a decoder shall make of it comes from the compiled decoder and, with `executed`, from the executed document
    as well wherever that takes seconds.
    """
    decoder = Decoder(data)
    expected = expectation(decoder)
    if executed and affordable(decoder) and (other := expectation(Decoder(data, Executed()))) != expected:
        raise RecordError(f"{recipe.id}: the document gives {_difference(other, expected)}")
    found = tuple(error["constraint"] for error in expected["errors"])
    if found != recipe.expect and recipe.expect != ANY:
        raise RecordError(f"{recipe.id}: expected the errors {list(recipe.expect)}, found {list(found)}")
    header = decoder.sequence  # empty after an error in it: then what the recipe asks for
    profiles = {entry["number"]: name for name, entry in spec.standard().profiles.items()}
    return {
        **about(recipe, data),
        "constraints": sorted({*recipe.constraints, *found}),
        "profile": profiles[header.get("profile", 0)],
        "level": header.get("level") or _level(recipe),
        **expected,
        "recipe": recipe.as_dict(),
    }


def about(recipe: Recipe, data: bytes) -> dict[str, Any]:
    """§A.3.3 What a record says of a stream without decoding it."""
    return {
        "id": recipe.id,
        "purpose": recipe.purpose,
        "catches": recipe.catches,
        **({"causes": dict(recipe.causes)} if recipe.causes else {}),
        "clauses": list(recipe.clauses),
        **({"twin": recipe.twin} if recipe.twin else {}),
        "stream": recipe.id.rsplit("/", 1)[-1] + ".hga",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }


def still_holds(found: Mapping[str, Any], recipe: Recipe, data: bytes) -> bool:
    """Whether a record is that of this recipe and stream, as far as can be told without decoding."""
    errors = tuple(error["constraint"] for error in found["errors"])
    said = about(recipe, data) | {
        "constraints": sorted({*recipe.constraints, *errors}),
        "recipe": recipe.as_dict(),
    }
    compared = {key: value for key, value in found.items() if key in said or key in ("causes", "twin")}
    return compared == said and recipe.expect in (errors, ANY)


def _level(recipe: Recipe) -> int:
    level = recipe.presets.get("level", 1)
    return level if isinstance(level, int) else 1


def _difference(document: Mapping[str, Any], decoder: Mapping[str, Any]) -> str:
    for key in ("errors", "frames", "canonical"):
        if document[key] != decoder[key]:
            return f"other {key}: {str(document[key])[:300]} and not {str(decoder[key])[:300]}"
    return "the same"


def expectation(decoder: Decoder) -> dict[str, Any]:
    """§A.3.3 What a decoder that goes on after errors reports: `canonical`, `frames` and `errors`.

    `canonical` is the digest of the last frame; it stands with the frames before only where theirs is another.
    """
    frames = list(decoder.frames())
    shown: list[dict[str, Any]] = [
        {
            "frame": frame.index,
            "time": str(frame.time),
            "random_access": frame.random_access,
            "digests": digests(frame, decoder.cameras_of(frame.index)),
        }
        for frame in frames
    ]
    errors = [{k: v for k, v in error.as_dict().items() if k != "message"} for error in decoder.errors]
    canonical = frames[-1].digest("canonical").hex() if frames else None
    for entry in shown:
        if entry["digests"]["canonical"] == canonical:
            del entry["digests"]["canonical"]
    return {"canonical": canonical, "frames": shown, "errors": errors}


def digests(frame: Frame, cameras: Mapping[str, Camera]) -> dict[str, str]:
    """§7.8 The digests in hexadecimal of all stages that can be had of a frame, in the order of clause 7.1."""
    return {
        stage: frame.digest(stage, cameras.get(stage)).hex()
        for stage in stages_in_order()
        if stage in frame.stages and (stage not in ("projected", "pixels") or stage in cameras)
    }


def affordable(decoder: Decoder) -> bool:
    """Whether executing the document takes seconds; the compiled decoder has read the stream to its end."""
    avatar = decoder.avatar
    if not avatar:
        return True
    gaussians, pixels = avatar["gaussian_count"], 100
    for camera in decoder.cameras.values():
        pixels = max(pixels, camera.width * camera.height)
    frames = (decoder.motion.place["next_frame"] if decoder.motion else 0) or 1
    stored = gaussians * max(1, avatar["expression_count"])
    network = decoder.generator.topology["generator_macs"] if decoder.generator else 0
    if network * frames > EXECUTED_WORK:
        return False
    return stored <= 200_000 and gaussians * pixels * min(frames, 64) <= EXECUTED_WORK


# Lint


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def lint(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with records: schema, sentences, names that the standard does not have, repetitions."""
    complaints: list[str] = []
    standard, seen, purposes = spec.standard(), set[str](), dict[str, str]()
    clauses = {clause.number for clause in spec.run.clauses()}
    names = standard.constraints.keys() | {element.range_constraint for element in standard.elements()}
    for entry in records:
        name = entry.get("id", "?")
        for error in _validator().iter_errors(entry):
            complaints.append(f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
        if name in seen:
            complaints.append(f"{name}: the id occurs twice")
        if (other := purposes.setdefault(entry.get("purpose", ""), name)) != name:
            complaints.append(f"{name}: has the purpose of {other}")
        complaints += [
            f"{name}: there is no clause {c}" for c in entry.get("clauses", []) if c not in clauses
        ]
        unknown = [c for c in entry.get("constraints", []) if c not in names]
        complaints += [f"{name}: there is no constraint {c}" for c in unknown]
        named = entry.get("causes", {}).keys() | {s for f in entry.get("frames", []) for s in f["digests"]}
        complaints += [
            f"{name}: there is no stage {stage}" for stage in sorted(named - set(stages_in_order()))
        ]
        seen.add(name)
    return complaints
