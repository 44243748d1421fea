"""Facial attention: colours that follow from pictures, and a part of the maps computed alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_encoder.content import Motion  # noqa: E402
from reference_encoder.float_render import FloatCamera  # noqa: E402
from reference_encoder.training.face import FaceFit, Lesson, Patches, directions  # noqa: E402
from reference_encoder.training.maps import MapLayout, pose_vector  # noqa: E402
from reference_encoder.training.posed import Offsets, PosedAvatar  # noqa: E402
from reference_encoder.training.shots import Shot  # noqa: E402
from reference_encoder.training.splatting import CpuSplatter  # noqa: E402
from reference_encoder.training.tests.test_export import CAMERA, COUNT, TOPOLOGY, avatar  # noqa: E402
from reference_encoder.training.twin import Topology, Twin, Window  # noqa: E402

FRAMES, SEEN = 24, range(0, 24, 2)
EFFECT = np.array([[0.2, 0.1, -0.1], [0.0, -0.3, 0.2]])  # on colours, of both expressions
SLOPE = np.array([[1.5, 0.0, 0.5], [0.0, 1.0, 0.0]])  # and how these change with x, per metre


def posed() -> PosedAvatar:
    """Two expressions on the upper fifth of the Gaussians, of which one moves nothing."""
    rng, still = np.random.default_rng(4), avatar()
    shapes = np.concatenate([still.expressions, 0 * still.expressions])
    motion = Motion(
        rng.normal(0, 0.1, (FRAMES, 3, 3)), np.zeros((FRAMES, 3)), rng.uniform(0, 1, (FRAMES, 2)), Fraction(30),
        ("a", "b", "c"), ("up", "red"),
    )  # fmt: skip
    both = replace(still, expressions=shapes, expression_names=("up", "red"))
    return PosedAvatar(both, motion, torch.device("cpu"))


def true_colours(body: PosedAvatar, frame: int) -> np.ndarray:
    """(N, 3): linear in the weights and along x."""
    effect = EFFECT + body.avatar.gaussians.positions[:, :1, None] * SLOPE
    return np.einsum("e,nec->nc", body.motion.expressions[frame], effect) * body.face.numpy()[:, None]


def lesson(topology: Topology) -> tuple[PosedAvatar, Patches, Lesson]:
    """What pictures of every other frame teach, from the front and from behind."""
    body, splatter = posed(), CpuSplatter()
    layout = MapLayout.of(body.avatar, topology.size, topology.size >> topology.input_level)
    patches = Patches.of(body, layout)
    assert patches is not None
    fit = FaceFit(body, splatter, patches)
    behind = replace(CAMERA, rotation=CAMERA.rotation * np.array([[-1], [1], [-1]]))
    cameras = [FloatCamera.of(camera) for camera in (CAMERA, behind)]
    for frame in SEEN:
        colour = torch.as_tensor(true_colours(body, frame), dtype=torch.float32)
        with torch.no_grad():
            images = [body.render(splatter, frame, c, Offsets(colour=colour))[..., :3] for c in cameras]
        shots = [Shot(c, i, torch.ones(i.shape[:2])) for c, i in zip(cameras, images, strict=True)]
        fit.look(frame, shots, Offsets(colour=torch.where(body.face[:, None] > 0, 0.7, 0.0).expand(COUNT, 3)))
    return body, patches, Lesson.of(fit.answer(), patches, layout, topology)


def test_colours_of_unseen_frames_follow_from_pictures() -> None:
    """Whatever the generator makes of the face now: it does not matter."""
    body, patches, found = lesson(TOPOLOGY)
    unseen = np.arange(1, FRAMES, 2)
    made = found.wanted(unseen).numpy()
    truth = np.stack([true_colours(body, frame) for frame in unseen])[:, patches.face]
    shown = found.shown.numpy()[:, None]
    assert shown.sum() == pytest.approx(1, rel=1e-4)
    wrong, whole = (float((part**2 * shown).sum()) for part in (made - truth, truth))
    assert wrong < 0.05 * whole
    assert found.scale == pytest.approx(float((truth.var(axis=0) * shown).sum()), rel=0.3)


def test_a_generator_learns_its_lesson() -> None:
    torch.manual_seed(1)
    body, _, found = lesson(TOPOLOGY)
    rig, motion = body.avatar.rig, body.motion
    poses = [pose_vector(rig, 1, motion.rotations[f], motion.expressions[f]) for f in range(FRAMES)]
    still = torch.zeros(12, 16, 16)
    twin = Twin(TOPOLOGY, len(poses[0]))
    twin.heed(2, 4.0)
    optimiser, rng, losses = torch.optim.Adam(twin.parameters(), lr=3e-3), np.random.default_rng(1), []
    for _ in range(120):
        loss = found.loss(
            twin, lambda f: (still, torch.as_tensor(poses[f], dtype=torch.float32)), list(SEEN), rng
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


@pytest.mark.parametrize("corner", [0, 9, 24])
def test_a_window_of_the_maps_is_computed_alone(corner: int) -> None:
    """At the maps' edge and within, with an output layer that looks at 3 x 3 texels."""
    torch.manual_seed(2)
    twin = Twin(TOPOLOGY, 9)
    maps, pose = torch.randint(-60, 60, (2, 12, 16, 16)).float(), torch.randint(-60, 60, (2, 9)).float()
    rows, columns = np.arange(corner, corner + 8), np.arange(corner, corner + 5)
    window = Window.around(rows, columns, TOPOLOGY)
    with torch.no_grad():
        whole = torch.stack([twin(*frame) for frame in zip(maps, pose, strict=True)])
        part = twin.batch(maps, pose, window)
    down, across = np.meshgrid(rows, columns, indexing="ij")
    inside = part.flatten(2)[:, :, window.place(down, across)]
    assert part.numel() < 0.5 * whole.numel() and whole.abs().max() > 0
    assert torch.equal(inside, whole[:, :, corner : corner + 8, corner : corner + 5])


def test_heeding_makes_expressions_count_more() -> None:
    torch.manual_seed(3)
    twin = Twin(TOPOLOGY, 9)
    first = twin.mapping[0]
    before, step = first.weight.detach().clone(), first.log_step.detach().clone()
    twin.heed(2, 9.0)
    assert torch.equal(first.weight[:, :7], before[:, :7]) and torch.equal(
        first.weight[:, 7:], 9 * before[:, 7:]
    )
    assert torch.allclose(first.log_step, step + np.log(3.0))


def test_directions_have_unit_variance_and_leave_out_what_never_changes() -> None:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(40, 2)) @ np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 0.5, 0.3, 0.0]]) + 0.4
    scores = directions(weights, list(range(30)))
    assert scores.shape == (40, 3) and (scores[:, 0] == 1).all()
    np.testing.assert_allclose(np.cov(scores[:30, 1:].T, bias=True), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(scores[:30, 1:].mean(axis=0), 0, atol=1e-9)
