"""The motion benchmark: the clips are those that ACL was given, and its figures are reached with far fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

from reference_encoder.content import Motion
from tools.bench_rd_motion import (
    CLIPS,
    acl,
    measure_means,
    measure_modes,
    measure_motion,
    measure_track,
    peer_clip,
    pose_errors,
    rate,
    skeleton_avatar,
    summary,
)


def test_every_clip_of_the_table_is_there_with_as_many_frames() -> None:
    peers = acl()
    assert (len(peers), sum(peer.bytes for peer in peers)) == (9, 106541)
    assert [peer_clip(peer, CLIPS).count for peer in peers] == [peer.frames for peer in peers]


def test_errors_by_hand() -> None:
    """The root 1 mm aside moves all joints by 1 mm; a toe that turns by 0.01 rad moves nothing but its own shell."""
    avatar = skeleton_avatar()
    still = Motion(np.zeros((1, 55, 3)), np.zeros((1, 3)), np.zeros((1, 0)), peer_clip(acl()[0], CLIPS).fps)
    poses = np.zeros((1, 168))
    poses[0, 0] = 0.001 * 2**20
    joint, shell = pose_errors(avatar, still, poses)
    assert joint == pytest.approx(1.0) and shell == pytest.approx(1.0)
    poses[0, 0], poses[0, 3 + 3 * 54] = 0, 0.01 * 2**28
    joint, shell = pose_errors(avatar, still, poses)
    assert joint.max() == pytest.approx(0, abs=1e-9) and shell.max() == pytest.approx(0.3, rel=1e-3)
    assert (shell > 0.1).sum() == 1


@pytest.mark.parametrize(("random_access", "share"), [(0.0, 0.38), (1.0, 0.50)])
def test_a_clip_at_the_errors_of_the_peer(random_access: float, share: float) -> None:
    (row,) = measure_motion(["cmu_02_03_run_jog"], random_access=random_access)
    assert row.joint_max <= row.peer.joint_max and row.shell_max <= row.peer.shell_max
    assert row.bytes <= share * row.peer.bytes
    assert rate([row]) == pytest.approx(row.bytes * 8 * 30 / 1000 / 44)


def acl_bytes(clip: str) -> int:
    return next(peer.bytes for peer in acl() if peer.clip == clip)


def test_modes_and_mean_errors_of_a_clip() -> None:
    """Units of one frame cost at most 15 % more than the best of hierarchical groups; errors come out as asked for."""
    modes = {(mode.name, mode.random_access): mode for mode in measure_modes(["cmu_02_03_run_jog"])}
    for access in (0.0, 1.0):
        grouped = min(modes[f"groups of {n}", access].bytes for n in (2, 4))
        assert modes["long units", access].bytes < modes["one frame a unit", access].bytes < 1.15 * grouped
    found = summary(list(modes.values()))
    assert found["to_acl"] == modes["long units", 0.0].bytes / acl_bytes("cmu_02_03_run_jog")
    assert found["to_hgc_avatar"] == pytest.approx(modes["long units", 0.0].bytes / 44 / 646)
    assert (
        found["to_acl_with_a_key_a_second"] > found["to_acl"] and 1 < found["low_delay_to_best_groups"] < 1.15
    )
    means = measure_means(["cmu_02_03_run_jog"])
    assert [mode.joint_mean for mode in means] == pytest.approx([0.3, 0.3, 1, 1, 3, 3], rel=0.04)
    assert means[0].bytes > means[2].bytes > means[4].bytes


def test_a_track_of_weights() -> None:
    """Weights at random: mean errors come out as asked for, and ten times the error costs log2(10) bits less."""
    fps = peer_clip(acl()[0], CLIPS).fps
    weights = np.stack([np.random.default_rng(5).uniform(0, 1, 400), np.zeros(400)], axis=1)
    track = Motion(np.zeros((400, 1, 3)), np.zeros((400, 3)), weights, fps, ("head",), ("smile", "blink"))
    fine, coarse = measure_track(track, (0.5, 5.0))
    assert 0.8 * 0.5 < fine.weight_mean <= 0.5 and 0.8 * 5 < coarse.weight_mean <= 5
    assert fine.weight_max <= 0.51 * fine.step
    bits = np.log2(coarse.weight_mean / fine.weight_mean)
    assert fine.bytes - coarse.bytes == pytest.approx(400 * bits / 8, rel=0.05)
