"""A first guess for the generator: what the training pictures say of each Gaussian's colour, frame by frame.

A picture is a weighted mean of colours, so the error of a pixel belongs to the Gaussians that it shows, in
proportion: projected back and averaged, it is one Jacobi step towards the colours that a frame wants. Regressing the
colour head on them sees all Gaussians in every step and costs no rendering; pictures then teach the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reference_encoder.splat_check import SH_C0
from reference_encoder.training.posed import Offsets, PosedAvatar
from reference_encoder.training.shots import Shot
from reference_encoder.training.splatting import Splatter
from reference_encoder.training.twin import Twin

Picture = Callable[[str, int], Shot]
Progress = Callable[[str, int, int], None]
_LEAST_SHOWN = 0.25  # pixels: Gaussians that are shown less have their errors damped
_RATE = 1.5e-3  # Adam's learning rate, which falls by a cosine
_RAMP = 30  # steps in which it rises
_GRADIENT = 1.0  # norm to which gradients are cut: some frames are unlike all others


@dataclass(frozen=True)
class Wanted:
    """§7.9.9 Colour offsets (N, 3) that a frame wants, and how many pixels (N,) of it show the Gaussian."""

    colour: torch.Tensor
    shown: torch.Tensor


def wanted(
    posed: PosedAvatar, splatter: Splatter, picture: Picture, frame: int, cameras: list[str]
) -> Wanted:
    """What the pictures of one frame say, with the canonical Gaussians as they are."""
    zero = torch.zeros_like(posed.position)
    error, shown = zero, zero[:, 0]
    for camera in cameras:
        shot = picture(camera, frame)
        colour = zero.clone().requires_grad_()
        image = posed.render(splatter, frame, shot.camera, Offsets(colour=colour))[..., :3]
        difference = ((image - shot.target) ** 2).sum(dim=2) / 2
        (gradient,) = torch.autograd.grad((difference * shot.weight).sum(), colour)
        paint = torch.ones_like(shown).requires_grad_()
        cover = posed.render(splatter, frame, shot.camera, paint=paint)[..., 0]
        (seen,) = torch.autograd.grad((cover * shot.weight).sum(), paint)
        error, shown = error - gradient / SH_C0, shown + seen
    return Wanted(error / (shown + _LEAST_SHOWN)[:, None], shown)


def regress(
    twin: Twin,
    offsets: Callable[[int], Offsets],
    targets: dict[int, Wanted],
    face: Callable[[], torch.Tensor],
    steps: int,
    rng: np.random.Generator,
    progress: Progress,
) -> None:
    """Trains the generator until its colours are those wanted, as far as `steps` of Adam go.

    `face` is a further loss, 1 if nothing of it is learned.
    """
    optimiser = torch.optim.Adam(twin.parameters(), lr=_RATE, eps=1e-15)
    frames = list(targets)
    scale = sum(_square(t.colour, t.shown) for t in targets.values()) / len(frames)
    for step in range(steps):
        for group in optimiser.param_groups:
            fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = _RATE * fall * min(1.0, (step + 1) / _RAMP)
        frame = frames[int(rng.integers(len(frames)))]
        made, target = offsets(frame), targets[frame]
        assert made.colour is not None
        loss = _square(made.colour - target.colour, target.shown) / scale + face()
        if made.position is not None:  # nothing is known of places yet
            loss = loss + (made.position**2).mean() * 1e4
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), _GRADIENT)
        optimiser.step()
        progress(f"first guess, {float(loss.detach()):.2f} of the error left", step + 1, steps)


def _square(values: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    return ((values**2).sum(dim=1) * shown).sum() / shown.sum().clamp(min=1e-9)
