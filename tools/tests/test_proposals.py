"""§4.1 Proposals: what is said of a compatible one, of one that breaks the bitstream, and of ones that are wrong."""

import difflib
import json

import pytest

from conformance.generate import generate
from reference_encoder.content import ContentError
from tools.proposals import report
from tools.proposals.page import html_of
from tools.proposals.proposal import ROOT, find
from tools.proposals.rewrite import rewrite
from tools.proposals.values import unit_values

PROPOSALS = ROOT / "proposals"
CODER = "spec/syntax/arithmetic.yaml"


@pytest.fixture(scope="module")
def streams():
    return {str(seed): generate(seed, {"gaussian_count": 4}, units=2, size=16) for seed in (3, 4)}


@pytest.fixture
def propose(tmp_path):
    """A function that makes a proposal which replaces some text in a file of the standard."""

    def make(file, old, new, compatible=False):
        folder = tmp_path / "0009-test"
        folder.mkdir()
        before = (ROOT / file).read_text().splitlines(keepends=True)
        after = "".join(before).replace(old, new).splitlines(keepends=True)
        assert before != after
        patch = difflib.unified_diff(before, after, f"a/{file}", f"b/{file}")
        (folder / "change.patch").write_text("".join(patch))
        (folder / "rationale.md").write_text("Because.\n")
        described = {"title": "T", "summary": "S", "compatible": compatible, "values": {}}
        (folder / "proposal.yaml").write_text(json.dumps(described))
        return find(tmp_path, "0009")

    return make


def checked(proposal, streams):
    return report.check(proposal, streams, lambda what, done, total: None)[0]


def test_a_stream_written_again_is_the_same(streams):
    for data in streams.values():
        assert rewrite(unit_values(data), {}) == data


def test_a_compatible_proposal_costs_nothing_where_it_is_not_used(streams):
    found = checked(find(PROPOSALS, "0001"), streams)
    assert found.faults == []
    assert [(s.values, s.present, s.after) for s in found.streams] == [
        (report.SAME, report.SAME, len(data)) for data in streams.values()
    ]
    changes = {(d.kind, d.name): (d.clause, d.change) for d in found.differences}
    assert changes["structure", "cue"] == ("5.9", "added")
    assert changes["enumeration", "metadata_type"] == ("", "changed")
    assert "element:cue_text" in found.holes
    assert found.untested == "cue_frame does not occur in the base of negative"
    page = html_of(found, "# Why\n\nBecause.\n")
    assert "cue_text" in page and page.count("<h1") == 1 and "Because." in page


def test_a_proposal_that_breaks_the_bitstream_is_refused_by_decoders_of_today(streams):
    found = checked(find(PROPOSALS, "0002"), streams)
    assert found.faults == []
    assert {s.present for s in found.streams} == {f"{report.REFUSED}: Unsupported version.range"}
    assert {s.values for s in found.streams} == {report.SAME}
    before, after = found.bytes
    assert 0 < after != before


def test_a_change_that_decoders_of_today_do_not_notice_speaks_against_it(streams, propose):
    proposal = propose("spec/syntax/decoding.yaml", "value: [1073741712, ", "value: [1073141712, ")
    found = checked(proposal, streams)
    assert [s.present for s in found.streams] == [report.OTHER] * 2
    assert len(found.faults) == 2 and all("goes wrong without noticing" in fault for fault in found.faults)


def test_a_standard_that_cannot_be_read_is_a_fault(streams, propose):
    found = checked(propose(CODER, "value: 32768", "value: [["), streams)
    assert len(found.faults) == 1 and "arithmetic.yaml" in found.faults[0]


def test_a_patch_that_does_not_apply_is_named(propose, streams):
    proposal = propose(CODER, "value: 32768", "value: 32767")
    proposal.patch.write_text(proposal.patch.read_text().replace("32768", "31000"))
    with pytest.raises(ContentError, match=r"does not apply: .* patch failed: spec/syntax/arithmetic\.yaml"):
        checked(proposal, streams)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: T\n", "summary is missing"),
        ("title: T\nsummary: S\ncompatible: maybe\nvalues: {}\n", "compatible is missing or not a bool"),
        ("title: T\nsummary: S\ncompatible: true\nvalues: {}\nmore: 1\n", "nothing is called more"),
    ],
)
def test_an_incomplete_description_is_named(propose, content, message):
    proposal = propose(CODER, "value: 32768", "value: 32767")
    (proposal.folder / "proposal.yaml").write_text(content)
    with pytest.raises(ContentError, match=message):
        find(proposal.folder.parent, "0009")
