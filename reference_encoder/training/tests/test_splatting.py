"""Our splatter against the integer renderer, the float64 one and finite differences; gsplat where it runs."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'hga[train]'")

from reference_decoder.rendering import Camera, render  # noqa: E402
from reference_encoder.content import ContentError  # noqa: E402
from reference_encoder.float_render import FloatCamera, render_float  # noqa: E402
from reference_encoder.training.splatting import CpuSplatter, gsplat_missing, splatter  # noqa: E402

SH_C0 = 0.28209479177387814


def scene(count: int, seed: int = 3) -> dict[str, np.ndarray]:
    """A cloud of Gaussians about a metre wide before a camera, some of them behind it or beside the picture."""
    rng = np.random.default_rng(seed)
    return {
        "means": rng.normal(0, 0.35, (count, 3)) + np.where(rng.random((count, 1)) < 0.02, [0, 0, 6.0], 0),
        "factors": rng.normal(0, 0.03, (count, 3, 3)),
        "opacities": rng.uniform(0.01, 1, count),
        "colours": rng.uniform(0, 1, (count, 3)),
    }


def camera(size: int) -> Camera:
    return Camera.look_at(
        np.array([0.2, 0.3, 3.0]), np.zeros(3), size, size + 5, 0.45, background=(30, 90, 160)
    )


def tensors(values: dict[str, np.ndarray], dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=dtype, requires_grad=True) for value in values.values()]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * float(np.log10(((a - b) ** 2).mean()))


def test_agrees_with_the_integer_renderer() -> None:
    values, view = scene(3000), camera(96)
    image = CpuSplatter()(*tensors(values, torch.float32), FloatCamera.of(view)).detach().numpy()
    sh = ((values["colours"] - 0.5) / SH_C0)[:, None]
    whole = [
        np.rint(part * 2.0**bits).astype(np.int32)
        for part, bits in (
            (values["means"], 20),
            (values["factors"], 24),
            (values["opacities"], 14),
            (sh, 12),
        )
    ]
    expected = render(whole[0], whole[1], None, whole[2], whole[3], view) / 255
    assert expected[..., 3].mean() > 0.3
    assert psnr(np.rint(image.clip(0, 1) * 255) / 255, expected) > 50


def test_is_the_float64_renderer_in_float64() -> None:
    values, view = scene(500), FloatCamera.of(camera(40))
    image = CpuSplatter()(*tensors(values, torch.float64), view).detach().numpy()
    sh = ((values["colours"] - 0.5) / SH_C0)[:, None]
    expected = render_float(values["means"], values["factors"], None, values["opacities"], sh, view)
    np.testing.assert_allclose(image.clip(0, 1), expected, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    """Central differences; where a tiny step moves a Gaussian across a threshold of clause 9 there is no derivative."""
    values, view, step = scene(12, seed=5), FloatCamera.of(camera(20)), 1e-6
    values["factors"] *= 3
    values["opacities"] = values["opacities"].clip(0.1, 0.9)
    weight = torch.tensor(np.random.default_rng(0).normal(size=(25, 20, 4)))

    def loss(arguments: list[torch.Tensor]) -> torch.Tensor:
        return (CpuSplatter()(*arguments, view) * weight).sum()

    arguments = tensors(values, torch.float64)
    loss(arguments).backward()
    rng = np.random.default_rng(1)
    for argument in arguments:
        assert argument.grad is not None and argument.grad.abs().max() > 0
        close = []
        for place in rng.choice(argument.numel(), 10, replace=False):
            ends = []
            for sign in (1, -1):
                moved = [other.detach().clone() for other in arguments]
                moved[[a is argument for a in arguments].index(True)].view(-1)[place] += sign * step
                ends.append(float(loss(moved)))
            expected, found = (ends[0] - ends[1]) / (2 * step), float(argument.grad.view(-1)[place])
            close.append(abs(found - expected) <= 1e-4 * max(1.0, abs(expected)))
        assert sum(close) >= 9, argument.shape


def test_hidden_and_invisible_gaussians_get_no_gradient() -> None:
    view = FloatCamera.of(camera(20))
    means = torch.tensor([[0.0, 0, 0], [0, 0, 9.0]], dtype=torch.float64, requires_grad=True)
    factors = torch.eye(3, dtype=torch.float64).expand(2, 3, 3) * 0.05
    ones = torch.ones(2, dtype=torch.float64) * 0.5
    CpuSplatter()(means, factors, ones, ones[:, None].expand(2, 3), view).sum().backward()
    assert means.grad is not None and means.grad[1].abs().max() == 0


def test_says_which_backend_there_is() -> None:
    with pytest.raises(ContentError, match="not one of auto, cpu, gsplat"):
        splatter("vulkan")
    if missing := gsplat_missing():
        with pytest.raises(ContentError, match=missing):
            splatter("gsplat")
        assert isinstance(splatter("auto"), CpuSplatter)


@pytest.mark.skipif(bool(gsplat_missing()), reason=f"gsplat not exercised: {gsplat_missing()}")
def test_gsplat_agrees_with_ours() -> None:
    values, view = scene(3000), FloatCamera.of(camera(96))
    found = []
    for backend in (CpuSplatter(), splatter("gsplat")):
        arguments = [
            torch.tensor(v, dtype=torch.float32, device=backend.device, requires_grad=True)
            for v in values.values()
        ]
        image = backend(*arguments, view)
        image.square().sum().backward()
        found.append(
            (image.detach().cpu().numpy(), [a.grad.cpu().numpy() for a in arguments if a.grad is not None])
        )
    assert psnr(found[0][0], found[1][0]) > 50
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(ours)
