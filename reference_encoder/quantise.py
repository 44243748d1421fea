"""§7.3 The one place where floats become integers: content in, quantised values of the standard out.

Every float passes through `to_integers`: floor(value / quantum + 1/2) in float64, that is, to the
nearest multiple, halves upward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

import spec
from reference_encoder.content import Avatar, ContentError, Rig

_C = spec.standard().constant_values


@dataclass(frozen=True)
class Settings:
    """What the encoder may trade: quantiser steps in physical units, and the structure of the stream."""

    effort: int = 5  # 1 to 9: how much is tried, see `structural.py`
    picture_step: float = 0.4  # error of a picture in 8-bit levels; all steps follow from it
    pruning: float = 5.0  # Gaussians are left out if the pictures change so little; 0 for none
    position_step: float = 2.0**-13  # m; steps of Gaussians are for effort 1, others begin to look here
    scale_step: float = 1 / 24  # octaves
    rotation_step: float = 1 / 64  # rad, of Gaussians
    opacity_step: float = 1 / 256
    colour_step: float = 1 / 64  # spherical harmonics band 0, in units of the coefficient
    sh_step: float = 1 / 32  # bands 1 to 3
    opacity_power: int = 0  # 1 to 3: faint Gaussians have the finer steps, the greater it is; 0 to choose
    scale_blur: float = 0.0  # m by which quantised scales are widened; 0 to choose
    smallest_scale: float = 2.0**-14  # m; thinner Gaussians look the same
    face_priority: float = (
        1.0  # how many times smaller errors of face and hands shall be than those of the rest
    )
    closeness: float = 0.125  # how much errors count in pictures of the head alone
    influences: int = 4
    weight_bits: int = 12
    expression_step: float = 1.1e-4  # m; leaves errors of 0.095 mm
    expression_weight_step: float = 1 / 512
    motion_tolerance: float = 0.0005  # m: the largest error of a joint
    shell_tolerance: float = 0.0005  # m: the largest error of the body around a joint
    motion_quantum: float = 0.6  # what one quantiser step of a joint moves, in motion tolerances
    motion_lambda: float = 1.0  # bits that an error as large as the tolerance is worth
    motion_starts: int = 4  # searches of a frame that are compared at least
    motion_step: float = (
        0.0  # m: what one quantiser step of a joint moves, whatever the errors; 0 to keep tolerances
    )
    mean_error: float = 0.0  # m: the mean error of joints for which a motion step is sought; 0 for none
    bitrate: float = 0.0  # kbit/s that the motion may take, its tolerances scaled to fit; 0 for any
    random_access: float = 1.0  # seconds between random access points
    group_shift: int = (
        -1
    )  # binary logarithm of the frames of a group, 0 to 3; -1: 0, from effort 7 on the best
    frames_per_unit: int = 128  # 1 for the lowest delay
    chunk_size: int = 65536  # Gaussians that decode together
    checksums: bool = True


@dataclass(frozen=True)
class Steps:
    """§5.5 The quantiser steps as the avatar header says them."""

    position: int  # Q.20 m
    scale: int  # Q.16 octaves
    rotation: int  # Q.28 rad
    blur: int  # Q.16 octaves over LOG_SCALE_MIN
    opacity: int  # Q.14
    opacity_power: int
    sh: tuple[int, ...]  # Q.12, by band
    expression_offset: int  # Q.20 m


def step_elements(steps: Steps) -> dict[str, Any]:
    """§5.5 The elements of the avatar header that say the steps of Gaussians."""
    return {
        "position_step": steps.position,
        "scale_step": steps.scale,
        "gaussian_rotation_step": steps.rotation,
        "scale_blur": steps.blur,
        "opacity_step": steps.opacity,
        "opacity_power": steps.opacity_power,
        "sh_step": steps.sh,
        "expression_offset_step": steps.expression_offset,
    }


def to_integers(values: np.ndarray | float, quantum: float) -> np.ndarray:
    """The nearest multiples of `quantum`, halves upward: the standard's only way from float to integer."""
    return np.floor(np.asarray(values, np.float64) / quantum + 0.5).astype(np.int64)


def integer_steps(avatar: Avatar, settings: Settings) -> Steps:
    """§5.5 Steps for this avatar; those of its pose depend on the motion (`motion_model`)."""

    def step(value: float, fraction_bits: int, low: int, high: int) -> int:
        return int(to_integers(np.clip(value * 2**fraction_bits, low, high), 1))

    # Quantised values must reach their largest: the 63 degrees that `small_rotations` leaves in 20 bits; and the
    # difference of two offsets must fit 18 bits.
    # The coordinates of a chunk must fit 21 bits.
    positions = avatar.gaussians.positions
    size = float(np.ptp(positions, axis=0).max())
    blur = np.log2(np.clip(settings.scale_blur or size / 1600, 2.0**-20, 1)) - _C["LOG_SCALE_MIN"] / 2**16
    farthest = float(np.abs(avatar.expressions).max(initial=0.0))
    degree = avatar.gaussians.sh_degree
    return Steps(
        position=step(settings.position_step, 20, 1 + int(size / 2), 262144),
        scale=step(settings.scale_step, 16, 1, 524288),
        rotation=step(settings.rotation_step, 28, 282, 134217728),
        blur=step(blur, 16, 0, 1638400),
        opacity=step(settings.opacity_step, 14, 1, 16384),
        opacity_power=settings.opacity_power or 3,
        sh=tuple(
            step(settings.sh_step if b else settings.colour_step, 12, 1, 16384) for b in range(degree + 1)
        ),
        expression_offset=step(
            settings.expression_step, 20, 1 + int(min(farthest, 2) * 2**20 / 65535), 262144
        ),
    )


