"""§7 An avatar whose canonical Gaussians torch can change, posed and offset as a decoder does it, in floats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn

from reference_encoder.content import Avatar, Motion
from reference_encoder.float_model import blend_matrices, forward_kinematics
from reference_encoder.float_render import FloatCamera
from reference_encoder.quality import quaternion_matrices
from reference_encoder.splat_transform import sh_basis
from reference_encoder.training.splatting import Splatter

_OPAQUE = 1e-3  # opacities are kept this far from 0 and 1 where their logarithms are learned
_CACHED_FRAMES = 1000  # about 4 MB each for 64,000 Gaussians
_MOVED = 1e-3  # metres by which expressions move what counts as face


@dataclass(frozen=True)
class Pose:
    """What one frame does to every Gaussian."""

    blend: torch.Tensor  # (N, 3, 4)
    shift: torch.Tensor  # (N, 3) the expressions' displacement


@dataclass(frozen=True)
class Placed:
    """The Gaussians of one frame, where every camera sees them."""

    means: torch.Tensor  # (N, 3)
    turns: torch.Tensor  # (N, 3, 3) of the blends
    factors: torch.Tensor  # (N, 3, 3)
    opacities: torch.Tensor  # (N,)
    sh: torch.Tensor  # (N, K, 3)


@dataclass
class Offsets:
    """§7.9 What the generator adds to the canonical Gaussians: metres, coefficients, octaves, radians."""

    position: torch.Tensor | None = None
    colour: torch.Tensor | None = None
    opacity: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    rotation: torch.Tensor | None = None


class PosedAvatar(nn.Module):
    """Canonical Gaussians as parameters; everything else of an avatar and a motion as it is."""

    def __init__(self, avatar: Avatar, motion: Motion, device: torch.device):
        super().__init__()
        self.avatar, self.motion, self._device = avatar, motion, device
        g = avatar.gaussians
        self.position = self._parameter(g.positions)
        self.sh0, self.sh_rest = self._parameter(g.sh[:, :1]), self._parameter(g.sh[:, 1:])
        opacity = g.opacities.clip(_OPAQUE, 1 - _OPAQUE)
        self.opacity = self._parameter(np.log(opacity / (1 - opacity)))
        self.log_scale = self._parameter(np.log(g.scales))
        self.turn = self._parameter(np.zeros_like(g.positions))
        self._axes = self._tensor(quaternion_matrices(g.rotations))
        self._moved = np.flatnonzero(np.abs(avatar.expressions).max(axis=(0, 2), initial=0) > 0)
        reach = np.linalg.norm(avatar.expressions[:, self._moved], axis=2).max(axis=0, initial=0)
        face = np.zeros(g.count)
        face[self._moved] = reach > _MOVED
        self.face = self._tensor(face)  # (N,) 1 for those of the face: those that expressions move
        self._shapes = avatar.expressions[:, self._moved].astype(np.float32)
        self._fixed = ((-1, -1), self._axes)  # the factors of shapes that do not train, and for which state
        self.pose = lru_cache(_CACHED_FRAMES)(self._pose)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=self._device)

    def _parameter(self, values: np.ndarray) -> nn.Parameter:
        return nn.Parameter(self._tensor(values))

    def _pose(self, frame: int) -> Pose:
        avatar, motion = self.avatar, self.motion
        matrices = forward_kinematics(avatar.rig, motion.rotations[frame], motion.translations[frame])
        shift = np.zeros_like(avatar.gaussians.positions)
        shift[self._moved] = np.tensordot(motion.expressions[frame], self._shapes, 1)
        blend = blend_matrices(avatar.skin_joints, avatar.skin_weights, matrices)
        return Pose(self._tensor(blend), self._tensor(shift))

    def render(
        self,
        splatter: Splatter,
        frame: int,
        camera: FloatCamera,
        offsets: Offsets | None = None,
        paint: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The image (H, W, 4) of a frame; with `paint` (N,) that grey in place of the colours."""
        return self.draw(splatter, self.place(frame, offsets or Offsets()), camera, paint)

    def place(self, frame: int, offsets: Offsets) -> Placed:
        """§7.4 The Gaussians of a frame: offset, skinned."""
        pose = self.pose(frame)
        position = self.position + pose.shift
        if offsets.position is not None:
            position = position + offsets.position
        turn = pose.blend[..., :3]
        mean = (turn * position[:, None]).sum(dim=2) + pose.blend[..., 3]
        opacity = torch.sigmoid(self.opacity)
        if offsets.opacity is not None:
            opacity = (opacity + offsets.opacity[:, 0]).clamp(0, 1)
        sh0 = self.sh0 if offsets.colour is None else self.sh0 + offsets.colour[:, None]
        return Placed(
            mean, turn, turn @ self._factors(offsets), opacity, torch.cat([sh0, self.sh_rest], dim=1)
        )

    def draw(
        self, splatter: Splatter, placed: Placed, camera: FloatCamera, paint: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The image (H, W, 4) that a camera takes of a frame, as `render` has it."""
        colour = self._colours(placed, camera) if paint is None else paint[:, None].expand(-1, 3)
        return splatter(placed.means, placed.factors, placed.opacities, colour, camera)

    def _factors(self, offsets: Offsets) -> torch.Tensor:
        """§7.9 The shape factors (N, 3, 3) in the canonical pose: scaled, then turned by the offset."""
        if offsets.scale is None and offsets.rotation is None and not self.log_scale.requires_grad:
            state = self.log_scale._version, self.turn._version
            if self._fixed[0] != state:
                self._fixed = state, rotations(self.turn) @ (self._axes * self.log_scale.exp()[:, None])
            return self._fixed[1].detach()
        size = self.log_scale.exp()
        if offsets.scale is not None:
            size = size * torch.exp2(offsets.scale)
        factors = rotations(self.turn) @ (self._axes * size[:, None])
        return factors if offsets.rotation is None else rotations(offsets.rotation) @ factors

    def _colours(self, placed: Placed, camera: FloatCamera) -> torch.Tensor:
        """§9.5 Colours seen from the camera; how the direction depends on the position is left out."""
        degree = round(placed.sh.shape[1] ** 0.5) - 1
        with torch.no_grad():
            eye = self._tensor(camera.rotation.T @ camera.translation)
            direction = (placed.turns * (placed.means + eye)[..., None]).sum(dim=1)
            unit = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-9)
            basis = self._tensor(sh_basis(unit.cpu().numpy(), degree))
        return (0.5 + (basis[..., None] * placed.sh).sum(dim=1)).clamp(min=0)

    @torch.no_grad()
    def canonical(self) -> Avatar:
        """The avatar with the Gaussians as they are now."""
        values = {name: parameter.double().cpu().numpy() for name, parameter in self.named_parameters()}
        matrices = (rotations(self.turn) @ self._axes).double().cpu().numpy()
        gaussians = replace(
            self.avatar.gaussians,
            positions=values["position"],
            rotations=Rotation.from_matrix(matrices).as_quat(canonical=True, scalar_first=True),
            scales=np.exp(values["log_scale"]),
            opacities=1 / (1 + np.exp(-values["opacity"])),
            sh=np.concatenate([values["sh0"], values["sh_rest"]], axis=1),
        )
        return replace(self.avatar, gaussians=gaussians)


def rotations(vectors: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (N, 3, 3) of axis-angle vectors (N, 3), by Rodrigues' formula, smooth at zero."""
    square = (vectors * vectors).sum(dim=1)[:, None, None]
    angle = (square + 1e-12).sqrt()
    x, y, z = vectors.unbind(dim=1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    sine, versine = torch.sin(angle) / angle, (1 - torch.cos(angle)) / (square + 1e-12)
    return identity + sine * cross + versine * (cross @ cross)
