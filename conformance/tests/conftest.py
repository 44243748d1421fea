"""Hypothesis decides by the test alone; streams of a few Gaussians are decoded by one thread."""

from collections.abc import Iterator

import numba
import pytest
from hypothesis import settings

settings.register_profile("hga", deadline=None, derandomize=True)
settings.load_profile("hga")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Waking a second thread costs more than it does."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)
