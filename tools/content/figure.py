"""The body under the clothes: MakeHuman's mesh in the T-pose, with eyes, and where its features are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reference_encoder.arrays import load_arrays
from reference_encoder.float_model import forward_kinematics, skin_points
from reference_encoder.retarget import t_pose
from reference_encoder.rigs import BodyMesh, load_rig
from tools.content.surface import vertex_normals

# The eyeballs among the helper vertices that MakeHuman's base mesh has after the body.
_EYEBALLS = {"left": slice(14598, 14670), "right": slice(14670, 14742)}
_UPPER_TEETH = slice(15058, 15124)
_LOWER_TEETH = slice(14992, 15058)
_ALERT = 0.45  # how far the resting eyes are open beyond the neutral face, as a weight of eyeWide


@dataclass(frozen=True)
class Figure:
    """A body mesh at rest and the places on it that clothes, hair and paint go by."""

    mesh: BodyMesh  # expressions: the 52 ARKit shapes
    normals: np.ndarray  # (V, 3)
    head: np.ndarray  # (3,) the head joint: features of the face are placed relative to it
    eyes: dict[str, tuple[np.ndarray, float]]  # side -> centre and radius
    teeth: dict[str, np.ndarray]  # upper and lower -> (66, 3) points
    nails: tuple[tuple[np.ndarray, np.ndarray], ...]  # centre on the finger's axis, outward direction

    def pose(self, vertices: np.ndarray, rotations: dict[str, tuple[float, float, float]]) -> np.ndarray:
        """Vertices (V, 3) of a sheet over the mesh, posed by axis-angle rotations of the joints named."""
        rig = self.mesh.rig
        turns = np.zeros((rig.count, 3))
        for joint, turn in rotations.items():
            turns[rig.names.index(joint)] = turn
        matrices = forward_kinematics(rig, turns, np.zeros(3))
        return skin_points(vertices, self.mesh.skin_joints, self.mesh.skin_weights, matrices)

    def grimace(self, *shapes: str) -> np.ndarray:
        """The displacement (V, 3) of the vertices under some ARKit shapes at weight 1."""
        return self.mesh.expressions[[self.mesh.expression_names.index(name) for name in shapes]].sum(axis=0)


def load_figure(body: Path, arkit: Path) -> Figure:
    """The figure from a MakeHuman body file and the ARKit targets for it."""
    mesh = t_pose(load_rig(body, arkit=arkit, shape="male"))
    shapes = [index for index, name in enumerate(mesh.expression_names) if not name.startswith("viseme")]
    names = tuple(mesh.expression_names[index] for index in shapes)
    expressions = mesh.expressions[shapes]
    vertices = mesh.vertices.copy()
    for side in ("Left", "Right"):
        opened = _ALERT * expressions[names.index(f"eyeWide{side}")]
        vertices += opened
        expressions[names.index(f"eyeBlink{side}")] -= opened  # so that a blink still shuts the eye
    mesh = replace(mesh, vertices=vertices, expression_names=names, expressions=expressions)
    base = load_arrays(body)["v_base_all"].astype(np.float64)
    eyes = {}
    for side, part in _EYEBALLS.items():
        ball = _carried(base, mesh, base[part])
        eyes[side] = (ball.mean(axis=0), float(np.linalg.norm(ball - ball.mean(axis=0), axis=1).mean()))
    teeth = {
        "upper": _carried(base, mesh, base[_UPPER_TEETH]),
        "lower": _carried(base, mesh, base[_LOWER_TEETH]),
    }
    head = mesh.rig.joints[mesh.rig.names.index("head")]
    return Figure(mesh, vertex_normals(mesh.vertices, mesh.faces), head, eyes, teeth, _nails(mesh))


def _carried(base: np.ndarray, mesh: BodyMesh, points: np.ndarray) -> np.ndarray:
    """Points beside the base mesh taken along to `mesh`, by the affine map of the skin around them."""
    skin = base[: mesh.count]
    near = np.argsort(np.linalg.norm(skin - points.mean(axis=0), axis=1), kind="stable")[:300]
    source = np.concatenate([skin[near], np.ones((len(near), 1))], axis=1)
    affine = np.linalg.lstsq(source, mesh.vertices[near], rcond=None)[0]
    return np.concatenate([points, np.ones((len(points), 1))], axis=1) @ affine


def _nails(mesh: BodyMesh) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    rig, found = mesh.rig, []
    for side in "lr":
        for finger in ("index", "middle", "ring", "pinky", "thumb"):
            before, last = (rig.joints[rig.names.index(f"{finger}_0{i}_{side}")] for i in (2, 3))
            along = (last - before) / np.linalg.norm(last - before)
            bound = np.isin(mesh.skin_joints[:, 0], rig.names.index(f"{finger}_03_{side}"))
            reach = ((mesh.vertices[bound] - last) @ along).max()
            outward = np.array([0.0, 1.0, 0.8 if finger == "thumb" else 0.0])
            outward -= outward @ along * along
            found.append((last + along * (reach - 0.007), outward / np.linalg.norm(outward)))
    return tuple(found)
