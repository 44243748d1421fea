"""§A.3.3 The corpus: recipes give what they say, the same bytes every time; records say what decoders shall obtain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import corpus, records
from conformance.recipes import Recipe, RecipeError, load, released
from reference_decoder.units import UnitReader

SETTINGS: dict[str, Any] = {
    "purpose": "Shows what a recipe can do in a test.",
    "catches": "A recipe that does not do what it says.",
    "clauses": ("5.3",),
    "shape": {"size": 8, "gaussians": 3, "extras": 0, "late": 0, "units": 2},
}


def recipe(**settings: Any) -> Recipe:
    return Recipe(id="test/one", **(SETTINGS | settings))


def kinds(data: bytes) -> list[str]:
    return [unit.type or str(unit.type_number) for unit in UnitReader(data)]


def test_a_stream_and_its_record_are_the_same_every_time() -> None:
    assert corpus.make(recipe(seed=3)).files() == corpus.make(recipe(seed=3)).files()
    assert corpus.make(recipe(seed=3)).data != corpus.make(recipe(seed=4)).data


def test_edits_do_what_they_say() -> None:
    plain = recipe().build()
    units = kinds(plain)
    assert units[0] == "sequence" and units[-1] == "end"

    def after(*edits: dict[str, Any]) -> list[str]:
        return kinds(recipe(edits=edits).build())

    assert after({"drop": {"unit": "end"}}) == units[:-1]
    assert after({"repeat": {"unit": "avatar", "to": -1}}) == [*units[:-1], "avatar", "end"]
    assert after({"move": {"unit": "end", "to": 0}}) == ["end", *units[:-1]]
    assert after({"insert": {"kind": 30, "payload": "ff", "to": 1}}) == [units[0], "30", *units[1:]]
    assert recipe(edits=({"truncate": {"count": 2}},)).build() == plain[:-2]
    flipped = recipe(edits=({"flip": {"unit": "end", "bit": -1}},)).build()
    assert flipped[:-1] == plain[:-1] and flipped[-1] == plain[-1] ^ 1


def test_a_forged_value_is_the_only_thing_wrong() -> None:
    edit = {"set": {"unit": "avatar", "element": "influence_limit", "value": 7}}
    assert records.record(recipe(edits=(edit,)), recipe(edits=(edit,)).build())["errors"] == []
    edit = {"set": {"unit": "sequence", "element": "level", "value": 4}}
    wrong = recipe(edits=(edit,), expect=("level.range",), shape=SETTINGS["shape"] | {"checksums": 0})
    (error,) = records.record(wrong, wrong.build())["errors"]
    assert error == {
        "error": "Unsupported", "constraint": "level.range", "clause": "5.4", "unit": 0, "bit_offset": 64,
    }  # fmt: skip


def test_a_stream_that_is_not_what_its_recipe_expects_is_refused() -> None:
    with pytest.raises(records.RecordError, match=r"expected the errors \['level.range'\], found \[\]"):
        corpus.make(recipe(expect=("level.range",)))
    with pytest.raises(records.RecordError, match=r"expected the errors \[\], found \['sequence_first'\]"):
        corpus.make(recipe(edits=({"drop": {"unit": "sequence"}},)))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"melt": {}}, "there is no edit 'melt', only"),
        ({"drop": {"unit": "end", "at": 1}}, "there is no unit 1 of type end, only 1"),
        ({"drop": {"unite": "end"}}, "edit 'drop': .*'unite'"),
        ({"set": {"unit": "end", "element": "level", "value": 1}}, "level does not occur"),
        ({"damage": {"kind": "melted", "seed": 0}}, "there is no damage 'melted'"),
    ],
)
def test_recipes_that_cannot_be_followed_say_why(edits: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=f"test/one: {message}"):
        recipe(edits=(edits,)).build()


def test_a_file_of_recipes(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(
        """
defaults: {clauses: ["5.3"], presets: {sh_degree: 1}, catches: c, seed: 4}
streams:
  - {name: "x_{a}_{b}", purpose: "p {a}", each: {a: [1, 2], b: [5, 6]}, presets: {joint_count: $a}}
  - {name: y, purpose: p, presets: {sh_degree: 3}}
