"""§4.1 The document builder: the shipped standard builds, and every kind of damage is named with its place."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

import spec
from reference_decoder import Decoder
from reference_encoder.skeletons import SMPLX_JOINTS
from spec.run import DocumentError
from tools.document import INSERTS, build_html, check
from tools.document_example import sections

SPEC = Path(spec.__file__).parent
NO_EXAMPLE = dict.fromkeys(INSERTS, "")


@pytest.fixture(scope="module")
def page():
    return build_html(SPEC, NO_EXAMPLE)


@pytest.fixture
def copy(tmp_path):
    for folder in ("syntax", "text"):
        shutil.copytree(SPEC / folder, tmp_path / folder)
    return tmp_path


class Anchors(HTMLParser):
    """Collects the ids of a page, its links within the page, and whatever it would load."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.loads = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.loads += [values["src"]] if "src" in values else []


def test_every_link_of_the_page_has_its_target_and_nothing_is_loaded(page):
    anchors = Anchors(page)
    assert len(anchors.ids) == len(set(anchors.ids))
    assert {link for link in anchors.links if link[1:] not in anchors.ids} == set()
    assert anchors.loads == [] and "url(" not in page and "@import" not in page
    names = re.findall(r'\["\w+","([\w.-]+)"\]', page)
    assert len(names) > 300 and set(names) <= set(anchors.ids)


def test_the_page_shows_every_definition(page):
    ids = set(Anchors(page).ids)
    standard, document = spec.standard(), spec.document()
    assert {f"element-{element.name}" for element in standard.elements()} <= ids
    assert {f"function-{name}" for name in document.blocks} <= ids
    assert {f"constraint-{name}" for name in standard.constraints} <= ids
    assert {f"type-{name}" for name in standard.types} <= ids


def test_a_row_of_a_table_a_bound_and_a_call_by_hand(page):
    row = '<a href="#element-joint_count" title="number of joints">joint_count</a></code></td><td><code>u(8)</code>'
    assert row in page
    assert "268435455 <span" in page and "= 2<sup>28</sup> − 1" in page
    assert '<a class="f" href="#function-next_byte" title="function of clause 8.2.1">next_byte</a>' in page
    # 156*(1 + 1 + 7) + 14*7 + (96 + 96 + 128 + 1440)*47 + 1 + 7 + 8*255 + 16*48 contexts
    assert "87038 in all" in page


def test_a_clause_mentioned_across_lines_is_linked(copy):
    edit(copy, "text/1_scope.md", "It specifies\n", "It specifies, as clauses\n5.2, 6.10 and 7 say,\n")
    assert '<a class="clause" href="#clause-6.10" title="End of sequence">6.10</a>' in build_html(
        copy, NO_EXAMPLE
    )


