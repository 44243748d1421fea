"""§5.6 What is decided by looking at pictures: portraits of heads, and steps that are tried to the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import spec
from reference_decoder.units import level_limits
from reference_encoder.blending import picture_of
from reference_encoder.content import Avatar
from reference_encoder.encode import headers
from reference_encoder.quantise import Settings
from reference_encoder.sensitivity import head_share, portrait, projected, ring
from reference_encoder.structural import EFFORTS, changed, cost_of, picked, prepared, searched, stages, views
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
    bare, close = (
        prepared(subject, moving, Settings(effort=2, closeness=closeness), nothing)
        for closeness in (0.0, 1.0)
    )
    assert bare.seen is not None and close.seen is not None
    kept = [int((ready.avatar.skin_joints == 1).sum()) for ready in (bare, close)]
    assert kept[0] <= kept[1] <= 60
    assert close.theta == bare.theta and close.seen.colour.max() > 4 * bare.seen.colour.max()


def test_other_steps_are_kept_only_if_they_cost_less() -> None:
    """Colours far too fine at first: of all moves the one that makes them coarser must be among those that gain."""
    subject, moving = avatar(150, 2, expressions=0), motion(1, 2, 0)
    ready = prepared(subject, moving, Settings(effort=2), nothing)
    ready = changed(ready, replace(ready.settings, colour_step=ready.settings.colour_step / 16))
    sequence, header = headers(ready.avatar, moving, ready.steps, ready.settings)
    known = level_limits(spec.standard(), sequence["level"]) | sequence | header
    shown = picked(views(subject, moving, ready.settings))
    pictures = [picture_of(projected(subject.gaussians, view, 2.0**-14), view.camera) for view in shown]
    before = cost_of(ready, known, shown, pictures)
    found = searched(ready, known, shown, pictures, range(24), nothing)
    assert cost_of(found, known, shown, pictures) < before
    assert found.settings.colour_step > ready.settings.colour_step
    assert searched(ready, known, shown, pictures, range(0), nothing) is ready


def test_a_level_has_the_results_of_those_below_that_look_alike() -> None:
    found = [stages(EFFORTS[level]) for level in (3, 4, 5, 6, 9)]
    assert found == [[0], [0], [0], [0, 12], [0, 12, 24, 36, 48]]
