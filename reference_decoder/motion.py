"""§7.5 The motion layer: quantised poses and poses, frame after frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reference_decoder.engine import Array, Engine


class MotionState:
    """§7.5.3 What prediction needs of the earlier poses, and what motion payloads keep from unit to unit."""

    def __init__(self, engine: Engine, avatar: Mapping[str, Any]):
        self.engine = engine
        self.contexts: dict[str, Any] = {}
        self.next_frame = -1  # only a key unit may come first
        count = 3 + 3 * avatar["joint_count"] + avatar["expression_count"]
        self._count = count
        self._earlier = engine.array((count, 3), np.int64)
        self._moments = engine.array((count, 5), np.int64)

    def decode(self, f: int, v: Mapping[str, Any]) -> tuple[Array, Array]:
        """§7.5 (symbols, pose) of frame `f` of a motion unit whose elements are in `v`."""
        symbols = self.engine.array((self._count,), np.int64)
        pose = self.engine.array((self._count,), np.int64)
        functions = self.engine.functions
        functions["decode_symbols"](f, v["residual_magnitude"], v["residual_sign"], self._count, symbols)
        started = int(v["key_flag"] == 0 or f > 0)
        steps = v["step_shift"], v["step_code"]
        state = self._earlier, self._moments
        functions["decode_pose"](f, started, symbols, *steps, v["joint_count"], self._count, *state, pose)
        self.next_frame = v["first_frame"] + f + 1
        return symbols, pose
