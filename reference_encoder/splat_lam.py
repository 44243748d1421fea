"""§1 Animatable heads as LAM exports them: a skinned mesh with ARKit shapes, one Gaussian per vertex."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from pygltflib import Node, Primitive
from scipy.special import expit

from reference_encoder.content import Avatar, ContentError, Gaussians, Rig
from reference_encoder.glb import Glb
from reference_encoder.splat_check import check_finite, checked_gaussians, read_bytes, rgb_to_sh0
from reference_encoder.splat_ply import activate_scales, read_ply, stored_columns


def _members(path: Path, names: tuple[str, ...]) -> list[bytes]:
    """The named files of a zip, wherever in it they lie; the resource forks macOS adds are passed over."""
    try:
        with zipfile.ZipFile(BytesIO(read_bytes(path))) as archive:
            found = {
                PurePosixPath(entry).name: entry
                for entry in archive.namelist()
                if "__MACOSX" not in PurePosixPath(entry).parts
            }
            for name in names:
                if name not in found:
                    raise ContentError(f"{path}: the zip holds no {name}")
            return [archive.read(found[name]) for name in names]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise ContentError(f"{path}: not a readable zip ({error})") from None


def _skinned_mesh(glb: Glb) -> tuple[Node, Primitive]:
    """The first node with a mesh and a skin, and the mesh's one primitive."""
    for node in glb.gltf.nodes:
        if node.mesh is not None and node.skin is not None:
            primitives = glb.gltf.meshes[node.mesh].primitives
            if len(primitives) != 1:
                raise ContentError(
                    f"{glb.where}: the skinned mesh has {len(primitives)} primitives, expected 1"
                )
            return node, primitives[0]
    raise ContentError(f"{glb.where}: holds no skinned mesh")


def _gaussians(where: str, data: bytes, vertices: np.ndarray) -> Gaussians:
    """Gaussian i lies at vertex i plus its offset; its f_dc_* are plain RGB in [0, 1]."""
    ply = read_ply(where, data)
    if "vertex" not in ply:
        raise ContentError(f"{where}: has no element vertex")
    stored = stored_columns(where, ply["vertex"])
    if len(vertices) != len(stored["position"]):
        count = len(stored["position"])
        raise ContentError(f"{where}: {count} Gaussians for the {len(vertices)} vertices of skin.glb")
    return checked_gaussians(
        where,
        vertices + stored["position"],
        stored["rotation"],
        activate_scales(stored["scale"]),
        expit(stored["opacity"]),
        rgb_to_sh0(stored["colour"]),
    )


def _kept_joints(where: str, parents: list[int], used: np.ndarray) -> list[int]:
    """The used joints and their ancestors, parents before children, siblings in the order of the skin."""
    depth: dict[int, int] = {}
    for joint in used.tolist():
        chain = [joint]
        while parents[chain[-1]] >= 0:
            chain.append(parents[chain[-1]])
        depth.update({link: len(chain) - 1 - step for step, link in enumerate(chain)})
    kept = sorted(depth, key=lambda joint: (depth[joint], joint))
    if sum(parents[joint] < 0 for joint in kept) != 1:
        raise ContentError(f"{where}: the joints in use hang from more than one root")
    return kept


def _rig(glb: Glb, node: Node, joints: np.ndarray, weights: np.ndarray) -> tuple[Rig, np.ndarray]:
    """The pruned rig, and `joints` (N, K) renumbered to it; influences without weight point at joint 0."""
    skin = glb.gltf.skins[node.skin]
    bound = np.unique(joints[weights > 0])
    if bound[0] < 0 or bound[-1] >= len(skin.joints):
        raise ContentError(f"{glb.where}: a vertex is bound to a joint the skin does not have")
    parents = glb.joint_parents(skin)
    kept = _kept_joints(glb.where, parents, bound)
    slot = {joint: index for index, joint in enumerate(kept)} | {-1: -1}
    rig = Rig(
        names=tuple(glb.gltf.nodes[skin.joints[joint]].name or f"joint_{joint}" for joint in kept),
        parents=np.array([slot[parents[joint]] for joint in kept]),
        joints=glb.bind_positions(skin)[kept],
    )
    renumber = np.array([slot.get(joint, 0) for joint in range(len(skin.joints))])
    return rig, renumber[np.where(weights > 0, joints, kept[0])]


