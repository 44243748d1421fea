"""One thread for torch: tests run beside others, and threads that wait for each other only slow them down."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch"):
    import torch

    torch.set_num_threads(1)
