"""Joint names, parents and rest offsets of the skeletons that content comes with."""

from __future__ import annotations

import numpy as np

from reference_encoder.content import Rig

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

BODY_JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
HAND_JOINTS = tuple(
    f"{side}_{finger}{i}" for side in ("left", "right") for finger in _FINGERS for i in (1, 2, 3)
)
SMPLX_JOINTS = (*BODY_JOINTS, "jaw", "left_eye", "right_eye", *HAND_JOINTS)
SMPLH_JOINTS = (*BODY_JOINTS, *HAND_JOINTS)
SMPL_JOINTS = (*BODY_JOINTS, "left_hand", "right_hand")
FLAME_JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")

_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
_HAND_PARENTS = tuple(
    wrist if i == 0 else 25 + 15 * side + 3 * finger + i - 1
    for side, wrist in enumerate((20, 21))
    for finger in range(5)
    for i in range(3)
)
SMPLX_PARENTS = (*_BODY_PARENTS, 15, 15, 15, *_HAND_PARENTS)

# Left half and spine of an adult in the T-pose, centimetres from the parent; the right half mirrors x.
_OFFSETS_CM = {
    **{"pelvis": (0, 0, 0), "hip": (6, -9, 0), "knee": (4, -38, 0), "ankle": (-1, -40, -3)},
    **{"foot": (3, -6, 12), "spine1": (0, 11, -3), "spine2": (0, 13, 0), "spine3": (0, 5, 0)},
    **{"neck": (0, 21, -3), "head": (0, 9, 5), "collar": (8, 12, -3), "shoulder": (10, 4, 0)},
    **{"elbow": (26, -1, 0), "wrist": (25, 0, 0), "jaw": (0, 0, 1), "eye": (3, 6, 6)},
    **{f"{finger}1": (10, 0, z) for finger, z in zip(_FINGERS, (-4, -2, 0, 2, 4), strict=True)},
    **{f"{finger}{i}": (3, 0, 0) for finger in _FINGERS for i in (2, 3)},
}


def smplx_skeleton() -> Rig:
    """A 55-joint adult with the SMPL-X joint tree and rounded proportions, pelvis at the origin.

    It stands in for the licensed model wherever a motion needs bone lengths, and is the skeleton on
    which the joint errors of motion coding are quoted.
    """
    joints = np.zeros((len(SMPLX_JOINTS), 3))
    for j, (name, parent) in enumerate(zip(SMPLX_JOINTS, SMPLX_PARENTS, strict=True)):
        side, _, part = name.rpartition("_")
        offset = np.array(_OFFSETS_CM[part], dtype=np.float64) / 100
        if side == "right":
            offset[0] = -offset[0]
        joints[j] = offset if parent < 0 else joints[parent] + offset
    return Rig(SMPLX_JOINTS, np.array(SMPLX_PARENTS), joints, "smplx55")


# How other rigs name the SMPL-X joints. {} stands for the side: each entry with it makes two.
_CONVENTIONS: tuple[tuple[tuple[str, str], dict[str, str]], ...] = (
    (  # MakeHuman's game rig
        ("l", "r"),
        {
            **{"pelvis": "pelvis", "spine_01": "spine1", "spine_02": "spine2", "spine_03": "spine3"},
            **{"neck_01": "neck", "head": "head", "thigh_{}": "hip", "calf_{}": "knee", "foot_{}": "ankle"},
            **{"ball_{}": "foot", "clavicle_{}": "collar", "upperarm_{}": "shoulder"},
            **{"lowerarm_{}": "elbow", "hand_{}": "wrist"},
            **{f"{finger}_0{i}_{{}}": f"{finger}{i}" for finger in _FINGERS for i in (1, 2, 3)},
        },
    ),
    (  # soma77: its fingers, not its thumb, begin with a metacarpal
        ("Left", "Right"),
        {
            **{"Hips": "pelvis", "Spine1": "spine1", "Spine2": "spine2", "Chest": "spine3", "Neck1": "neck"},
            **{"Head": "head", "Jaw": "jaw", "{}Eye": "eye", "{}Leg": "hip", "{}Shin": "knee"},
            **{"{}Foot": "ankle", "{}ToeBase": "foot", "{}Shoulder": "collar", "{}Arm": "shoulder"},
            **{"{}ForeArm": "elbow", "{}Hand": "wrist"},
            **{f"{{}}HandThumb{i}": f"thumb{i}" for i in (1, 2, 3)},
            **{f"{{}}Hand{f.capitalize()}{i + 1}": f"{f}{i}" for f in _FINGERS[:4] for i in (1, 2, 3)},
        },
    ),
    (  # CMU's BVH files and others that come out of MotionBuilder
        ("Left", "Right"),
        {
            **{"Hips": "pelvis", "LowerBack": "spine1", "Spine": "spine2", "Spine1": "spine3"},
            **{"Neck": "neck", "Head": "head", "{}UpLeg": "hip", "{}Leg": "knee", "{}Foot": "ankle"},
            **{"{}ToeBase": "foot", "{}Shoulder": "collar", "{}Arm": "shoulder", "{}ForeArm": "elbow"},
            "{}Hand": "wrist",
        },
    ),
    (  # BVH files that name the joint instead of the bone
        ("Left", "Right"),
        {
            **{"Hips": "pelvis", "lowerback": "spine1", "Chest": "spine2", "Chest2": "spine3"},
            **{"Neck": "neck", "Head": "head", "{}Hip": "hip", "{}Knee": "knee", "{}Ankle": "ankle"},
            **{"{}Toe": "foot", "{}Collar": "collar", "{}Shoulder": "shoulder", "{}Elbow": "elbow"},
            "{}Wrist": "wrist",
        },
    ),
    (("left", "right"), {name: name for name in (*SMPLX_JOINTS, "left_hand", "right_hand")}),
)


def smplx_names(names: tuple[str, ...]) -> dict[str, int]:
    """The SMPL-X name of each joint that has one -> its index, by the convention that fits `names` best."""
    best: dict[str, int] = {}
    for sides, table in _CONVENTIONS:
        found = {}
        for pattern, joint in table.items():
            if "{}" not in pattern:
                found.update({joint: names.index(pattern)} if pattern in names else {})
                continue
            for side, prefix in zip(sides, ("left", "right"), strict=True):
                name = pattern.format(side)
                found.update({f"{prefix}_{joint}": names.index(name)} if name in names else {})
        if len(found) > len(best):
            best = found
    return best


def leg_length(rig: Rig) -> float | None:
    """Hip to knee to ankle in the rest pose, the mean of both legs; None where they cannot be named."""
    index = smplx_names(rig.names)
    lengths = []
    for side in ("left", "right"):
        if not {f"{side}_{joint}" for joint in ("hip", "knee", "ankle")} <= index.keys():
            return None
        chain = [index[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle")]
        lengths.append(np.linalg.norm(np.diff(rig.joints[chain], axis=0), axis=1).sum())
    total = float(np.mean(lengths))
    return total if total > 0 else None
