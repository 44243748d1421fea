"""§7.5 The motion layer: quantised poses and poses, frame after frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reference_decoder.engine import Array, Engine


class MotionState:
    """§7.5.2 The two earlier quantised poses that prediction needs, and the contexts of motion payloads."""

    def __init__(self, engine: Engine, avatar: Mapping[str, Any]):
        self.engine = engine
        self.contexts: dict[str, Any] = {}
        self.next_frame = -1  # only a key unit may come first
        self._size = 3 + 3 * avatar["joint_count"] + avatar["expression_count"]
        self._previous = self._zeros()
        self._before = self._zeros()

    def _zeros(self) -> Array:
        return self.engine.array((self._size,), np.int64)

    def decode(self, f: int, v: Mapping[str, Any]) -> tuple[Array, Array]:
        """§7.5 (symbols, pose) of frame `f` of a motion unit whose elements are in `v`."""
        started = int(v["key_flag"] == 0 or f > 0)
        if not started:
            self._previous, self._before = self._zeros(), self._zeros()
        symbols, pose = self._zeros(), self._zeros()
        counts = v["joint_count"], v["expression_count"]
        residuals = v["translation_residual"], v["joint_residual"], v["expression_residual"]
        self.engine.functions["decode_symbols"](
            f, started, v["predictor"], *residuals, *counts, self._previous, self._before, symbols
        )
        steps = v["translation_step"], v["joint_rotation_step"], v["expression_weight_step"]
        self.engine.functions["decode_pose"](symbols, *steps, *counts, pose)
        self.next_frame = v["first_frame"] + f + 1
        return symbols, pose
