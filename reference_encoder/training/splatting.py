"""§9 Differentiable rendering in floats: one interface, our own splatter on the CPU or gsplat on CUDA."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch

from reference_encoder.content import ContentError
from reference_encoder.float_render import LIMIT_MARGIN, LOW_PASS, NEAR, FloatCamera
from reference_encoder.training.raster import Blended


class Splatter(Protocol):
    """A renderer of Gaussians that torch can differentiate."""

    device: torch.device

    def __call__(
        self,
        means: torch.Tensor,
        factors: torch.Tensor,
        opacities: torch.Tensor,
        colours: torch.Tensor,
        camera: FloatCamera,
    ) -> torch.Tensor:
        """The image (H, W, 4) before clamping: red, green, blue over the camera's background, coverage.

        means (N, 3) and factors (N, 3, 3) in metres (covariance = factor times its transpose), opacities
        (N,) in 0..1, colours (N, 3).
        """
        ...


class CpuSplatter:
    """§9 Our own: projection by torch, blending by the kernels of `raster`, in float32 or float64."""

    device = torch.device("cpu")

    def __call__(
        self,
        means: torch.Tensor,
        factors: torch.Tensor,
        opacities: torch.Tensor,
        colours: torch.Tensor,
        camera: FloatCamera,
    ) -> torch.Tensor:
        inside = means @ _tensor(camera.rotation, means).T + _tensor(camera.translation, means)
        order = torch.argsort(inside.detach()[:, 2], stable=True)
        order = order[inside.detach()[order, 2] >= NEAR]
        centres, conics = _project(inside, factors, camera)
        splats = torch.cat([centres, conics, opacities[:, None], colours], dim=1)
        image, rest = _Blend.apply(splats, order, camera.width, camera.height)
        background = _tensor(np.asarray(camera.background), means)
        return torch.cat([image + rest[..., None] * background, 1 - rest[..., None]], dim=2)


def _tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=like.dtype, device=like.device)


def _project(
    inside: torch.Tensor, factors: torch.Tensor, camera: FloatCamera
) -> tuple[torch.Tensor, torch.Tensor]:
    """§9.4 Centres (N, 2) in pixels and inverse covariances (N, 3) of Gaussians at `inside` camera axes."""
    focal, principal = (_tensor(np.asarray(v), inside) for v in (camera.focal, camera.principal))
    size = _tensor(np.array([camera.width, camera.height]), inside)
    depth = inside[:, 2:].clamp(min=NEAR)
    slope = inside[:, :2] / depth
    margin = LIMIT_MARGIN * size / focal
    limited = torch.maximum(
        torch.minimum(slope, (size - principal) / focal + margin), -principal / focal - margin
    )
    turned = _tensor(camera.rotation, inside) @ factors
    rows = (turned[:, :2] - limited[..., None] * turned[:, 2:]) * (focal / depth)[..., None]
    a, c = ((rows * rows).sum(dim=2) + LOW_PASS).unbind(dim=1)
    b = (rows[:, 0] * rows[:, 1]).sum(dim=1)
    determinant = a * c - b * b
    return slope * focal + principal, torch.stack([c, -b, a], dim=1) / determinant[:, None]


class _Blend(torch.autograd.Function):
    """The kernels of `raster` as one differentiable function of `splats`."""

    @staticmethod
    def forward(
        ctx: Any, splats: torch.Tensor, order: torch.Tensor, width: int, height: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.blended = Blended(splats.detach().contiguous().numpy(), order.numpy(), width, height)
        return torch.from_numpy(ctx.blended.image), torch.from_numpy(ctx.blended.transmittance)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        image, rest = gradients
        return torch.from_numpy(ctx.blended.gradient(image.numpy(), rest.numpy())), None, None, None


class GsplatSplatter:
    """gsplat's rasterisation on CUDA (Ye et al. 2024), which has the same constants as clause 9."""

    device = torch.device("cuda")

    def __call__(
        self,
        means: torch.Tensor,
        factors: torch.Tensor,
        opacities: torch.Tensor,
        colours: torch.Tensor,
        camera: FloatCamera,
    ) -> torch.Tensor:
        from gsplat import rasterization

        view = torch.eye(4, device=means.device)
        view[:3, :3], view[:3, 3] = _tensor(camera.rotation, means), _tensor(camera.translation, means)
        (fx, fy), (cx, cy) = camera.focal, camera.principal
        matrix = _tensor(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), means)
        image, coverage, _ = rasterization(
            means, None, None, opacities, colours, view[None], matrix[None], camera.width, camera.height,
            near_plane=NEAR, eps2d=LOW_PASS, covars=factors @ factors.transpose(1, 2), packed=False,
        )  # fmt: skip
        background = _tensor(np.asarray(camera.background), means)
        return torch.cat([image[0] + (1 - coverage[0]) * background, coverage[0]], dim=2)


def gsplat_missing() -> str:
    """Why gsplat cannot be used here, or nothing."""
    if find_spec("gsplat") is None:
        return "the package gsplat is not installed"
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    return ""


def splatter(name: str = "auto") -> Splatter:
    """The backend called `cpu` or `gsplat`; `auto` takes gsplat where it can run. Raises ContentError."""
    missing = gsplat_missing()
    if name == "gsplat" and missing:
        raise ContentError(f"renderer gsplat: {missing}")
    if name not in ("auto", "cpu", "gsplat"):
        raise ContentError(f"renderer {name!r} is not one of auto, cpu, gsplat")
    return CpuSplatter() if name == "cpu" or missing else GsplatSplatter()
