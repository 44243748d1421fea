"""§5.6 What is decided by looking at pictures: portraits of heads, and steps that are tried to the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reference_encoder import structural
from reference_encoder.content import Avatar
from reference_encoder.quantise import Settings
from reference_encoder.sensitivity import head_share, portrait, ring
from reference_encoder.structural import (
    EFFORTS,
    Look,
    Prepared,
    Scene,
    decoded_gaussians,
    error_of,
    fitted,
    judges,
    made,
    observed,
    part_of,
    prepared,
    source_pictures,
)
from reference_encoder.tests.test_encode import avatar, motion


def nothing(what: str, done: int, total: int) -> None:
    pass


def with_head(share: float) -> Avatar:
    """The highest `share` of the Gaussians are the head, near its joint; the rest hang down a metre."""
    subject = avatar(200, 2, expressions=0)
    head = np.arange(200) < 200 * share
    positions = subject.gaussians.positions * [0.1, 0.1, 0.1] - np.where(head, 0, 1)[:, None] * [0, 1, 0]
    return replace(
        subject,
        gaussians=replace(subject.gaussians, positions=positions),
        rig=replace(subject.rig, names=("spine", "Head")),
        skin_joints=np.where(head, 1, 0)[:, None],
        skin_weights=np.ones((200, 1)),
    )


def test_portraits_show_a_head_from_near() -> None:
    subject = with_head(0.3)
    views = portrait(subject)
    whole = ring(subject.gaussians.positions, 1, 0.0, 0.0)[0]
    assert len(views) == 4 and head_share(subject).sum() == 60
    for view in views:
        place = subject.gaussians.positions @ view.camera.rotation.T / 2**30 + view.camera.translation / 2**20
        assert 0.3 < place[:60, 2].mean() < whole.translation[2] / 2**20 / 2
    assert portrait(with_head(1.0)) == [] and portrait(with_head(0.0)) == []


def test_heads_are_coded_for_portraits() -> None:
    subject, moving = with_head(0.3), motion(1, 2, 0)
    options = [Settings(effort=2, closeness=closeness) for closeness in (0.0, 1.0)]
    bare, close = (observed(subject, moving, settings, nothing) for settings in options)
    kept = [
        int((made(scene, settings).avatar.skin_joints == 1).sum())
        for scene, settings in zip((bare, close), options, strict=True)
    ]
    assert kept[0] <= kept[1] <= 60
    assert close.share == bare.share and close.seen.colour.max() > 4 * bare.seen.colour.max()
    assert len(close.shown) == len(close.pictures) == len(bare.shown) + 4


def scene_of(subject: Avatar, settings: Settings) -> tuple[Scene, list[Look], list[np.ndarray]]:
    """The scene of an avatar at rest, looks that nothing is fitted to and their pictures."""
    moving = motion(1, 2, 0)
    judged = judges(subject, moving, settings)
    return (
        observed(subject, moving, settings, nothing),
        judged,
        source_pictures(subject, moving, judged, settings),
    )


def squared_error(ready: Prepared, judged: list[Look], truths: list[np.ndarray]) -> float:
    return 2.0 ** error_of(ready, decoded_gaussians(ready)[0], judged, truths)


def test_each_fit_brings_pictures_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at where nothing is fitted: without a fit, after quantisation alone, and before it too."""
    subject, settings = avatar(150, 2, expressions=0), Settings(effort=5, picture_step=3.0)
    scene, judged, truths = scene_of(subject, settings)
    errors = []
    for fits in (0, 1, 2):
        monkeypatch.setitem(EFFORTS, 5, replace(EFFORTS[5], fits=fits))
        errors.append(squared_error(made(scene, settings), judged, truths))
    assert errors[0] > errors[1] > errors[2]


def test_opacities_that_are_alike_stay() -> None:
    subject = avatar(150, 2, expressions=0)
    flat = replace(subject, gaussians=replace(subject.gaussians, opacities=np.full(150, 0.75)))
    for each, moved in ((subject, True), (flat, False)):
        settings = Settings(effort=5, picture_step=3.0)
        scene, _, _ = scene_of(each, settings)
        half = part_of(each, np.arange(0, 150, 2))
        result = fitted(half, scene, settings).gaussians
        assert (result.opacities != half.gaussians.opacities).any() == moved
        assert result.opacities.min() > 0 and result.opacities.max() <= 1
        assert (result.sh[:, 0] != half.gaussians.sh[:, 0]).any()


def test_the_pruning_of_least_cost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are least at 8 times the pruning and pictures all alike: 4 times as much gains, 16 no more, then 8."""
    subject, moving = avatar(60, 2, expressions=0), motion(1, 2, 0)
    bytes_at = lambda ready: int(1000 + 10 * (np.log2(ready.settings.pruning / 5) - 3) ** 2)  # noqa: E731
    plain = prepared(subject, moving, Settings(effort=2), nothing)
    monkeypatch.setattr(structural, "made", lambda scene, settings: replace(plain, settings=settings))
    monkeypatch.setattr(structural, "decoded_gaussians", lambda ready: (None, bytes_at(ready)))
    monkeypatch.setattr(structural, "error_of", lambda *_: 5.0)
    found = [
        prepared(subject, moving, Settings(effort=effort), nothing).settings.pruning
        for effort in (6, 7, 8, 9)
    ]
    assert found == [20, 20, 40, 40]


def test_tries_of_a_level_begin_with_those_below(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def noted(scene: Scene, settings: Settings) -> Prepared:
        seen.append(settings.pruning)
        return made(scene, settings)

    monkeypatch.setattr(structural, "made", noted)
    subject, moving = avatar(60, 2, expressions=0), motion(1, 2, 0)
    tried = []
    for effort in (6, 7, 8):
        seen.clear()
        prepared(subject, moving, Settings(effort=effort), nothing)
        tried.append(list(seen))
    assert [len(each) for each in tried] == [3, 4, 6]
    assert tried[1][:3] == tried[0] and tried[2][:4] == tried[1] and tried[0] == [5, 5, 20]
