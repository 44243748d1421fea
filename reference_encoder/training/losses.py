"""How far a picture is from its target: L1, SSIM (Wang et al. 2004) and, where its weights are, LPIPS."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

import torch
from torch.nn import functional as F

_WINDOW, _SPREAD = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@cache
def _kernel(device: torch.device) -> torch.Tensor:
    offsets = torch.arange(_WINDOW, dtype=torch.float32, device=device) - _WINDOW // 2
    weights = torch.exp(-(offsets**2) / (2 * _SPREAD**2))
    return weights / weights.sum()


def _blur(images: torch.Tensor) -> torch.Tensor:
    kernel = _kernel(images.device).to(images.dtype)
    count, pad = images.shape[0], _WINDOW // 2
    rows = F.conv2d(
        images[None], kernel.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, pad), groups=count
    )
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(pad, 0), groups=count)[0]


def ssim_map(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """SSIM at each pixel (H, W) of images (H, W, 3) in 0..1, with a Gaussian window of 11 pixels."""
    x, y = a.permute(2, 0, 1), b.permute(2, 0, 1)
    mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).split(3)
    structure = (2 * mean_x * mean_y + _C1) * (2 * (xy - mean_x * mean_y) + _C2)
    energy = (mean_x**2 + mean_y**2 + _C1) * (xx - mean_x**2 + yy - mean_y**2 + _C2)
    return (structure / energy).mean(dim=0)


def picture_loss(
    image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, ssim_share: float, squared: float
) -> torch.Tensor:
    """L1 and 1 - SSIM, mixed, and so much of the squared error, summed over pixels by `weight` (H, W)."""
    difference = image - target
    error = ((1 - ssim_share) * difference.abs() + squared * difference**2).mean(dim=2)
    if ssim_share:
        error = error + ssim_share * (1 - ssim_map(image, target))
    return (error * weight).sum()


def lpips(device: torch.device) -> tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None, str]:
    """LPIPS (Zhang et al. 2018) of two images (H, W, 3) in 0..1, or None and why there is none."""
    try:
        network = import_module("lpips").LPIPS(net="vgg", verbose=False).to(device).eval()
    except ImportError:
        return None, "LPIPS is left out: the package lpips is not installed"
    except (OSError, RuntimeError) as error:  # the package fetches the weights when it is first used
        return None, f"LPIPS is left out: its weights are not here ({type(error).__name__})"

    def distance(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        a, b = (part.permute(2, 0, 1)[None] * 2 - 1 for part in (image, target))
        return network(a, b).mean()

    return distance, "LPIPS is part of the loss"
