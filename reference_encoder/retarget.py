"""Driving one rig by the motion of another, through the T-pose that both can be brought to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError, Motion, Rig
from reference_encoder.float_model import (
    blend_matrices,
    forward_kinematics,
    joint_matrices,
    rotation_matrix,
    skin_points,
)
from reference_encoder.motions import unwrap
from reference_encoder.rigs import BodyMesh
from reference_encoder.skeletons import SMPLX_JOINTS, leg_length, smplx_names, smplx_skeleton

# Where the bone from a joint to the next points in the T-pose, for the left side; the right mirrors x.
_AIMS = {
    **{"hip": ("knee", (0, -1, 0)), "knee": ("ankle", (0, -1, 0))},
    **{"shoulder": ("elbow", (1, 0, 0)), "elbow": ("wrist", (1, 0, 0)), "wrist": ("middle1", (1, 0, 0))},
    **{f"{f}{i}": (f"{f}{i + 1}", (1, 0, 0)) for f in ("index", "middle", "ring", "pinky") for i in (1, 2)},
}


def t_pose_rotations(rig: Rig) -> np.ndarray:
    """World rotations (J, 3, 3) that bring each bone of a rig from its rest pose to the T-pose.

    Legs point down, arms and fingers out, palms down; feet, spine, collars and head keep their rest
    orientation, and thumbs follow the hand. A rig with the SMPL-X joint names rests in the T-pose by
    definition. Bones turn the shortest way, so each keeps its twist, except that of the hand.
    """
    index = smplx_names(rig.names)
    turns = np.tile(np.eye(3), (rig.count, 1, 1))
    if all(rig.names[joint] == name for name, joint in index.items()):
        return turns
    names = {joint: name for name, joint in index.items()}
    for joint in range(1, rig.count):
        turns[joint] = turns[rig.parents[joint]]
        side, _, part = names.get(joint, "").rpartition("_")
        if part == "ankle":
            turns[joint] = np.eye(3)
        if part not in _AIMS or f"{side}_{_AIMS[part][0]}" not in index:
            continue
        target = np.array(_AIMS[part][1]) * ((1 if side == "left" else -1), 1, 1)
        bone = rig.joints[index[f"{side}_{_AIMS[part][0]}"]] - rig.joints[joint]
        turns[joint] = _shortest_turn(turns[joint] @ bone, target) @ turns[joint]
        knuckles = [index.get(f"{side}_index1"), index.get(f"{side}_pinky1")]
        if part == "wrist" and None not in knuckles:
            across = turns[joint] @ (rig.joints[knuckles[0]] - rig.joints[knuckles[1]])
            across[0] = 0  # the roll about the hand alone, which lies along x by now
            turns[joint] = _shortest_turn(across, np.array([0.0, 0.0, 1.0])) @ turns[joint]
    return turns


def _shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotation matrix by the smallest angle that takes the direction `start` to `end`."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis)
    if sine < 1e-12:  # parallel, or opposite: then any axis at a right angle will do
        axis = np.cross(start, np.eye(3)[np.argmin(np.abs(start))])
    return rotation_matrix(axis / np.linalg.norm(axis) * np.arctan2(sine, start @ end))


def t_pose(mesh: BodyMesh) -> BodyMesh:
    """The same body with the T-pose as its rest pose, its lowest vertex at the height it had.

    Reposed by linear blend skinning; expressions turn with the skin. In the result the rotations of
    an SMPL-X motion mean what they mean on SMPL-X.
    """
    rig = mesh.rig
    turns = t_pose_rotations(rig)
    matrices = forward_kinematics(rig, _to_local(rig, turns), np.zeros(3))
    vertices = skin_points(mesh.vertices, mesh.skin_joints, mesh.skin_weights, matrices)
    blended = blend_matrices(mesh.skin_joints, mesh.skin_weights, matrices)[:, :, :3]
    joints = np.einsum("jab,jb->ja", matrices[:, :, :3], rig.joints) + matrices[:, :, 3]
    lift = np.array([0.0, mesh.vertices[:, 1].min() - vertices[:, 1].min(), 0.0])
    return replace(
        mesh,
        rig=replace(rig, joints=joints + lift),
        vertices=vertices + lift,
        expressions=np.array([np.einsum("vab,vb->va", blended, e) for e in mesh.expressions]).reshape(
            mesh.expressions.shape
        ),
    )


def _to_local(rig: Rig, world: np.ndarray) -> np.ndarray:
    """World rotations (..., J, 3, 3) -> local axis-angles (..., J, 3)."""
    parents = np.maximum(rig.parents, 0)
    before = np.swapaxes(world[..., parents, :, :], -1, -2).copy()
    before[..., 0, :, :] = np.eye(3)
    local = before @ world
    return Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(*local.shape[:-2], 3)


def retarget(
    motion: Motion,
    rig: Rig,
    *,
    source: Rig | None = None,
    names: dict[str, str] | None = None,
    ground: bool = True,
) -> Motion:
    """The motion on another rig, limb directions kept: joints correspond by their SMPL-X names.

    `source` is the skeleton the motion is for; left out, its joint names must be SMPL-X names and the
    SMPL-X T-pose is its rest. `names` adds or overrides pairs of a joint of `rig` and the SMPL-X name
    of the joint that drives it, such as {"neck": "head"} for a head without a head joint. A joint that
    nothing drives keeps still against its parent. The root's way is scaled by the length of the legs,
    and with `ground` the clip is lifted so that feet that stand, stand on the rest pose's floor.
    Raises ContentError when the joints cannot be matched.
    """
    source = source or _implied_skeleton(motion.joint_names)
    if motion.rotations.shape[1] != source.count:
        raise ContentError(f"motion: {motion.rotations.shape[1]} joints, its skeleton has {source.count}")
    drivers = _drivers(source, rig, names or {})
    still = np.zeros(3)
    world = joint_matrices(source, motion.rotations, still)[..., :3]
    world = world @ np.swapaxes(t_pose_rotations(source), -1, -2)
    posed = np.empty((motion.count, rig.count, 3, 3))
    for joint, parent in enumerate(rig.parents):
        by = drivers.get(joint)
        held = np.broadcast_to(np.eye(3), (motion.count, 3, 3)) if parent < 0 else posed[:, parent]
        posed[:, joint] = held if by is None else world[:, by]
    rotations = unwrap(_to_local(rig, posed @ t_pose_rotations(rig)))
    legs, source_legs = leg_length(rig), leg_length(source)
    translations = motion.translations * (legs / source_legs if legs and source_legs else 1.0)
    if ground:
        translations[:, 1] += _floor_gap(rig, rotations, translations)
    return replace(motion, rotations=rotations, translations=translations, joint_names=rig.names)


def match_expressions(motion: Motion, names: tuple[str, ...]) -> Motion:
    """The motion with its expression weights in the order of `names`, zero for those it does not have.

    Raises ContentError when it has weights and none of them is among `names`.
    """
    known = {name: column for column, name in enumerate(motion.expression_names)}
    shared = [name in known for name in names]
    if known and not any(shared):
        raise ContentError(f"motion: none of its {len(known)} expressions is among the avatar's {len(names)}")
    expressions = np.zeros((motion.count, len(names)))
    expressions[:, shared] = motion.expressions[:, [known[name] for name in names if name in known]]
    return replace(motion, expressions=expressions, expression_names=tuple(names))


def _drivers(source: Rig, rig: Rig, names: dict[str, str]) -> dict[int, int]:
    """Each joint of `rig` that a joint of `source` drives -> that joint."""
    known = smplx_names(source.names)
    drivers = {joint: known[name] for name, joint in smplx_names(rig.names).items() if name in known}
    for joint_name, name in names.items():
        if joint_name not in rig.names or name not in known:
            raise ContentError(f"motion: cannot drive joint {joint_name!r} by {name!r}")
        drivers[rig.names.index(joint_name)] = known[name]
    if not drivers:
        raise ContentError("motion: none of its joints is known by name in the rig")
    return drivers


def _implied_skeleton(names: tuple[str, ...]) -> Rig:
    """The part of the SMPL-X skeleton that `names` span, in their order."""
    whole = smplx_skeleton()
    parent_of = {
        name: whole.names[p] if p >= 0 else "" for name, p in zip(whole.names, whole.parents, strict=True)
    }
    parent_of |= {"left_hand": "left_wrist", "right_hand": "right_wrist"}
    parents, joints = [], []
    for position, name in enumerate(names):
        if name not in parent_of:
            raise ContentError(f"motion: joint {name!r} is no SMPL-X name: its skeleton is needed")
        ancestor = parent_of[name]
        while ancestor and ancestor not in names[:position]:
            ancestor = parent_of[ancestor]
        parents.append(names.index(ancestor) if ancestor else -1)
        joints.append(whole.joints[SMPLX_JOINTS.index(name if name in SMPLX_JOINTS else parent_of[name])])
    if not names or parents.count(-1) != 1:
        raise ContentError("motion: its joints do not hang on one root")
    return Rig(names, np.array(parents), np.array(joints))


def _floor_gap(rig: Rig, rotations: np.ndarray, translations: np.ndarray) -> float:
    """How far to lift a clip so that its feet stand at their rest height in a quarter of its frames."""
    index = smplx_names(rig.names)
    feet = [index[name] for name in index if name.endswith(("_ankle", "_foot"))]
    if not feet:
        return 0.0
    heights = joint_matrices(rig, rotations, translations)[:, feet, 1, 3] - rig.joints[feet, 1]
    return -float(np.quantile(heights.min(axis=1), 0.25))
