"""§5.4, §5.5 What the sequence header and the avatar header say of an avatar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import spec
from reference_encoder.content import Avatar, ContentError, Motion
from reference_encoder.quantise import Settings, Steps, rest_offsets, step_elements, to_integers

_C = spec.standard().constant_values


def headers(
    avatar: Avatar, motion: Motion, steps: Steps, settings: Settings
) -> tuple[dict[str, Any], dict[str, Any]]:
    """§5.4, §5.5 The elements of the sequence header, and of the avatar header but for `step_code`."""
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
        **step_elements(steps),
        "expression_count": len(avatar.expression_names),
    }
    sequence = {
        **standard.settled("sequence_header"),
        "profile": _C["PROFILE_CANONICAL"],
        "level": choose_level(header),
        "frame_rate_numerator": motion.fps.numerator,
        "frame_rate_denominator": motion.fps.denominator,
    }
    return sequence, header


def counts(avatar: Avatar) -> dict[str, int]:
    """§A.2 What the limits of a level are about."""
    return {
        "joint_count": avatar.rig.count,
        "gaussian_count": avatar.gaussians.count,
        "expression_count": len(avatar.expression_names),
    }


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