def check_avatar(avatar: Avatar) -> None:
    """Refuses what the format cannot hold, naming the Gaussian or the joint."""
    g, rig = avatar.gaussians, avatar.rig
    if g.count == 0 or g.sh_degree > 3:
        raise ContentError(f"{g.count} Gaussians of degree {g.sh_degree}: at least one, of degree 3 at most")
    for name in ("positions", "rotations", "scales", "opacities", "sh"):
        bad = ~np.isfinite(getattr(g, name)).reshape(g.count, -1).all(axis=1)
        if bad.any():
            raise ContentError(f"the {name} of Gaussian {int(np.argmax(bad))} are not finite")
    reach = _C["POSITION_LIMIT"] / 2**20
    far = np.flatnonzero(np.abs(g.positions).max(axis=1) > reach)
    if len(far):
        raise ContentError(
            f"Gaussian {far[0]} lies more than {reach:.1f} m from the origin; is the content in metres?"
        )
    if not 1 <= rig.count <= 255:
        raise ContentError(f"the rig has {rig.count} joints, allowed 1..255")
    if len(avatar.expression_names) > 255:
        raise ContentError(f"{len(avatar.expression_names)} expressions, allowed at most 255")
    if (
        rig.parents[0] != -1
        or (rig.parents[1:] >= np.arange(1, rig.count)).any()
        or (rig.parents[1:] < 0).any()
    ):
        raise ContentError("the rig's joints must be ordered parents first, with one root")
    far = np.flatnonzero(~(np.abs(rest_offsets(rig)).max(axis=1) <= reach))
    if len(far):
        raise ContentError(f"joint {far[0]} lies more than {reach:.1f} m from its parent")


def rest_offsets(rig: Rig) -> np.ndarray:
    """(J, 3) metres: each joint's rest position from its parent's, the root's from the origin."""
    return rig.joints - np.where(rig.parents[:, None] >= 0, rig.joints[rig.parents], 0.0)


def spatial_order(positions: np.ndarray) -> np.ndarray:
    """The Gaussians along a Morton curve: neighbours in the stream are neighbours in space."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    cells = to_integers((positions - low) / max(float((high - low).max()), 1e-9), 1 / 65535)
    key = np.zeros(len(positions), np.int64)
    for bit in range(16):
        for axis in range(3):
            key |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")


def equivalent_axes(rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) rotation vectors of the same ellipsoids with the least angles, (N, 3, 3) where their axes went.

    Turning an ellipsoid's axes into each other, with their scales, changes nothing; of the 24
    equivalent rotations the one with the greatest trace is taken. rotations (N, 4), w first.
    Entry [n, i, j] is 1 if the scale along axis i becomes that along axis j.
    """
    matrices = Rotation.from_quat(rotations[:, [1, 2, 3, 0]]).as_matrix()
    cube = Rotation.create_group("O").as_matrix().round().astype(int)
    traces = np.stack([np.einsum("nij,ji->n", matrices, turn) for turn in cube])
    turns = cube[np.argmax(traces, axis=0)]
    vectors = Rotation.from_matrix(matrices @ turns).as_rotvec()
    return vectors, np.abs(turns)


def integer_weights(
    joints: np.ndarray, weights: np.ndarray, influences: int, bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 8) joints, (N, 8) weights summing to 1 << bits, (N,) numbers of influences.

    The largest `influences` weights are kept; the rounding is by largest remainder; influences are
    ordered by joint, so that neighbours with the same joints can say so.
    """
    order = np.argsort(-weights, axis=1, kind="stable")[:, :influences]
    kept = np.take_along_axis(weights, order, 1)
    chosen = np.take_along_axis(joints, order, 1)
    total = 1 << bits
    exact = kept / kept.sum(axis=1, keepdims=True) * total
    integers = np.floor(exact).astype(np.int64)
    missing = total - integers.sum(axis=1)
    rank = np.argsort(np.argsort(integers - exact, axis=1, kind="stable"), axis=1, kind="stable")
    integers += rank < missing[:, None]
    chosen = np.where(integers > 0, chosen, 255)
    order = np.argsort(chosen, axis=1, kind="stable")
    chosen, integers = np.take_along_axis(chosen, order, 1), np.take_along_axis(integers, order, 1)
    padding = ((0, 0), (0, _C["INFLUENCES"] - chosen.shape[1]))
    counts = (integers > 0).sum(axis=1)
    return np.pad(np.where(chosen == 255, 0, chosen), padding), np.pad(integers, padding), counts
