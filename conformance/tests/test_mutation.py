"""§4.6 Mutation: the faults are those meant, a fault that matters is noticed, and a sample of all faults is."""

from __future__ import annotations

import ast
import fnmatch
import os
import random
from collections.abc import Iterator

import pytest

import spec
from conformance import mutation
from conformance.generate import generate
from conformance.laboratory import RecordLaboratory, TextLaboratory
from conformance.mutants import Mutant, function_mutants, truncated
from conformance.mutants_syntax import syntax_mutants
from conformance.order import changes_nothing
from spec.run import Block

SOURCE = """def halved(value: int64, bits: shift) -> int64:
    moved = value + (1 << bits)
    if moved < 3 and value != 1:
        return min(moved, BOUND) // 2
    return moved"""


def mutants_of(source: str) -> dict[str, str]:
    block = Block("halved", "7.1", source, "7_decoding.md", 1)
    found = function_mutants("7.1/halved", ast.parse(source), block, {"BOUND": 9})
    return {mutant.id: mutant.source for mutant in found}


def test_each_operator_makes_its_fault() -> None:
    found = mutants_of(SOURCE)
    lines = {identity.split("/")[1]: text.splitlines() for identity, text in found.items()}
    assert lines["halved:2.12-31:rounding"][1] == "    moved = value"
    assert lines["halved:2.12-31:Sub"][1] == "    moved = value - (1 << bits)"
    assert lines["halved:2.21-30:shift+1"][1] == "    moved = value + (1 << bits + 1)"
    assert lines["halved:3.7-16:tie"][2] == "    if moved <= 3 and value != 1:"
    assert lines["halved:3.7-16:negation"][2] == "    if moved >= 3 and value != 1:"
    assert lines["halved:3.7-31:logic"][2] == "    if moved < 3 or value != 1:"
    assert lines["halved:3.7-31:only-1"][2] == "    if value != 1:"
    assert lines["halved:4.15-32:max"][3] == "        return max(moved, BOUND) // 2"
    assert lines["halved:4.15-32:only-0"][3] == "        return moved // 2"
    assert lines["halved:4.15-37:truncated"][3] == "        return _truncated(min(moved, BOUND), 2)"
    assert lines["halved:4.26-31:-1"][3] == "        return min(moved, BOUND - 1) // 2"
    assert len(set(found.values())) == len(found)


def test_what_nobody_looks_at_is_not_changed() -> None:
    assert mutants_of("def halved(value: array) -> flag:\n    return 0") == {}


def test_truncation_rounds_to_zero() -> None:
    assert [truncated(value, 4) for value in (-9, -8, -7, 7, 8)] == [-2, -2, -1, 1, 2]


FREE = """def f(a, b, count):
    total = 0
    for i in range(count):
        double = 2 * a[i]
        a[i] = double + b[i + 1]
        total = total + double
    return total"""


@pytest.mark.parametrize(
    ("old", "new", "free"),
    [
        ("", "", True),
        ("b[i + 1]", "a[i + 1]", False),  # reads what another round writes
        ("a[i] = double", "a[count] = double", False),  # writes where another round does
        ("double = 2 * a[i]", "b[0] = i\n        double = 0", False),
        ("b[i + 1]", "total", False),  # a sum that is read on its way
        ("total + double", "total * double", False),
        ("return total", "return i", False),  # which round was the last one shows
        ("return total", "return double", False),
        ("double = 2 * a[i]", "double = changed(a)", False),
        ("        double = 2", "        if total > 9:\n            return 0\n        double = 2", False),
    ],
)
def test_loops_whose_rounds_may_change_places(old: str, new: str, free: bool) -> None:
    (function,) = ast.parse(FREE.replace(old, new) if old else FREE).body
    assert isinstance(function, ast.FunctionDef)
    (loop,) = (node for node in ast.walk(function) if isinstance(node, ast.For))
    assert changes_nothing(loop.iter, function, frozenset(), exact=True) == free


@pytest.fixture(scope="module")
def everything() -> list[Mutant]:
    return mutation.all_mutants()


def test_a_run_tries_more_than_two_thousand_mutants_with_ids_of_their_own(everything: list[Mutant]) -> None:
    ids = [mutant.id for mutant in everything]
    assert len(ids) == len(set(ids))
    part = mutation.chosen(everything)
    assert len(part) >= 2500
    assert {mutation.kind_of(mutant) for mutant in part} == set(mutation.EVERY)


def test_every_reason_is_that_of_a_mutant(everything: list[Mutant]) -> None:
    ids = [mutant.id for mutant in everything]
    for pattern, text in mutation.explained().items():
        assert text and fnmatch.filter(ids, pattern), pattern