"""
    )
    found = {each.id: each for each in load(path)}
    assert list(found) == ["some/x_1_5", "some/x_1_6", "some/x_2_5", "some/x_2_6", "some/y"]
    assert found["some/x_2_5"].presets == {"sh_degree": 1, "joint_count": 2}
    assert found["some/x_2_5"].purpose == "p 2" and found["some/y"].presets == {"sh_degree": 3}
    for text, message in (
        ("a: [", "some.yaml: "),
        ("a: 1", "no list of streams"),
        ("streams: [{name: x, purpose: p}]", "stream x: name, purpose or catches is missing"),
        ("streams: [{name: x, purpose: p, catches: c, sede: 1}]", "stream x: unknown sede"),
    ):
        path.write_text(text)
        with pytest.raises(RecipeError, match=message):
            list(load(path))


def test_a_corpus_is_written_checked_and_linted(tmp_path: Path) -> None:
    recipes = [
        recipe(seed=1),
        Recipe(id="test/two", **(SETTINGS | {"purpose": "Another purpose than one has."})),
    ]
    corpus.write(corpus.make_all(recipes), tmp_path)
    assert list(corpus.differences(corpus.make_all(recipes), tmp_path)) == [] == corpus.lint(tmp_path)
    sizes = [entry["size"] for entry in corpus.read(tmp_path)]
    assert sizes == sorted(sizes) and len(sizes) == 2
    (tmp_path / "test" / "one.hga").write_bytes(b"")
    (tmp_path / "test" / "three.json").write_text(json.dumps({"id": "test/two", "purpose": "Another."}))
    found = list(corpus.differences(corpus.make_all(recipes), tmp_path))
    assert found == ["test/one.hga differs from what its recipe gives", "test/three.json has no recipe"]
    complaints = " ".join(corpus.lint(tmp_path))
    assert "test/two: the id occurs twice" in complaints and "'catches' is a required property" in complaints
    corpus.write(corpus.make_all(recipes[:1]), tmp_path)
    assert [path.name for path in corpus.files(tmp_path)] == ["one.hga", "one.json"]


def test_only_what_is_new_is_decoded_when_there_is_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.write(corpus.make_all([recipe(seed=1)]), tmp_path)
    monkeypatch.setattr(records, "record", lambda made, data, executed: {"recorded": made.purpose})
    kept = corpus.make(recipe(seed=1), stored=tmp_path, quick=True)
    assert kept.files()["test/one.hga"] == (tmp_path / "test/one.hga").read_bytes()
    assert kept.files()["test/one.json"] == (tmp_path / "test/one.json").read_bytes()
    for changed in (
        {"seed": 2}, {"purpose": "Another purpose than before."}, {"expect": ("level.range",)},
        {"causes": {"pose": "Another cause than before."}}, {"twin": "test/two"},
    ):  # fmt: skip
        again = replace(recipe(seed=1), **changed)
        assert "recorded" in corpus.make(again, stored=tmp_path, quick=True).record, changed
    assert "recorded" in corpus.make(recipe(seed=1), stored=tmp_path).record


def test_streams_of_real_content_are_kept_and_not_encoded_again(tmp_path: Path) -> None:
    """Nobody can be encoded, so whatever is made of this recipe was kept."""
    nobody = recipe(content={"avatar": "nobody", "clip": ""})
    made = corpus.make(recipe(seed=1))
    stored = corpus.Entry(made.id, made.data, made.record | {"recipe": nobody.as_dict()})
    corpus.write(iter([stored]), tmp_path)
    assert corpus.make(nobody, stored=tmp_path) == stored
    for change in ({"recipe": recipe(seed=1).as_dict()}, {"sha256": 64 * "0"}):
        corpus.write(iter([corpus.Entry(made.id, made.data, stored.record | change)]), tmp_path)
        with pytest.raises(RecipeError, match="there is no avatar 'nobody'"):
            corpus.make(nobody, stored=tmp_path)
    corpus.write(iter([stored]), tmp_path)
    (tmp_path / "test/one.hga").write_bytes(made.data[:-1])
    with pytest.raises(RecipeError):
        corpus.make(nobody, stored=tmp_path)


RECIPES = released(full=True)
GROUPS = sorted({each.group for each in RECIPES})


def test_every_recipe_has_a_purpose_of_its_own() -> None:
    assert len({each.purpose for each in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("group", GROUPS)
def test_a_sample_of_the_corpus_is_what_its_recipes_expect(group: str) -> None:
    """`make conformance` takes all; whatever a recipe expects is checked where its record is made."""
    chosen = [each for each in RECIPES if each.group == group and not each.full and not each.content]
    for each in chosen[:: len(chosen) // 2 + 1]:
        assert records.lint([corpus.make(each).record]) == []
