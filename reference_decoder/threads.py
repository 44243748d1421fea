"""§9 One lock around every parallel kernel: Numba's built-in thread pool aborts when two threads enter it."""

from __future__ import annotations

import threading

PARALLEL = threading.RLock()