BONES = 'level_bones: {clause: "A.2", error: Malformed, about: x}'
DAMAGES = {
    "structure not spliced": (
        ("text/5_syntax.md", "{{syntax avatar_header}}", ""),
        r"avatar\.yaml:\d+: syntax avatar_header is not spliced",
    ),
    "elements without semantics in the text": (
        ("text/6_semantics.md", "{{semantics camera}}", ""),
        r"metadata\.yaml:\d+: semantics camera is not spliced",
    ),
    "contexts not spliced": (
        ("text/5_syntax.md", "{{contexts motion_frames}}", ""),
        r"contexts motion_frames is not spliced",
    ),
    "constraint not spliced": (
        ("text/6_semantics.md", "{{constraints 6.8}}", ""),
        r"motion\.yaml:\d+: constraint motion_order is not spliced",
    ),
    "enumeration not spliced": (
        ("text/6_semantics.md", "{{enumeration stage}}", ""),
        r"enumeration stage is not spliced",
    ),
    "types not spliced": (("text/4_conventions.md", "{{types}}", ""), r"type int64 is not spliced"),
    "constants not spliced": (("text/4_conventions.md", "{{constants 8}}", ""), r"constant ENGINE_FULL_RANGE is not"),
    "binarisations not spliced": (("text/5_syntax.md", "{{binarisations}}", ""), r"binarisation flag is not spliced"),
    "levels not spliced": (("text/A_profiles.md", "{{levels}}", ""), r"levels levels is not spliced"),
    "spliced twice": (
        ("text/5_syntax.md", "{{syntax description}}", "{{syntax description}}\n\n{{syntax name_of}}"),
        r"5_syntax\.md:\d+: syntax name_of is spliced twice, first at 5_syntax\.md:\d+",
    ),
    "unknown directive": (
        ("text/1_scope.md", "It specifies\n", "{{picture unit_header}}\n"),
        r"1_scope\.md:8: there is no directive 'picture'",
    ),
    "unknown argument": (
        ("text/1_scope.md", "It specifies\n", "{{syntax unit_footer}}\n"),
        r"1_scope\.md:8: there is no syntax 'unit_footer'",
    ),
    "directive in a sentence": (
        ("text/1_scope.md", "It specifies\n", "It specifies {{types}}\n"),
        r"1_scope\.md:8: a directive stands on a line of its own",
    ),
    "dead clause in prose": (
        ("text/1_scope.md", "It specifies\n", "It specifies\nwhat clauses 5 and\n6.77 say\n"),
        r"1_scope\.md:10: there is no clause 6\.77",
    ),
    "dead clause without the word": (
        ("text/1_scope.md", "It specifies\n", "It specifies (7.99)\n"),
        r"1_scope\.md:8: there is no clause 7\.99",
    ),
    "dead annex": (("text/1_scope.md", "It specifies\n", "See Annex Z.\n"), r"1_scope\.md:8: there is no clause Z"),
    "dead clause in the YAML": (
        ("syntax/motion.yaml", 'motion_order: {clause: "6.8"', 'motion_order: {clause: "6.88"'),
        r"motion\.yaml:\d+: motion_order: there is no clause 6\.88",
    ),
    "dead clause in semantics": (
        ("syntax/unit.yaml", "CRC-32 (clause 8.6)", "CRC-32 (clause 8.66)"),
        r"unit\.yaml:\d+: unit_checksum: there is no clause 8\.66",
    ),
    "unknown name in prose": (
        ("text/1_scope.md", "It specifies\n", "It specifies `joint_cuont`\n"),
        r"1_scope\.md:8: `joint_cuont`: nothing is called joint_cuont",
    ),
    "heading without a number": (
        ("text/1_scope.md", "## 1.2 What", "## What"),
        r"1_scope\.md:\d+: heading 'What is exact' has no clause number",
    ),
    "formula that Markdown eats": (
        ("text/1_scope.md", "It specifies\n", "It specifies a*b + c*d\n"),
        r"1_scope\.md:8: emphasis within a word",
    ),
    "clause without code": (
        ("text/7_decoding.md", "## 7.8 ", "## 7.7.3 Nothing\n\nNothing.\n\n## 7.8 "),
        r"7_decoding\.md:\d+: clause 7\.7\.3 \(Nothing\) has no pseudo-code",
    ),
    "clause excused for nothing": (
        ("text/8_parsing.md", "## 8.6 Checksum\n", "## 8.6 Checksum\n\n{{no_code}}\n"),
        r"clause 8\.6 \(Checksum\) has pseudo-code and says that it needs none",
    ),
    "element without semantics": (
        ("syntax/avatar.yaml", "semantics: number of joints", 'semantics: ""'),
        r"avatar\.yaml:\d+: avatar_header: joint_count: no semantics",
    ),
    "constraint that nothing checks or names": (
        ("syntax/profiles.yaml", "level_joints:", f"{BONES}\n  level_joints:"),
        r"profiles\.yaml:\d+: constraint level_bones: no syntax checks it and no prose names it",
    ),
    "constant that nothing uses": (
        ("syntax/decoding.yaml", "  Q30_ONE:", '  Q31_ONE: {clause: "7.2", value: 2, about: x}\n  Q30_ONE:'),
        r"decoding\.yaml:\d+: constant Q31_ONE: nothing uses it",
    ),
    "function that nothing calls": (
        ("text/6_semantics.md", "`decode_factors`, ", ""),
        r"7_decoding\.md:\d+: function decode_factors: nothing calls it and no prose names it",
    ),
    "check of an unknown constraint": (
        ("syntax/motion.yaml", "check: motion_order", "check: motion_oder"),
        r"motion_unit: no constraint motion_oder",
    ),
    "expression with an unknown name": (
        ("syntax/motion.yaml", "count: frame_count + 1", "count: frames + 1"),
        r"'frames \+ 1' uses frames, which nothing defines",
    ),
    "unknown function of a binarisation": (
        ("syntax/arithmetic.yaml", "decode: decode_tree", "decode: decode_bush"),
        r"arithmetic\.yaml:\d+: tree: no function decode_bush",
    ),
    "code outside the subset": (
        ("text/8_parsing.md", "    node = 1\n", "    node = 1.5\n"),
        r"8_parsing\.md:\d+: only integers, not 1\.5",
    ),
    "YAML against the schema": (
        ("syntax/motion.yaml", "title: Motion unit", "tilte: Motion unit"),
        r"motion\.yaml: structures/motion_unit: ",
    ),
}  # fmt: skip