@pytest.fixture(scope="module")
def streams() -> dict[str, bytes]:
    return {f"seed {seed}": generate(seed, units=2, size=12) for seed in range(6)}


@pytest.fixture(scope="module")
def laboratory(streams: dict[str, bytes]) -> TextLaboratory:
    return TextLaboratory(streams)


def mutant(name: str, source: str, line: int = 2) -> Mutant:
    return Mutant("made up", name, line, "", "", source)


@pytest.mark.parametrize(
    ("name", "body", "how"),
    [
        ("round_shift", "def round_shift(value, bits):\n    return value >> bits", "differs"),
        ("limit", "def limit(value, bound):\n    return zeros(1)[7]", "IndexError"),
        ("wrap", "def wrap(value, bits):\n    while 1 == 1:\n        value = 0", "hangs"),
        ("limit", "def limit(value, bound):\n    return max(min(value, bound), -bound)", ""),
    ],
)
def test_a_fault_is_noticed_by_what_it_does(
    laboratory: TextLaboratory, name: str, body: str, how: str
) -> None:
    (verdict,) = mutation.judged(laboratory, [mutant(name, body)], processes=1)
    assert verdict.how == how
    assert verdict.killed == bool(how)


def test_no_stream_notices_a_mutant_that_is_proven_to_be_equal(
    laboratory: TextLaboratory, everything: list[Mutant]
) -> None:
    proven = [one for one in everything if one.proof and mutation.kind_of(one) == "text"]
    assert len(proven) > 50
    for one in proven[::8]:
        assert not laboratory.judge(one, thorough=False).killed, one.id


def test_the_standard_is_itself_again_after_a_mutant(laboratory: TextLaboratory) -> None:
    before = dict(laboratory.functions)
    laboratory.judge(mutant("limit", "def limit(value, bound):\n    return value"))
    laboratory.judge(Mutant("made up", "SH_LIMIT", 0, "", "", value=5))
    assert laboratory.functions == before


def test_the_syntax_is_itself_again_after_a_mutant() -> None:
    standard = spec.load.standard(validate=False)
    before = repr(standard)
    for one in list(syntax_mutants(standard))[::40]:
        with one.planted():
            assert repr(standard) != before, one.id
        assert repr(standard) == before, one.id


@pytest.fixture(scope="module")
def whole_streams() -> Iterator[RecordLaboratory]:
    laboratory = RecordLaboratory({f"seed {n}": generate(n, units=2, size=12, extras=0) for n in range(2)})
    yield laboratory
    laboratory.close()


def test_faults_of_syntax_and_decoder_are_noticed(
    whole_streams: RecordLaboratory, everything: list[Mutant]
) -> None:
    noticed = {
        "5.5/avatar_header:*.joint_count.descriptor:size+1": True,
        "5.8/motion_unit:*.motion_order.requires:omitted": False,  # in valid streams it always holds
        "canonical/Canonical.add_chunk:*:omitted": True,
        "skinning/_skin_all:*:omitted": True,
    }
    for pattern, killed in noticed.items():
        tried = [m for m in everything if fnmatch.fnmatchcase(m.id, pattern)]
        verdicts = list(mutation.judged(whole_streams, tried, processes=1))
        assert tried and any(verdict.killed for verdict in verdicts) == killed, pattern


def test_a_process_that_a_fault_ends_is_a_verdict(laboratory: TextLaboratory) -> None:
    body = "def limit(value, bound):\n    return _end()"
    laboratory.functions["_end"] = os.abort
    others = [mutant("wrap", "def wrap(value, bits):\n    return 0")]
    verdicts = list(mutation.judged(laboratory, [mutant("limit", body), *others], processes=1))
    assert sorted(verdict.how for verdict in verdicts) == ["crashes", "differs"]


def test_a_sample_of_the_mutants_of_the_text(laboratory: TextLaboratory, everything: list[Mutant]) -> None:
    """Six random streams notice more than three in four of the text's mutants; the corpus is held to `SHARE`."""
    mutants = [m for m in everything if mutation.kind_of(m) == "text" and not m.id.startswith("7.9")]
    sample = random.Random(5).sample(mutants, 120)
    verdicts = {verdict.mutant: verdict for verdict in mutation.judged(laboratory, sample)}
    result = mutation.report(sample, verdicts)
    assert result["explained_but_killed"] == []
    assert result["share"] > 0.75
    assert sum(map(len, result["killers"].values())) == result["killed"]
