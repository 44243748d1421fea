"""§1 The avatar container: what goes in comes out, equal content is equal bytes, damage is named."""

from dataclasses import replace

import numpy as np
import pytest

from reference_encoder.avatar_file import load_avatar, save_avatar
from reference_encoder.content import Avatar, ContentError, Gaussians, Rig


def _avatar() -> Avatar:
    """Three Gaussians on two joints; the expression `smile` moves the last one by (0, 0.5, 0)."""
    gaussians = Gaussians(
        positions=np.array([[0.0, 0.0, 0.0], [0.25, 1.0, 0.0], [-0.5, 2.0, 0.125]]),
        rotations=np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.5, -0.5, 0.5]]),
        scales=np.full((3, 3), 0.0625),
        opacities=np.array([0.25, 0.5, 1.0]),
        sh=np.arange(36.0).reshape(3, 4, 3) / 8,
    )
    rig = Rig(("hip", "head"), np.array([-1, 0]), np.array([[0.0, 1.0, 0.0], [0.0, 1.7, 0.1]]), "custom")
    expressions = np.zeros((2, 3, 3))
    expressions[1, 2, 1] = 0.5
    weights = np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    return Avatar(
        gaussians, rig, np.array([[0, 0], [0, 1], [1, 0]]), weights, ("still", "smile"), expressions
    )


def test_round_trip(tmp_path):
    avatar = _avatar()
    save_avatar(tmp_path / "a.npz", avatar)
    loaded = load_avatar(tmp_path / "a.npz")
    for name in ("positions", "rotations", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(loaded.gaussians, name), getattr(avatar.gaussians, name))
    for name in ("skin_joints", "skin_weights", "expressions"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(avatar, name))
    np.testing.assert_array_equal(loaded.rig.joints, avatar.rig.joints)
    np.testing.assert_array_equal(loaded.rig.parents, avatar.rig.parents)
    assert (loaded.rig.names, loaded.rig.family) == (("hip", "head"), "custom")
    assert loaded.expression_names == ("still", "smile")


def test_no_expressions(tmp_path):
    save_avatar(tmp_path / "a.npz", replace(_avatar(), expression_names=(), expressions=np.zeros((0, 3, 3))))
    assert load_avatar(tmp_path / "a.npz").expressions.shape == (0, 3, 3)


def test_only_moved_gaussians_are_stored_and_bytes_repeat(tmp_path):
    save_avatar(tmp_path / "a.npz", _avatar())
    save_avatar(tmp_path / "b.npz", _avatar())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["expression_starts"].tolist() == [0, 0, 1]
        assert arrays["expression_gaussians"].tolist() == [2]


def _damage(path, **changes):
    save_avatar(path, _avatar())
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name].copy())
    np.savez(path, **arrays)


def _put(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "no avatar of the format"),
        ({"format": lambda _: np.array("hga-avatar-9")}, "no avatar of the format"),
        ({"skin_weights": None}, "no array 'skin_weights'"),
        ({"positions": _put((1, 2), np.nan)}, "position of Gaussian 1 is not finite"),
        ({"scales": _put((2, 0), 0.0)}, "scale of Gaussian 2 is not positive"),
        ({"scales": lambda a: a[:2]}, "3 positions but 2 values of scale"),
        ({"sh": lambda a: a[:, :3]}, "SH coefficients"),
        ({"skin_weights": _put((1, 1), 0.72)}, "skin weights of Gaussian 1 sum to 0.97, not to 1"),
        ({"skin_weights": _put(0, [1.5, -0.5])}, "a skin weight of Gaussian 0 is negative"),
        ({"skin_weights": _put((2, 0), np.inf)}, "skin weight of Gaussian 2 is not finite"),
        ({"skin_joints": _put((2, 0), 2)}, r"skin joint of Gaussian 2 is outside \[0, 2\)"),
        ({"skin_joints": lambda a: a.astype(float)}, "integers expected"),
        ({"skin_joints": lambda a: a[:, :1]}, "skin joints"),
        ({"parents": _put(1, 1)}, r"joint 1 \(head\) has parent 1"),
        ({"parents": _put(0, 0)}, r"joint 0 \(hip\) has parent 0"),
        ({"joints": lambda a: a[:1]}, "joints of shape"),
        ({"joints": _put((1, 0), np.nan)}, "joint 1 is not at a finite place"),
        ({"joint_names": lambda _: np.zeros(2)}, "not a list of names"),
        ({"expression_starts": _put(1, 5)}, "expression_starts do not divide"),
        ({"expression_starts": lambda a: a[:2]}, "expression_starts do not divide"),
        ({"expression_gaussians": _put(0, 3)}, r"moves a Gaussian outside \[0, 3\)"),
        ({"expression_offsets": _put((0, 1), np.nan)}, "expression offset 0 is not finite"),
        ({"expression_offsets": lambda a: a[:, :2]}, "by offsets"),
    ],
)
def test_damage_is_named(tmp_path, changes, message):
    _damage(tmp_path / "a.npz", **changes)
    with pytest.raises(ContentError, match=rf"^a\.npz: .*{message}"):
        load_avatar(tmp_path / "a.npz")


def test_weights_within_tolerance_are_made_exact(tmp_path):
    _damage(tmp_path / "a.npz", skin_weights=_put((1, 1), 0.7505))
    assert load_avatar(tmp_path / "a.npz").skin_weights[1].sum() == pytest.approx(1, abs=1e-12)


def test_saving_refuses_what_loading_would(tmp_path):
    bad = replace(_avatar(), skin_joints=np.array([[0, 7], [0, 1], [1, 0]]))
    with pytest.raises(ContentError, match="skin joint of Gaussian 0"):
        save_avatar(tmp_path / "a.npz", bad)
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(("name", "data"), [("a.npz", b"no zip"), ("a.zip", b"no zip"), ("a.ply", b"ply\n")])
def test_other_files(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ContentError, match=name):
        load_avatar(tmp_path / name)