def edit(directory, file, old, new):
    path = directory / file
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file} no longer contains {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_with_its_place(copy, damage):
    change, expected = DAMAGES[damage]
    edit(copy, *change)
    problems = check(copy)
    assert any(re.search(expected, problem) for problem in problems), problems


def test_nothing_is_built_from_a_damaged_standard_and_all_problems_are_told(copy):
    edit(copy, "text/5_syntax.md", "{{syntax camera}}", "")
    edit(copy, "text/1_scope.md", "clause 5)", "clause 55)")
    with pytest.raises(DocumentError, match=r"no clause 55\n.*syntax camera is not spliced"):
        build_html(copy, NO_EXAMPLE)


def test_a_constraint_may_be_checked_by_prose_alone(copy):
    edit(copy, "syntax/motion.yaml", "- {check: motion_order}", "")
    assert check(copy) == []


def test_the_shipped_standard_has_no_problems():
    assert check(SPEC) == []


def test_joints_of_the_families_are_those_of_the_encoder():
    text = (SPEC / "text" / "B_use.md").read_text(encoding="utf-8")
    listed = re.search(r"`smplx55`: (.*?)\.\n\n", text, re.DOTALL)[1]
    assert tuple(name.strip() for name in listed.split(",")) == SMPLX_JOINTS
    counts = {}
    for name in ("makehuman53", "flame5", "arkit52"):
        listed = re.search(rf"`{name}`:(?: any joints. The expressions are)? (.*?)\.\n", text, re.DOTALL)[1]
        counts[name] = len(listed.split(","))
    assert counts == {"makehuman53": 53, "flame5": 5, "arkit52": 52}


def test_the_bytes_of_the_worked_example_decode_to_the_digests_it_shows():
    example = sections()
    lines = re.findall(
        r"^ *\d+  ((?:[0-9a-f]{2} ?)+)$", re.sub("<[^>]+>", "\n", example["example_stream"]), re.M
    )
    decoder = Decoder(bytes.fromhex("".join(lines)), strict=True)
    shown = re.findall(r"^digest ([0-9a-f]{32})", example["example_stages"], re.M)
    expected = []
    for frame in decoder.frames():
        stages = ["canonical"] if frame.random_access else []
        stages += ["symbols", "pose", "joints", "gaussians", "projected", "pixels"]
        expected += [frame.digest(stage, decoder.cameras[0]).hex() for stage in stages]
    assert len(expected) == 13 and shown == expected


def test_lines_and_rows_show_how_many_streams_run_them():
    points = {
        "line:7.2.1/limit:2": ["limit", 2, 3], "element:joint_count": ["avatar_header", 3, 2],
        "line:9.3/camera_coordinate:5": ["camera_coordinate", 5, 0],
    }  # fmt: skip
    shown = {
        identity: {
            "kind": identity.split(":")[0],
            "place": [name, line],
            "count": count,
            "streams": ["a/one"] * min(count, 1),
            "reason": "",
        }
        for identity, (name, line, count) in points.items()
    }
    marked = build_html(SPEC, NO_EXAMPLE, {"streams": ["a/one"], "points": shown})
    runs = re.findall(r'class="(runs[ a-z]*)"[^>]*>(\d+)</[as]\w*>([^\n]{0,200})', marked)
    by_count = {count: (css, re.sub("<[^>]*>", "", rest)) for css, count, rest in runs}
    assert by_count["3"][1].strip().startswith("return min(max(value")
    assert by_count["2"][1].startswith(4 * "&nbsp;" + "joint_count")  # the indentation is text (5.1)
    assert by_count["0"][0] == "runs open" and by_count["0"][1].strip().startswith("turned = camera[3 * row]")
    assert 'href="#stream-a/one"' in marked and 'id="stream-a/one"' in marked
