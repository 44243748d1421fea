"""§7.5 The motion layer: quantised poses and poses, unit after unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import spec
from reference_decoder.engine import Array, Engine
from reference_decoder.units import motion_place

_C = spec.standard().constant_values


class MotionState:
    """§7.5.4 What prediction needs of the earlier poses, and what motion payloads keep from unit to unit."""

    def __init__(self, engine: Engine, avatar: Mapping[str, Any]):
        self.engine = engine
        self.contexts: dict[str, Any] = {}
        self.place = motion_place()
        count = 3 + 3 * avatar["joint_count"] + avatar["expression_count"]
        self._count = count
        self._track = engine.array((count, _C["HISTORY"] + _C["UNIT_FRAMES"]), np.int64)
        self._moments = engine.array((_C["BANKS"] * count, 5), np.int64)

    def decode(self, v: Mapping[str, Any]) -> list[tuple[Array, Array]]:
        """§7.5 (symbols, pose) of every frame of a motion unit whose elements are in `v`, in the order of time."""
        functions, count = self.engine.functions, v["frame_count"] + 1
        order = v["key_flag"], v["group_shift"], v["frame_count"]
        frames: list[Any] = [None] * count
        for i in range(count):
            f = functions["coded_frame"](i, *order)
            symbols = self.engine.array((self._count,), np.int64)
            pose = self.engine.array((self._count,), np.int64)
            functions["decode_symbols"](f, v["residual_magnitude"], v["residual_sign"], self._count, symbols)
            steps, state = (v["step_shift"], v["step_code"]), (self._track, self._moments)
            functions["decode_pose"](f, *order, symbols, *steps, v["joint_count"], self._count, *state, pose)
            frames[f] = symbols, pose
        functions["keep_track"](v["frame_count"], self._count, self._track)
        self.place = motion_place(v)
        return frames