def _weights(glb: Glb, primitive: Primitive, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Skin joints (N, 4) and weights (N, 4), rows of weights scaled to the sum 1."""
    if primitive.attributes.JOINTS_0 is None or primitive.attributes.WEIGHTS_0 is None:
        raise ContentError(f"{glb.where}: the mesh has no skin weights")
    joints, weights = glb.array(primitive.attributes.JOINTS_0), glb.array(primitive.attributes.WEIGHTS_0)
    if joints.shape != (count, 4) or weights.shape != (count, 4):
        raise ContentError(
            f"{glb.where}: {len(joints)} joints and {len(weights)} weights for {count} vertices"
        )
    check_finite(glb.where, "skin weight", weights)
    bad = (weights < 0).any(axis=1) | (weights.sum(axis=1) <= 0)
    if bad.any():
        raise ContentError(f"{glb.where}: skin weights of vertex {bad.argmax()} are negative or all zero")
    return joints, weights / weights.sum(axis=1, keepdims=True)


def _expressions(
    glb: Glb, node: Node, primitive: Primitive, count: int
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the morph targets, and their displacements (E, N, 3) at weight 1."""
    targets = [glb.array(target["POSITION"]) for target in primitive.targets or [] if "POSITION" in target]
    names = (glb.gltf.meshes[node.mesh].extras or {}).get("targetNames") or []
    if len(names) != len(targets):
        raise ContentError(f"{glb.where}: {len(names)} names for {len(targets)} morph targets")
    for name, target in zip(names, targets, strict=True):
        if target.shape != (count, 3):
            raise ContentError(f"{glb.where}: morph target {name} has {len(target)} of {count} vertices")
        check_finite(glb.where, f"morph target {name}", target)
    return tuple(names), np.array(targets).reshape(len(targets), count, 3)


@dataclass(frozen=True)
class _Mesh:
    """What the mesh gives the avatar, in the fields and shapes of `Avatar`."""

    vertices: np.ndarray
    rig: Rig
    skin_joints: np.ndarray
    skin_weights: np.ndarray
    expression_names: tuple[str, ...]
    expressions: np.ndarray


def _mesh(where: str, data: bytes) -> _Mesh:
    glb = Glb(where, data)
    try:
        node, primitive = _skinned_mesh(glb)
        if primitive.attributes.POSITION is None:
            raise ContentError(f"{where}: the mesh has no positions")
        vertices = glb.array(primitive.attributes.POSITION)
        if vertices.shape[1] != 3:
            raise ContentError(f"{where}: the positions of the mesh have {vertices.shape[1]} components")
        joints, weights = _weights(glb, primitive, len(vertices))
        rig, skin_joints = _rig(glb, node, joints, weights)
        names, expressions = _expressions(glb, node, primitive, len(vertices))
    except (TypeError, AttributeError, LookupError) as error:
        # pygltflib hands over whatever the JSON holds: a wrong type or index shows up where it is used.
        raise ContentError(f"{where}: the glTF document is damaged ({error})") from None
    return _Mesh(vertices, rig, skin_joints, weights, names, expressions)


def load_lam_head(path: Path | str) -> Avatar:
    """§1 The avatar in a LAM WebRender zip: offset.ply bound one to one to the vertices of skin.glb.

    Metres, y up, facing +z, as glTF means the mesh. The rest pose is the bind pose; the rig keeps the joints
    in use and their ancestors, as family "custom". Expressions are the morph targets (ARKit names). Raises
    ContentError. vertex_order.json is not used: Gaussians and vertices already agree in file order, and
    either reading of that permutation tears the face apart.
    """
    path = Path(path)
    ply, skin = _members(path, ("offset.ply", "skin.glb"))
    mesh = _mesh(f"{path}/skin.glb", skin)
    gaussians = _gaussians(f"{path}/offset.ply", ply, mesh.vertices)
    return Avatar(
        gaussians, mesh.rig, mesh.skin_joints, mesh.skin_weights, mesh.expression_names, mesh.expressions
    )
