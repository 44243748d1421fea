"""LAM heads: a three-vertex head built byte by byte, and every damage named."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_encoder.content import ContentError
from reference_encoder.splats import load_lam_head

C0 = 0.28209479177387814
COLUMNS = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
COLUMNS += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
VERTICES = [[0.0, 1.5, 0.0], [0.1, 1.6, 0.0], [0.0, 1.7, 0.1]]


def offset_ply(rows: int = 3) -> bytes:
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {rows}\n"
    header += "".join(f"property float {name}\n" for name in COLUMNS) + "end_header\n"
    row = [0.01, 0.02, -0.03, 0.0, 0.25, 1.0, 0.0, -5.0, -5.0, -5.0, 2.0, 0.0, 0.0, 0.0]
    return header.encode() + struct.pack("<14f", *row) * rows


def bind(x: float, y: float, z: float) -> list[float]:
    """The inverse of a bind matrix that moves to (x, y, z), by columns."""
    return [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, -x, -y, -z, 1]


# Buffer views and what they hold. Skin joint 0 is an unused toe, 1 the neck, 2 its parent the hip.
VIEWS = [
    np.array(VERTICES, "<f4"),
    np.array([[1, 0, 0, 0], [1, 2, 0, 0], [1, 0, 0, 0]], "<u1"),
    np.array([[1, 0, 0, 0], [0.75, 0.25, 0, 0], [2, 0, 0, 0]], "<f4"),
    np.array([bind(0, 0, 0), bind(0, 1.5, -0.1), bind(0, 1, 0)], "<f4"),
    np.array([2], "<u2"),  # the one vertex that the sparse morph target moves
    np.array([[0, -0.01, 0.002]], "<f4"),
]


def gltf() -> dict[str, Any]:
    offsets = np.cumsum([0] + [view.nbytes + -view.nbytes % 4 for view in VIEWS]).tolist()
    views = [
        {"buffer": 0, "byteOffset": offset, "byteLength": view.nbytes}
        for view, offset in zip(VIEWS, offsets[:-1], strict=True)
    ]
    sparse = {
        "count": 1,
        "indices": {"bufferView": 4, "componentType": 5123},
        "values": {"bufferView": 5},
    }
    return {
        "asset": {"version": "2.0"},
        "nodes": [
            {"name": "toe"},
            {"name": "neck"},
            {"name": "between", "children": [1]},
            {"name": "hip", "children": [0, 2]},
            {"name": "armature", "children": [3, 5]},
            {"name": "head", "mesh": 0, "skin": 0},
        ],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "JOINTS_0": 1, "WEIGHTS_0": 2},
                        "targets": [{"POSITION": 4}],
                    }
                ],
                "extras": {"targetNames": ["jawOpen"]},
            }
        ],
        "skins": [{"joints": [0, 1, 3], "inverseBindMatrices": 3}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5121, "count": 3, "type": "VEC4"},
            {"bufferView": 2, "componentType": 5126, "count": 3, "type": "VEC4"},
            {"bufferView": 3, "componentType": 5126, "count": 3, "type": "MAT4"},
            {"componentType": 5126, "count": 3, "type": "VEC3", "sparse": sparse},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": offsets[-1]}],
    }


def glb(document: dict[str, Any], views: list[np.ndarray] = VIEWS) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(view.tobytes() + bytes(-view.nbytes % 4) for view in views)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def head(path: Path, ply: bytes | None = None, mesh: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/skin.glb", glb(gltf()) if mesh is None else mesh)
        archive.writestr("p/offset.ply", offset_ply() if ply is None else ply)
        archive.writestr("__MACOSX/p/offset.ply", b"a resource fork")
    return path


def test_gaussians_follow_their_vertices(tmp_path: Path) -> None:
    avatar = load_lam_head(head(tmp_path / "head.zip"))
    np.testing.assert_allclose(avatar.gaussians.positions, np.add(VERTICES, [0.01, 0.02, -0.03]), atol=1e-6)
    np.testing.assert_allclose(avatar.gaussians.sh[0, 0] * C0 + 0.5, [0, 0.25, 1], atol=1e-12)
    np.testing.assert_allclose(avatar.gaussians.scales, np.exp(-5.0))
    assert avatar.gaussians.opacities.tolist() == [0.5] * 3
    assert avatar.gaussians.rotations[0].tolist() == [1, 0, 0, 0]
    assert avatar.expression_names == ("jawOpen",)
    np.testing.assert_allclose(avatar.expressions, [[[0, 0, 0], [0, 0, 0], [0, -0.01, 0.002]]], atol=1e-8)


def test_rig_keeps_used_joints_and_their_ancestors(tmp_path: Path) -> None:
    avatar = load_lam_head(head(tmp_path / "head.zip"))
    assert avatar.rig.names == ("hip", "neck")
    assert avatar.rig.parents.tolist() == [-1, 0]
    assert avatar.rig.family == "custom"
    np.testing.assert_allclose(avatar.rig.joints, [[0, 1, 0], [0, 1.5, -0.1]], atol=1e-7)
    assert avatar.skin_joints.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert avatar.skin_weights.tolist() == [[1, 0, 0, 0], [0.75, 0.25, 0, 0], [1, 0, 0, 0]]


def test_ancestors_without_weight_stay(tmp_path: Path) -> None:
    document = gltf()
    document["accessors"][1]["count"] = document["accessors"][2]["count"] = 1
    document["accessors"][0]["count"] = document["accessors"][4]["count"] = 1
    del document["meshes"][0]["primitives"][0]["targets"], document["meshes"][0]["extras"]
    avatar = load_lam_head(head(tmp_path / "head.zip", offset_ply(1), glb(document)))
    assert avatar.rig.names == ("hip", "neck")
    assert avatar.expressions.shape == (0, 1, 3)


def edit(change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = gltf()
    change(document)
    return glb(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["nodes"][5].pop("skin"), "skin.glb: holds no skinned mesh"),
        (lambda d: d["meshes"][0]["primitives"].append({"attributes": {}}), "has 2 primitives"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("POSITION"), "has no positions"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("WEIGHTS_0"), "has no skin weights"),
        (lambda d: d["meshes"][0].pop("extras"), "0 names for 1 morph targets"),
        (lambda d: d["skins"][0].pop("inverseBindMatrices"), "no inverse bind matrices"),
        (lambda d: d["skins"][0].update(joints=[0, 3]), "bound to a joint the skin does not have"),
        (lambda d: d["nodes"][3].update(children=[0]), "more than one root"),
        (lambda d: d["nodes"][3].update(children=[0, 2, 4]), "form a cycle"),
        (lambda d: d["accessors"][0].update(count=10**6), "accessor 0 is damaged"),
        (lambda d: d["accessors"][0].update(componentType=7), "accessor 0 is damaged"),
        (lambda d: d["accessors"][4].update(count=2), "accessor 4 is damaged"),
        (lambda d: d["accessors"][2].update(count=2), "3 joints and 2 weights for 3 vertices"),
        (lambda d: d["accessors"][2].update(bufferView=5), "accessor 2 is damaged"),
        (lambda d: d["accessors"][3].update(count=2), "2 bind matrices for 3 joints"),
        (lambda d: d["skins"][0].update(inverseBindMatrices=0), "bind matrices are not 4x4"),
        (lambda d: d["accessors"][4].update(count=10**12), "accessor 4 is damaged (more rows than bytes)"),
        (lambda d: d["nodes"][5].update(mesh=7), "the glTF document is damaged"),
        (lambda d: d.update(skins=None), "the glTF document is damaged"),
    ],
)
def test_mesh_damage_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    path = head(tmp_path / "head.zip", mesh=edit(change))
    with pytest.raises(ContentError) as error:
        load_lam_head(path)
    assert str(error.value).startswith(f"{path}/")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("view", "place", "value", "message"),
    [
        (1, (0, 0), 3, "bound to a joint the skin does not have"),
        (2, (1, 0), np.nan, "skin weight of Gaussian 1 is not finite"),
        (2, (1, 1), -0.25, "skin weights of vertex 1 are negative or all zero"),
        (2, (2, 0), 0, "skin weights of vertex 2 are negative or all zero"),
        (3, (1, 13), np.inf, "the inverse bind matrix of joint 1 is not finite"),
        (3, (1, 0), 0, "an inverse bind matrix is singular"),
        (4, (0,), 3, "accessor 4 is damaged"),
        (5, (0, 1), np.nan, "morph target jawOpen of Gaussian 2 is not finite"),
        (0, (1, 2), np.nan, "position of Gaussian 1 is not finite"),
    ],
)
def test_bad_mesh_values_are_named(
    tmp_path: Path, view: int, place: tuple[int, ...], value: float, message: str
) -> None:
    views = [stored.copy() for stored in VIEWS]
    views[view][place] = value
    with pytest.raises(ContentError, match=message):
        load_lam_head(head(tmp_path / "head.zip", mesh=glb(gltf(), views)))


def test_file_damage_is_named(tmp_path: Path) -> None:
    whole = head(tmp_path / "whole.zip")
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:-30])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("meta.json", "{}")
    cases = {
        "2 Gaussians for the 3 vertices of skin.glb": head(tmp_path / "two.zip", offset_ply(2)),
        "early end-of-file": head(tmp_path / "short.zip", offset_ply()[:-1]),
        "offset.ply: not a readable PLY file": head(tmp_path / "noply.zip", b"plx"),
        "skin.glb: not a": head(tmp_path / "noglb.zip", mesh=b"glTF"),
        "not a readable zip": tmp_path / "cut.zip",
        "the zip holds no offset.ply": tmp_path / "other.zip",
        "cannot be read": tmp_path / "missing.zip",
    }
    for message, path in cases.items():
        with pytest.raises(ContentError) as error:
            load_lam_head(path)
        assert str(error.value).startswith(str(path))
        assert message in str(error.value)
        assert "\n" not in str(error.value)
