"""SMPL, SMPL-X and FLAME model files, loaded by the `smplx` package, and its skinning as an oracle."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from reference_encoder.content import ContentError, Rig
from reference_encoder.rigs import BodyMesh, check_mesh, strongest
from reference_encoder.skeletons import FLAME_JOINTS, SMPL_JOINTS, SMPLX_JOINTS

# smplx class, joint names and template family of each kind of model file.
_KINDS = {
    "smplx": ("SMPLX", SMPLX_JOINTS, "smplx55"),
    "smpl": ("SMPL", SMPL_JOINTS, "smpl24"),
    "flame": ("FLAME", FLAME_JOINTS, "flame5"),
}


@dataclass(frozen=True)
class BodyModel:
    """A body model of one person: its mesh for our own skinning, and the package's own."""

    mesh: BodyMesh
    betas: np.ndarray  # (B,) the shape that `mesh` has
    _module: Any  # the smplx model, in float64

    def vertices(
        self, rotations: np.ndarray, translation: np.ndarray, *, expressions: np.ndarray | None = None
    ) -> np.ndarray:
        """Posed vertices (V, 3) in metres by `smplx.lbs` with the pose correctives zeroed.

        `rotations` (J, 3) axis-angle, hands included in full (no mean hand is added); `translation`
        (3,) metres; `expressions` (E,) weights. smplx regresses the joints from the expression too,
        where an avatar's joints stay: expressions near a joint differ by as much as that joint moves.
        """
        torch, lbs = import_module("torch"), import_module("smplx.lbs")
        module = self._module
        face = np.zeros(len(self.mesh.expression_names)) if expressions is None else expressions
        components, directions = self.betas, module.shapedirs[:, :, : len(self.betas)]
        if len(face):
            components = np.concatenate([components, face])
            directions = torch.cat([directions, module.expr_dirs], dim=-1)
        posed, _ = lbs.lbs(
            torch.as_tensor(components, dtype=torch.float64)[None],
            torch.as_tensor(np.asarray(rotations, dtype=np.float64).reshape(1, -1)),
            module.v_template,
            directions,
            torch.zeros_like(module.posedirs),
            module.J_regressor,
            module.parents,
            module.lbs_weights,
        )
        return posed[0].detach().numpy() + translation


def load_body_model(
    path: str | Path,
    kind: str,
    *,
    betas: np.ndarray | None = None,
    expressions: int = 10,
    influences: int = 8,
) -> BodyModel:
    """A licensed body model: `kind` is smplx, smpl or flame, `path` its file.

    SMPL-X comes as .npz or .pkl, SMPL as .pkl, FLAME as .pkl beside flame_static_embedding.pkl and
    with its usual name FLAME_<GENDER>.pkl. A pickle runs the code in it, and the package also lets an
    .npz hold pickles: load only files you trust. The mesh has the shape `betas` (the mean one by
    default), the first `expressions` expression directions and the `influences` strongest weights.
    Raises ContentError when the package or the file is missing or does not hold a model.
    """
    path = Path(path)
    if kind not in _KINDS:
        raise ContentError(f"body model: kind {kind!r} is not one of {', '.join(_KINDS)}")
    if not path.is_file():
        raise ContentError(f"body model: no file {path.name}")
    betas = np.zeros(0) if betas is None else np.asarray(betas, dtype=np.float64)
    module = _load_module(path, kind, len(betas), expressions)
    mesh = _mesh(module, kind, betas, influences, path.name)
    return BodyModel(mesh, betas, module)


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise ContentError(
            f"body model: the package {name!r} is missing; it carries non-commercial terms: "
            "pip install 'hga[smplx]' if they suit you"
        ) from None


def _load_module(path: Path, kind: str, betas: int, expressions: int) -> Any:
    smplx, torch = _import("smplx"), _import("torch")
    options: dict[str, Any] = {"ext": path.suffix.lstrip(".").lower(), "num_betas": max(betas, 1)}
    place = path
    if kind == "flame":  # the package takes the folder and makes up the file's name
        place, options["gender"] = path.parent, path.stem.rpartition("_")[2]
    if kind == "smplx":
        options |= {"use_pca": False, "flat_hand_mean": True}
    if kind != "smpl":
        options["num_expression_coeffs"] = max(expressions, 1)
    try:
        model = getattr(smplx, _KINDS[kind][0])(str(place), dtype=torch.float64, **options)
    except (AssertionError, AttributeError, KeyError, IndexError, ImportError, OSError) as error:
        raise ContentError(f"{path.name}: no {kind} model: {type(error).__name__} {error}") from error
    except (EOFError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ContentError(f"{path.name}: no {kind} model: {error}") from error
    if model.shapedirs.shape[-1] < betas:
        raise ContentError(f"{path.name}: {betas} betas, the model has {model.shapedirs.shape[-1]}")
    return model


def _mesh(module: Any, kind: str, betas: np.ndarray, influences: int, where: str) -> BodyMesh:
    arrays = {name: buffer.numpy().astype(np.float64) for name, buffer in module.named_buffers()}
    _, names, family = _KINDS[kind]
    vertices = arrays["v_template"] + arrays["shapedirs"][:, :, : len(betas)] @ betas
    weights = arrays["lbs_weights"]
    if weights.shape[1] != len(names):
        raise ContentError(f"{where}: {weights.shape[1]} joints, a {kind} model has {len(names)}")
    directions = arrays.get("expr_dirs", np.zeros((len(vertices), 3, 0)))
    skin_joints, skin_weights = strongest(
        np.broadcast_to(np.arange(len(names)), weights.shape), weights, influences
    )
    rig = Rig(names, module.parents.numpy().astype(np.int64), arrays["J_regressor"] @ vertices, family)
    mesh = BodyMesh(
        rig,
        vertices,
        np.asarray(module.faces, dtype=np.int64),
        skin_joints,
        skin_weights,
        tuple(f"expression_{i}" for i in range(directions.shape[2])),
        np.moveaxis(directions, 2, 0),
    )
    check_mesh(mesh, where)
    return mesh
