"""Transforms: turned splats look from turned directions as they did before."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_transform import rotate_sh, sh_basis, transform

TURN = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()


def directions() -> np.ndarray:
    raw = np.random.default_rng(5).normal(size=(40, 3))
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def covariances(gaussians: Gaussians) -> np.ndarray:
    axes = Rotation.from_quat(np.roll(gaussians.rotations, -1, axis=1)).as_matrix()
    return (axes * gaussians.scales[:, None, :] ** 2) @ axes.transpose(0, 2, 1)


def sample() -> Gaussians:
    random = np.random.default_rng(9)
    quaternions = random.normal(size=(6, 4))
    return Gaussians(
        random.normal(size=(6, 3)),
        quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True),
        random.uniform(0.1, 1, (6, 3)),
        random.uniform(0, 1, 6),
        random.normal(size=(6, 16, 3)),
    )


def test_basis_has_the_constants_of_3dgs() -> None:
    x, y, z = 2 / 7, 3 / 7, 6 / 7
    expected = [
        0.28209479177387814,
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
        -0.5900435899266435 * y * (3 * x * x - y * y),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
        0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
        -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
        1.445305721320277 * z * (x * x - y * y),
        -0.5900435899266435 * x * (x * x - 3 * y * y),
    ]
    np.testing.assert_allclose(sh_basis(np.array([[x, y, z]]), 3)[0], expected, rtol=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_turned_colour_is_the_colour_before_in_the_old_direction(degree: int) -> None:
    sh = sample().sh[:, : (degree + 1) ** 2]
    before = np.einsum("dk,nkc->dnc", sh_basis(directions(), degree), sh)
    after = np.einsum("dk,nkc->dnc", sh_basis(directions() @ TURN.T, degree), rotate_sh(sh, TURN))
    np.testing.assert_allclose(after, before, atol=1e-12)


def test_a_quarter_turn_by_hand() -> None:
    # x goes to y, y to -x: the y function of band 1 (-y) becomes +x, the x function becomes the y function.
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    sh = np.zeros((1, 4, 3))
    sh[0, 1:, 0] = [1, 2, 3]
    np.testing.assert_allclose(rotate_sh(sh, quarter)[0, 1:, 0], [3, 2, -1], atol=1e-12)


def test_positions_axes_and_sizes_move() -> None:
    before = sample()
    after = transform(before, TURN, [1.0, 2.0, 3.0], 2.0)
    np.testing.assert_allclose(after.positions, 2 * before.positions @ TURN.T + [1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(covariances(after), 4 * TURN @ covariances(before) @ TURN.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(after.rotations, axis=1), 1, atol=1e-14)
    assert (after.opacities == before.opacities).all()


def test_there_and_back() -> None:
    back = transform(transform(sample(), TURN), TURN.T)
    np.testing.assert_allclose(back.positions, sample().positions, atol=1e-12)
    np.testing.assert_allclose(back.sh, sample().sh, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation": np.eye(3) * 2}, "not an orthonormal"),
        ({"rotation": np.eye(4)}, "not an orthonormal"),
        ({"rotation": np.full((3, 3), np.nan)}, "not an orthonormal"),
        ({"rotation": np.diag([1, 1, -1])}, "reflection"),
        ({"translation": [0, 0, np.inf]}, "three finite numbers"),
        ({"scale": 0.0}, "not positive and finite"),
        ({"scale": np.nan}, "not positive and finite"),
    ],
)
def test_what_is_no_similarity(arguments: dict, message: str) -> None:
    with pytest.raises(ContentError, match=message):
        transform(sample(), **arguments)
