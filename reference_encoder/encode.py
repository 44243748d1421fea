"""§5 The reference encoder: content -> quantised integers -> units -> bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

import spec
from reference_decoder import Camera, Decoder
from reference_decoder.decoder import peek_motion
from reference_decoder.units import UnitReader, level_limits
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.motion_model import motion_model, step_codes
from reference_encoder.motion_search import Residuals, search
from reference_encoder.quantise import (
    Settings,
    Steps,
    check_avatar,
    integer_steps,
    integer_weights,
    rest_offsets,
    small_rotations,
    spatial_order,
    to_integers,
)
from reference_encoder.units import unit

_C = spec.standard().constant_values
STAGES = {name: number for number, (name, _) in spec.standard().enumerations["stage"].items()}

Progress = Callable[[str, int, int], None]


def encode(
    avatar: Avatar,
    motion: Motion,
    settings: Settings | None = None,
    *,
    cameras: Sequence[Camera] = (),
    description: str = "",
    names: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> bytes:
    """§5 A complete stream; the same bytes for the same input, whatever the number of threads.

    Raises ContentError where the content does not fit the format or the motion does not fit the avatar.
    """
    settings = settings or Settings()
    check_avatar(avatar)
    motion = motion.on(avatar)
    check_motion(avatar, motion)
    steps = integer_steps(avatar, settings)
    model = motion_model(avatar, motion)
    codes = step_codes(model, settings)
    sequence, header = headers(avatar, motion, steps, codes, settings)
    limits = level_limits(spec.standard(), sequence["level"])
    known = limits | header
    stream = [
        unit("sequence", sequence, {}, checksum=settings.checksums),
        unit("avatar", header, limits, checksum=settings.checksums),
    ]
    stream += metadata(avatar, cameras, description, names)
    order = spatial_order(avatar.gaussians.positions)
    for kind, values, done, total in gaussian_units(avatar, order, steps, settings):
        progress("Gaussians" if kind == "canonical" else "expressions", done, total)
        stream.append(unit(kind, values, known, checksum=settings.checksums))
    contexts: dict[str, Any] = {}
    next_frame = -1
    keys = key_frames(motion, settings)
    longest = max(1, min(settings.frames_per_unit, limits["max_unit_frames"]))
    for values in motion_units(search(model, codes, keys, settings), keys, longest):
        known["next_frame"] = next_frame
        stream.append(unit("motion", values, known, contexts, checksum=settings.checksums))
        next_frame = values["first_frame"] + values["frame_count"] + 1
        progress("frames", next_frame, motion.count)
    stream.append(unit("end", {"end_frame_count": motion.count}, {}, checksum=settings.checksums))
    return b"".join(stream)


def check_motion(avatar: Avatar, motion: Motion) -> None:
    """Refuses a motion that does not fit the avatar, saying what each has."""
    frames, joints, _ = motion.rotations.shape
    if frames == 0:
        raise ContentError("the motion has no frames")
    if joints != avatar.rig.count:
        raise ContentError(f"the motion has {joints} joints, the avatar's rig has {avatar.rig.count}")
    if motion.expressions.shape[1] != len(avatar.expression_names):
        raise ContentError(
            f"the motion has {motion.expressions.shape[1]} expression weights, the avatar has "
            f"{len(avatar.expression_names)} expressions"
        )
    for name in ("rotations", "translations", "expressions"):
        bad = ~np.isfinite(getattr(motion, name)).reshape(frames, -1).all(axis=1)
        if bad.any():
            raise ContentError(f"the motion's {name} are not finite in frame {int(np.argmax(bad))}")


def headers(
    avatar: Avatar, motion: Motion, steps: Steps, codes: np.ndarray, settings: Settings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """§5.4, §5.5 The elements of the sequence header and of the avatar header."""
    standard = spec.standard()
    families = {name: number for number, (name, _) in standard.enumerations["template_family"].items()}
    rig, gaussians = avatar.rig, avatar.gaussians
    header = {
        "template_family": families.get(rig.family, families["custom"]),
        "joint_count": rig.count,
        "joint_parent": np.maximum(rig.parents, 0),
        "joint_offset": to_integers(rest_offsets(rig), 2.0**-20),
        "gaussian_count": gaussians.count,
        "chunk_size": min(settings.chunk_size, gaussians.count),
        "sh_degree": gaussians.sh_degree,
        "influence_limit": settings.influences - 1,
        "skin_weight_bits": settings.weight_bits - 9,
        "position_step": steps.position,
        "scale_step": steps.scale,
        "gaussian_rotation_step": steps.rotation,
        "opacity_step": steps.opacity,
        "sh_step": steps.sh,
        "expression_count": len(avatar.expression_names),
        "expression_offset_step": steps.expression_offset,
        "step_code": codes,
    }
    sequence = {
        "signature": int.from_bytes(b"HGA1", "big"),
        "version": 1,
        "profile": _C["PROFILE_CANONICAL"],
        "level": choose_level(header),
        "frame_rate_numerator": motion.fps.numerator,
        "frame_rate_denominator": motion.fps.denominator,
        "coordinates": 0,
        "sequence_tools": 0,
    }
    return sequence, header


def choose_level(header: Mapping[str, Any]) -> int:
    """§A.2 The lowest level whose limits the avatar keeps."""
    standard = spec.standard()
    checks = ("level_joints", "level_gaussians", "level_expressions", "level_expression_offsets")
    for level in sorted(standard.levels.values(), key=lambda level: level["number"]):
        rules = [standard.constraints[check] for check in checks]
        if all(rule.requires is None or rule.requires.evaluate({**level, **header}) for rule in rules):
            return level["number"]
    raise ContentError(
        f"{header['gaussian_count']} Gaussians, {header['joint_count']} joints and {header['expression_count']} "
        "expressions are more than the highest level allows"
    )


def metadata(avatar: Avatar, cameras: Sequence[Camera], description: str, names: bool) -> Iterator[bytes]:
    """§5.9 The metadata units of the start of a stream."""
    for number, camera in enumerate(cameras):
        yield unit("metadata", camera_values(number, camera), {})
    lists = (("JOINT_NAME", avatar.rig.names), ("EXPRESSION_NAME", avatar.expression_names))
    for kind, texts in lists if names else ():
        for number, text in enumerate(texts):
            values = {
                "metadata_type": _C[f"METADATA_TYPE_{kind}"],
                "name_index": number,
                "name_text": text.encode(),
            }
            yield unit("metadata", values, {})
    if description:
        values = {"metadata_type": _C["METADATA_TYPE_DESCRIPTION"], "description_text": description.encode()}
        yield unit("metadata", values, {})


def camera_values(number: int, camera: Camera) -> dict[str, Any]:
    """§5.9 The elements of a camera; its rotation becomes a rotation vector."""
    vector = Rotation.from_matrix(np.asarray(camera.rotation, float) / 2**30).as_rotvec()
    return {
        "metadata_type": _C["METADATA_TYPE_CAMERA"],
        "camera_id": number,
        "camera_width": camera.width,
        "camera_height": camera.height,
        "camera_background": camera.background,
        "camera_rotation": to_integers(vector, 2.0**-28),
        "camera_translation": camera.translation,
        "camera_focal": camera.focal,
        "camera_principal": camera.principal,
    }


def gaussian_units(
    avatar: Avatar, order: np.ndarray, steps: Steps, settings: Settings
) -> Iterator[tuple[str, dict[str, Any], int, int]]:
    """§5.6, §5.7 (unit type, elements, number done, number in all) of the structural layer."""
    g = avatar.gaussians
    vectors, scales = small_rotations(
        g.rotations[order], np.maximum(g.scales[order], settings.smallest_scale)
    )
    log_scales = (np.log2(scales) * 2**16).clip(_C["LOG_SCALE_MIN"], _C["LOG_SCALE_MAX"]) - _C[
        "LOG_SCALE_MIN"
    ]
    coefficients = g.sh[order].clip(-_C["SH_LIMIT"] / 2**12, _C["SH_LIMIT"] / 2**12)
    quantised = {
        "position": to_integers(g.positions[order], steps.position / 2**20),
        "scale": to_integers(log_scales, steps.scale),
        "rotation": to_integers(vectors, steps.rotation / 2**28),
        "opacity": to_integers(g.opacities[order].clip(0, 1), steps.opacity / 2**14),
        "sh": np.concatenate(
            [
                to_integers(coefficients[:, b * b : (b + 1) ** 2], steps.sh[b] / 2**12)
                for b in range(g.sh_degree + 1)
            ],
            axis=1,
        ),
    }
    joints, weights, counts = integer_weights(
        avatar.skin_joints[order], avatar.skin_weights[order], settings.influences, settings.weight_bits
    )
    for first in range(0, g.count, settings.chunk_size):
        part = slice(first, first + settings.chunk_size)
        chunk = {name: values[part] for name, values in quantised.items()}
        values = chunk_values(chunk)
        values |= skin_values(joints[part], weights[part], counts[part], 1 << settings.weight_bits)
        yield (
            "canonical",
            {"chunk_index": first // settings.chunk_size, **values},
            min(part.stop, g.count),
            g.count,
        )
    for e in range(len(avatar.expression_names)):
        reach = _C["OFFSET_LIMIT"] / 2**20
        offsets = avatar.expressions[e][order].clip(-reach, reach)
        offsets = to_integers(offsets, steps.expression_offset / 2**20)
        yield (
            "expression",
            {"expression_index": e, **offset_values(offsets)},
            e + 1,
            len(avatar.expression_names),
        )


def chunk_values(quantised: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """§7.3 The residuals of a chunk: each value less that of the Gaussian before it, where the standard predicts."""

    def residual(values: np.ndarray) -> np.ndarray:
        return np.diff(values, axis=0, prepend=np.zeros_like(values[:1]))

    sh = quantised["sh"].copy()
    sh[:, 0] = residual(sh[:, 0])
    return {
        "position_residual": residual(quantised["position"]),
        "scale_residual": residual(quantised["scale"]),
        "rotation_component": quantised["rotation"],
        "opacity_residual": residual(quantised["opacity"]),
        "sh_residual": sh,
    }


def skin_values(joints: np.ndarray, weights: np.ndarray, counts: np.ndarray, total: int) -> dict[str, Any]:
    """§5.6 The elements of `gaussian_skin` for a chunk."""
    same = np.zeros(len(joints), np.int64)
    same[1:] = (joints[1:] == joints[:-1]).all(axis=1) & (counts[1:] == counts[:-1])
    left = total - np.cumsum(weights, axis=1) + weights
    before = np.concatenate([np.zeros_like(weights[:1]), weights[:-1]])
    predicted = np.where(same[:, None] == 1, np.minimum(before, left), 0)
    return {
        "same_joints_flag": same,
        "influence_count": counts - 1,
        "skin_joint": joints,
        "skin_weight": weights,
        "weight_residual": weights - predicted,
    }


def offset_values(offsets: np.ndarray) -> dict[str, Any]:
    """§5.7 The elements of `expression_offsets`; offsets (N, 3) quantised."""
    moved = offsets.any(axis=1)
    residual = np.zeros_like(offsets)
    kept = offsets[moved]
    residual[moved] = np.diff(kept, axis=0, prepend=np.zeros_like(kept[:1])) if len(kept) else kept
    return {"offset_flag": moved.astype(np.int64), "offset_residual": residual}


def motion_units(residuals: Residuals, keys: np.ndarray, longest: int) -> Iterator[dict[str, Any]]:
    """§5.8 The elements of every motion unit; `keys` (F,) are the random access points."""
    starts = [*np.flatnonzero(keys).tolist(), len(keys)]
    for start, stop in pairwise(starts):
        for first in range(start, stop, longest):
            part = slice(first, min(first + longest, stop))
            symbols = residuals.symbols[part]
            yield {
                "key_flag": int(first == start),
                "frame_count": len(symbols) - 1,
                "first_frame": first,
                "step_shift": residuals.shifts[part],
                "residual_magnitude": np.abs(symbols),
                "residual_sign": symbols < 0,
            }


def key_frames(motion: Motion, settings: Settings) -> np.ndarray:
    """§6.8 (F,) which frames are random access points."""
    interval = max(1, round(settings.random_access * motion.fps)) if settings.random_access else motion.count
    return np.arange(motion.count) % interval == 0


def add_hashes(
    data: bytes,
    stages: Sequence[str],
    *,
    every: int = 1,
    camera: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> bytes:
    """§5.9 The stream with the hashes of `stages` for every `every`-th frame, behind the unit of that frame."""
    decoder = Decoder(data, strict=True)
    digests: dict[int, dict[str, bytes]] = {}
    for frame in decoder.frames():
        if frame.index % every == 0:
            view = decoder.cameras.get(camera)
            digests[frame.index] = {
                stage: frame.digest(stage, view)
                for stage in stages
                if stage not in ("projected", "pixels") or view
            }
            progress("hashes", frame.index + 1, decoder.end_frame_count or 0)
    output = []
    for piece in UnitReader(data):
        output.append(data[piece.start : piece.end])
        if piece.type == "motion":
            _, first, count = peek_motion(data, piece)
            output += [hash_unit(f, digests[f], camera) for f in range(first, first + count) if f in digests]
    return b"".join(output)


def hash_unit(frame: int, digests: Mapping[str, bytes], camera: int) -> bytes:
    """§5.9 A metadata unit with the digests of one frame."""
    values = {
        "metadata_type": _C["METADATA_TYPE_HASHES"],
        "hash_frame": frame,
        "hash_camera": camera,
        "hash_stages": sum(1 << STAGES[stage] for stage in digests),
        "hash_digest": {STAGES[stage]: digest for stage, digest in digests.items()},
    }
    return unit("metadata", values, {})
