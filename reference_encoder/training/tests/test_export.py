"""A model as a stream: the decoder's maps are the twin's to the bit, and its pictures are those of training."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_decoder import Camera, Compiled, Decoder  # noqa: E402
from reference_encoder.content import Avatar, ContentError, Gaussians, Motion, Rig  # noqa: E402
from reference_encoder.float_render import FloatCamera  # noqa: E402
from reference_encoder.quantise import Settings  # noqa: E402
from reference_encoder.training.dataset import MultiView  # noqa: E402
from reference_encoder.training.export import WeightCoding, export  # noqa: E402
from reference_encoder.training.splatting import CpuSplatter  # noqa: E402
from reference_encoder.training.trainer import Model  # noqa: E402
from reference_encoder.training.twin import HEADS, Topology  # noqa: E402

COUNT, FRAMES = 300, 3
PLAIN = WeightCoding.of(False, 0.0)
SETTINGS = Settings(effort=1, position_step=2**-17, scale_step=1 / 256, rotation_step=1 / 512, sh_step=1 / 256,
                    colour_step=1 / 512, opacity_step=1 / 4096, smallest_scale=2.0**-10, pruning=0.0)  # fmt: skip
CAMERA = Camera.look_at(np.array([0.3, 1.0, 3.0]), np.array([0.0, 0.9, 0.0]), 64, 64, 0.8)
TOPOLOGY = Topology(
    map_bits=5, input_level=1, encoder=(8, 10, 12), decoder=(8, 9, 10, 11), modulated=(0, 1, 0, 1), mapping=6,
    heads=tuple(HEADS), head_width=3, normalising_joint=1,
)  # fmt: skip


def avatar() -> Avatar:
    rng = np.random.default_rng(3)
    positions = rng.uniform((-0.4, 0, -0.2), (0.4, 1.8, 0.2), (COUNT, 3))
    rotations = rng.normal(size=(COUNT, 4))
    gaussians = Gaussians(
        positions,
        rotations / np.linalg.norm(rotations, axis=1, keepdims=True),
        rng.uniform(0.02, 0.05, (COUNT, 3)),
        rng.uniform(0.5, 0.9, COUNT),
        rng.normal(0, 0.3, (COUNT, 4, 3)),
    )
    rig = Rig(("a", "b", "c"), np.array([-1, 0, 1]), np.array([[0.0, 0.8, 0], [0, 1.2, 0], [0, 1.5, 0]]))
    share = positions[:, 1] / 1.8
    joints = np.stack([np.zeros(COUNT, int), np.where(share > 0.7, 2, 1)], axis=1)
    raised = np.where(share > 0.8, 0.05, 0)[:, None] * np.array([[[0, 1, 0]]])
    return Avatar(gaussians, rig, joints, np.stack([1 - share, share], axis=1), ("up",), raised)


def model(topology: Topology = TOPOLOGY) -> Model:
    """A generator with large random weights, whose offsets fill their ranges without leaving the body."""
    rng = np.random.default_rng(8)
    motion = Motion(
        rng.normal(0, 0.4, (FRAMES, 3, 3)), rng.normal(0, 0.1, (FRAMES, 3)), rng.uniform(0, 1, (FRAMES, 1)),
        Fraction(30), ("a", "b", "c"), ("up",),
    )  # fmt: skip
    data = MultiView(
        {}, motion, np.zeros(FRAMES, bool), {}, lambda c, f: pytest.fail("no pictures"), frozenset()
    )
    torch.manual_seed(4)
    made = Model(avatar(), data, topology, torch.device("cpu"))
    with torch.no_grad():
        made.twin.head.weight *= 2
        for layer in made.twin.layers().values():
            layer.bias += torch.randn_like(layer.bias) * 0.2
    return made


def test_the_decoders_maps_are_the_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = model(), []
    original = Compiled.maps

    def record(self: Any, generator: Any, inputs: np.ndarray, vector: np.ndarray) -> np.ndarray:
        seen.append((np.array(inputs), np.array(vector)))
        return original(self, generator, inputs, vector)

    monkeypatch.setattr(Compiled, "maps", record)
    still, stream = export(made, made.posed.motion, SETTINGS, PLAIN)
    twin = made.twin.double()
    for number, frame in enumerate(Decoder(stream, strict=True).frames()):
        found = np.asarray(frame.maps).reshape(-1, 32, 32)
        inputs, vector = seen[-1]
        maps, pose = torch.from_numpy(inputs.reshape(12, 16, 16)), torch.from_numpy(vector)
        expected = twin(maps.double(), pose.double()).detach().numpy()
        assert np.abs(found).max() > 500
        np.testing.assert_array_equal(found, expected)
        own, own_pose = made.inputs(number)
        assert np.abs(own.numpy() - maps.numpy()).max() <= 1 and np.abs(own_pose.numpy() - vector).max() <= 1
    assert len(still) < len(stream)


def test_decoded_pictures_are_those_of_training() -> None:
    made = model()
    _, stream = export(made, made.posed.motion, SETTINGS, PLAIN)
    splatter, camera = CpuSplatter(), FloatCamera.of(CAMERA)
    for number, frame in enumerate(Decoder(stream, strict=True).frames()):
        decoded = frame.render(CAMERA)[..., :3] / 255
        with torch.no_grad():
            trained = (
                made.posed.render(splatter, number, camera, made.offsets(number))[..., :3].clamp(0, 1).numpy()
            )
            still = made.posed.render(splatter, number, camera)[..., :3].clamp(0, 1).numpy()
        error, offset = ((decoded - trained) ** 2).mean(), ((decoded - still) ** 2).mean()
        assert -10 * np.log10(error) > 38 and offset > 5 * error


def test_a_decoder_has_the_weights_that_the_trellis_chose() -> None:
    made = model()
    coding = WeightCoding()
    chosen = [layer.weights.ravel() for layer in coding.layers(made).values()]
    _, stream = export(made, made.posed.motion, SETTINGS, coding)
    frame = next(iter(Decoder(stream, strict=True).frames()))
    assert frame.generator is not None
    np.testing.assert_array_equal(frame.generator.parameters[0], np.concatenate(chosen))


def test_one_kind_of_offset_is_enough() -> None:
    made = model(replace(TOPOLOGY, heads=("colour",), modulated=(0, 0, 0, 0), head_width=1))
    still, stream = export(made, made.posed.motion, SETTINGS, PLAIN)
    first, second = (next(iter(Decoder(data, strict=True).frames())) for data in (still, stream))
    for plain, moved in zip(first.gaussians, second.gaussians, strict=True):
        np.testing.assert_array_equal(plain, moved)
    assert np.abs(np.asarray(first.appearance[1])[:, 0] - np.asarray(second.appearance[1])[:, 0]).max() > 50


def test_a_motion_for_another_rig_is_refused() -> None:
    made = model()
    with pytest.raises(ContentError):
        export(made, replace(made.posed.motion, rotations=np.zeros((FRAMES, 5, 3))), SETTINGS, PLAIN)
