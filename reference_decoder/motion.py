"""§7.5 The motion layer: quantised poses and poses, unit after unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import spec
from reference_decoder.engine import Array, Engine

_C = spec.standard().constant_values


class MotionState:
    """§7.5.4 What prediction needs of the earlier poses, and what motion payloads keep from unit to unit."""

    def __init__(self, engine: Engine, avatar: Mapping[str, Any]):
        self.engine = engine
        self.contexts: dict[str, Any] = {}
        self.next_frame = -1  # only a key unit may come first
        self.next_order = 0
        count = 3 + 3 * avatar["joint_count"] + avatar["expression_count"]
        self._count = count
        self._track = engine.array((count, _C["HISTORY"] + _C["UNIT_FRAMES"]), np.int64)
        self._moments = engine.array((_C["BANKS"] * count, 5), np.int64)

    @property
    def place(self) -> dict[str, int]:
        """§4.5 The values that the place in the stream determines for the next motion unit."""
        return {"next_frame": self.next_frame, "next_order": self.next_order}

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
        self.next_frame = v["first_frame"] + count
        self.next_order = (v["unit_order"] + 1) % 16
        return frames
