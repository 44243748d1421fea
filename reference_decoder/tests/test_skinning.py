"""§7.6, §7.7 Skinning: kernels against the document on one and two threads, at the ends of ranges, against float64."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import pytest

import spec
from reference_decoder import jit
from reference_decoder.skinning import displacement, skin
from reference_encoder import float_model
from reference_encoder.content import Rig

F = spec.document().functions
C = spec.document().constants
TYPES = spec.document().types
ONE = 1 << 30
Inputs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, numba.config.NUMBA_NUM_THREADS))
    yield request.param
    numba.set_num_threads(before)


def random_inputs(count: int, extreme: bool, seed: int) -> Inputs:
    """matrices, joint, weight, position, displacement and factor within their types, or at their ends."""
    rng = np.random.default_rng(seed)

    def numbers(bound: int, shape: tuple[int, ...]) -> np.ndarray:
        return rng.choice([-bound, bound], shape) if extreme else rng.integers(-bound, bound + 1, shape)

    joints = 255
    matrices = np.concatenate([numbers(ONE, (joints, 9)), numbers(1 << 28, (joints, 3))], axis=1)
    cuts = np.sort(rng.integers(0, 65537, (count, 7)), axis=1)
    weight = np.diff(cuts, axis=1, prepend=0, append=65536)
    weight[::3] = 0
    weight[::3, 0] = 65536
    joint = rng.integers(0, joints, (count, 8))
    position, displaced = (
        numbers(C["POSITION_LIMIT"], (count, 3)),
        numbers(C["DISPLACEMENT_LIMIT"], (count, 3)),
    )
    return matrices, joint, weight, position, displaced, numbers(1 << 25, (count, 3, 3))


def by_document(inputs: Inputs) -> tuple[list, list, list]:
    lists = [array.tolist() for array in inputs]
    count = len(lists[3])
    mean, factor, blend = ([[0] * n for _ in range(count)] for n in (3, 9, 9))
    for i in range(count):
        F["skin_gaussian"](i, *lists, mean, factor, blend)
    return mean, factor, blend


def by_kernel(inputs: Inputs) -> tuple[list, list, list]:
    matrices, joint, weight, position, displaced, factor = inputs
    narrow = (joint.astype(np.uint8), weight.astype(np.int32), position.astype(np.int32))
    result = skin(matrices, *narrow, displaced.astype(np.int32), factor.astype(np.int32))
    return tuple(array.tolist() for array in result)  # type: ignore[return-value]


@pytest.mark.parametrize("extreme", [False, True])
def test_kernel_is_the_document(extreme: bool, threads: int) -> None:
    inputs = random_inputs(200, extreme, 7)
    mean, factor, blend = by_document(inputs)
    assert by_kernel(inputs) == (mean, factor, blend)
    assert np.abs(mean).max() <= C["WORLD_LIMIT"]
    assert np.abs(factor).max() <= TYPES["shape_factor"][1]
    assert np.abs(blend).max() <= ONE


def test_all_ends_with_one_sign_reach_the_largest_sums() -> None:
    """Every product adds: the sums are the largest there are, and their types hold them."""
    for sign in (1, -1):
        matrices = np.full((1, 12), sign * ONE)
        matrices[:, 9:] = sign * (1 << 28)
        weight = np.array([[65536, 0, 0, 0, 0, 0, 0, 0], [8192] * 8])
        inputs = (matrices, np.zeros((2, 8), np.int64), weight, np.full((2, 3), C["POSITION_LIMIT"]),
                  np.full((2, 3), C["DISPLACEMENT_LIMIT"]), np.full((2, 3, 3), 1 << 25))  # fmt: skip
        mean, factor, _ = by_document(inputs)
        assert mean == [[sign * C["WORLD_LIMIT"]] * 3] * 2
        assert factor == [[sign * 3 * (1 << 25)] * 9] * 2
        assert by_kernel(inputs)[:2] == (mean, factor)


def test_one_gaussian_by_hand() -> None:
    """Half of a joint at rest, half of one turned a quarter about z and moved by 2 m along x."""
    metre = 1 << 20
    rest = [ONE, 0, 0, 0, ONE, 0, 0, 0, ONE, 0, 0, 0]
    turned = [0, -ONE, 0, ONE, 0, 0, 0, 0, ONE, 2 * metre, 0, 0]
    weight = np.array([[32768, 32768, 0, 0, 0, 0, 0, 0]])
    inputs = (np.array([rest, turned]), np.array([[0, 1] + [0] * 6]), weight, np.array([[metre, 0, 3 * metre]]),
              np.array([[0, 2 * metre, 0]]), np.array([[[8, 0, 0], [0, 4, 0], [0, 0, 2]]]))  # fmt: skip
    mean, factor, blend = by_document(inputs)
    # R = [[1/2, -1/2, 0], [1/2, 1/2, 0], [0, 0, 1]], t = (1, 0, 0); (1, 2, 3) becomes (-1/2 + 1, 3/2, 3).
    half = ONE // 2
    assert blend == [[half, -half, 0, half, half, 0, 0, 0, ONE]]
    assert mean == [[metre // 2, 3 * metre // 2, 3 * metre]]
    assert factor == [[4, -2, 0, 4, 2, 0, 0, 0, 2]]
    assert by_kernel(inputs) == (mean, factor, blend)


def test_no_weights_is_the_origin() -> None:
    """§7.3.1 A Gaussian that has not been received has no joints: it collapses to the origin, at opacity 0."""
    inputs = random_inputs(3, False, 1)
    inputs[2][:] = 0
    assert by_document(inputs) == by_kernel(inputs) == ([[0] * 3] * 3, [[0] * 9] * 3, [[0] * 9] * 3)


@pytest.mark.parametrize("extreme", [False, True])
def test_sparse_displacement_is_the_document(extreme: bool, threads: int) -> None:
    rng = np.random.default_rng(3)
    bound, weight = C["OFFSET_LIMIT"], C["EXPRESSION_WEIGHT_LIMIT"]
    dense = rng.integers(-bound, bound + 1, (255 if extreme else 20, 9, 3))
    dense = np.where(extreme, np.sign(dense) * bound, dense) * (rng.random((*dense.shape[:2], 1)) < 0.6)
    weights = (
        rng.choice([-weight, 0, weight], len(dense)) if extreme else rng.integers(-weight, weight, len(dense))
    )
    sparse = [
        (np.flatnonzero(o.any(axis=1)).astype(np.int32), o[o.any(axis=1)].astype(np.int32)) for o in dense
    ]
    pose = [0, 0, 0, 0, 0, 0, *weights.tolist()]
    expected = [
        [F["displace"](pose, dense.tolist(), 1, len(dense), i, c) for c in range(3)] for i in range(9)
    ]
    assert displacement(weights, sparse, 9).tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_skinning_is_within_ten_micrometres_of_float64(seed: int) -> None:
    """A random body of 55 joints, chains as deep as they come, any rotations; integers rounded at every step."""
    rng = np.random.default_rng(seed)
    joints, count = 55, 400
    parents = np.array([-1] + [int(rng.integers(max(0, j - 3), j)) for j in range(1, joints)])
    offsets = np.round(rng.uniform(-0.2, 0.2, (joints, 3)) * 2**20).astype(np.int64)
    rest = np.zeros((joints, 3), np.int64)
    for j, parent in enumerate(parents):
        rest[j] = offsets[j] + (rest[parent] if parent >= 0 else 0)
    vectors = np.round(rng.uniform(-1.8, 1.8, (joints, 3)) * 2**28).astype(np.int64)
    translation = np.array([1 << 20, -(1 << 19), 3000])
    matrices = np.zeros((joints, 12), np.int64)
    scratch = np.zeros(3 * joints, np.int64), np.zeros(3 * joints, np.int64)
    pose = np.concatenate([translation, vectors.ravel()])
    jit.function("decode_joints")(pose, np.maximum(parents, 0), offsets, joints, *scratch, matrices)

    joint = rng.integers(0, joints, (count, 8))
    weight = np.diff(np.sort(rng.integers(0, 65537, (count, 7)), axis=1), axis=1, prepend=0, append=65536)
    position = np.round(rng.uniform(-1, 1, (count, 3)) * 2**20).astype(np.int64)
    zeros = np.zeros((count, 3), np.int64)
    mean = by_kernel((matrices, joint, weight, position, zeros, np.zeros((count, 3, 3), np.int64)))[0]

    rig = Rig(tuple(map(str, range(joints))), parents, rest / 2**20)
    exact = float_model.forward_kinematics(rig, vectors / 2**28, translation / 2**20)
    points = float_model.skin_points(position / 2**20, joint, weight / 65536, exact)
    assert np.abs(np.array(mean) / 2**20 - points).max() < 10e-6
