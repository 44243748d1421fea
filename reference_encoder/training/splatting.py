"""§9 Differentiable rendering in floats: one interface, our own splatter on the CPU or gsplat on CUDA."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import torch

from reference_decoder.threads import PARALLEL
from reference_encoder.content import ContentError
from reference_encoder.float_render import LOW_PASS, NEAR, FloatCamera
from reference_encoder.training.projection import numbers_of, project, project_gradient
from reference_encoder.training.raster import COLOUR, OPACITY, Blended


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
        image, rest = _Splats.apply(means, factors, opacities, colours, camera)
        background = _tensor(np.asarray(camera.background), means)
        return torch.cat([image + rest[..., None] * background, 1 - rest[..., None]], dim=2)


def _tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=like.dtype, device=like.device)


class _Splats(torch.autograd.Function):
    """The kernels of `projection` and `raster` as one differentiable function."""

    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        factors: torch.Tensor,
        opacities: torch.Tensor,
        colours: torch.Tensor,
        camera: FloatCamera,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.means, ctx.factors = (part.detach().contiguous().numpy() for part in (means, factors))
        ctx.view = numbers_of(camera, ctx.means.dtype)
        splats = np.empty((len(ctx.means), COLOUR + colours.shape[1]), ctx.means.dtype)
        splats[:, OPACITY], splats[:, COLOUR:] = opacities.detach().numpy(), colours.detach().numpy()
        depths = np.empty(len(ctx.means), ctx.means.dtype)
        with PARALLEL:
            project(ctx.means, ctx.factors, ctx.view, splats, depths)
        order = np.argsort(depths, kind="stable")
        order = order[np.searchsorted(depths[order], NEAR) :]
        ctx.blended = Blended(splats, order, camera.width, camera.height)
        return torch.from_numpy(ctx.blended.image), torch.from_numpy(ctx.blended.transmittance)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        image, rest = gradients
        by_splats = ctx.blended.gradient(image.numpy(), rest.numpy())
        by_means, by_factors = np.empty_like(ctx.means), np.empty_like(ctx.factors)
        with PARALLEL:
            project_gradient(ctx.means, ctx.factors, ctx.view, by_splats, by_means, by_factors)
        found = by_means, by_factors, by_splats[:, OPACITY], by_splats[:, COLOUR:]
        return *(torch.from_numpy(part) for part in found), None


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
