"""Body models: synthetic files with the real keys through the smplx package, and our skinning against it."""

import pickle

import numpy as np
import pytest

from reference_encoder import body_models
from reference_encoder.body_models import load_body_model
from reference_encoder.content import ContentError
from reference_encoder.float_model import forward_kinematics, skin_points
from reference_encoder.skeletons import SMPLX_PARENTS, smplx_skeleton

KINDS = {
    "smplx": ("SMPLX_NEUTRAL.npz", 55, SMPLX_PARENTS, 400),
    "smpl": ("SMPL_NEUTRAL.pkl", 24, (*SMPLX_PARENTS[:22], 20, 21), 300),
    "flame": ("FLAME_NEUTRAL.pkl", 5, (-1, 0, 1, 1, 1), 400),
}


@pytest.fixture(params=KINDS)
def model(request, tmp_path):
    pytest.importorskip("smplx", reason="the smplx extra (smplx and torch) is not installed")
    kind = request.param
    return kind, write_model(tmp_path, kind)


def write_model(folder, kind, vertices=60):
    """A model file of random vertices with at most four weights each, as the licensed ones have."""
    name, joints, parents, components = KINDS[kind]
    random = np.random.default_rng(11)
    weights = np.zeros((vertices, joints))
    np.put_along_axis(
        weights, random.integers(0, joints, (vertices, 4)), random.uniform(0.1, 1, (vertices, 4)), axis=1
    )
    regressor = random.uniform(0, 1, (joints, vertices))
    arrays = {
        "v_template": random.normal(size=(vertices, 3)),
        "shapedirs": random.normal(size=(vertices, 3, components)) * 0.01,
        "posedirs": random.normal(size=(vertices, 3, 9 * (joints - 1))) * 0.1,
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": np.array([parents, range(joints)]),
        "f": random.integers(0, vertices, (30, 3)),
        **{f"hands_components{side}": np.eye(45) for side in "lr"},
        **{f"hands_mean{side}": np.full(45, 0.3) for side in "lr"},
        "lmk_faces_idx": np.zeros(51, dtype=int),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
    }
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays))
        landmarks = {"lmk_face_idx": arrays["lmk_faces_idx"], "lmk_b_coords": arrays["lmk_bary_coords"]}
        (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(landmarks))
    return path


def pose(joints):
    random = np.random.default_rng(4)
    return random.normal(size=(joints, 3)) * 0.6, np.array([0.1, 0.9, -2.0])


def test_our_skinning_is_that_of_the_package(model):
    kind, path = model
    body = load_body_model(path, kind, influences=4)
    mesh = body.mesh
    rotations, translation = pose(mesh.rig.count)
    ours = skin_points(
        mesh.vertices,
        mesh.skin_joints,
        mesh.skin_weights,
        forward_kinematics(mesh.rig, rotations, translation),
    )
    # The package adds 1e-8 to each component before it takes the angle.
    np.testing.assert_allclose(ours, body.vertices(rotations, translation), rtol=0, atol=1e-6)


def test_shape_moves_vertices_and_joints_alike(model):
    kind, path = model
    plain, shaped = load_body_model(path, kind), load_body_model(path, kind, betas=np.array([1.0, -2.0]))
    assert np.abs(shaped.mesh.rig.joints - plain.mesh.rig.joints).max() > 1e-4
    rest = np.zeros((shaped.mesh.rig.count, 3))
    np.testing.assert_allclose(shaped.mesh.vertices, shaped.vertices(rest, np.zeros(3)), atol=1e-9)


def test_expressions_are_carried(model):
    kind, path = model
    body = load_body_model(path, kind, expressions=3)
    mesh = body.mesh
    assert mesh.rig.family == {"smplx": "smplx55", "smpl": "smpl24", "flame": "flame5"}[kind]
    if kind == "smpl":
        assert mesh.expressions.shape == (0, 60, 3)
        return
    weights = np.array([0.5, -1.0, 2.0])
    moved = body.vertices(np.zeros((mesh.rig.count, 3)), np.zeros(3), expressions=weights)
    expected = mesh.vertices + np.einsum("e,eva->va", weights, mesh.expressions)
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_smplx_rig_has_the_names_of_the_motions(model):
    kind, path = model
    if kind == "smplx":
        assert load_body_model(path, kind).mesh.rig.names == smplx_skeleton().names


def test_a_file_of_another_kind_is_one_clear_line(model):
    kind, path = model
    path.write_bytes(b"rubbish")
    with pytest.raises(ContentError, match=f"^{path.name}: no {kind} model") as raised:
        load_body_model(path, kind)
    assert "\n" not in str(raised.value)


def test_missing_file_and_unknown_kind(tmp_path):
    with pytest.raises(ContentError, match=r"no file SMPLX_NEUTRAL\.npz"):
        load_body_model(tmp_path / "SMPLX_NEUTRAL.npz", "smplx")
    with pytest.raises(ContentError, match="kind 'mano' is not one of smplx, smpl, flame"):
        load_body_model(tmp_path / "x.pkl", "mano")


def test_missing_package_says_how_to_get_it(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    (tmp_path / "SMPLX_NEUTRAL.npz").write_bytes(b"")
    monkeypatch.setattr(body_models, "import_module", missing)
    with pytest.raises(ContentError, match=r"'smplx' is missing.*hga\[smplx\]"):
        load_body_model(tmp_path / "SMPLX_NEUTRAL.npz", "smplx")
