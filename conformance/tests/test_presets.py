"""§5.1 Presets and features of random streams: they hold, and what no stream can have is a clear error."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.generate import generate
from conformance.presets import FEATURES, PresetError
from reference_decoder import Decoder


def decoded(data: bytes) -> Decoder:
    decoder = Decoder(data, strict=True)
    assert list(decoder.frames())
    return decoder


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({"sh_degre": 1}, "no syntax element is called 'sh_degre'; is it sh_degree?"),
        ({"quite_something_else": 1}, "no syntax element is called 'quite_something_else'$"),
        ({"sh_degree": 4}, r"sh_degree is preset to 4, allowed here: 0\.\.3"),
        ({"joint_count": 3, "joint_parent": 1}, r"joint_parent is preset to 1, allowed here: 0\.\.0"),
        ({"joint_count": {"between": [0, 1]}, "gaussian_count": {"between": [5, 4]}}, "no preset of gaussian_count"),
        ({"joint_count": {"choice": [0]}}, "joint_count is preset to 0"),
        ({"joint_count": 2, "joint_offset": [5]}, "1 values of joint_offset are preset, entry 1 is needed"),
        ({"sh_degree": [1]}, "sh_degree has 0 dimensions"),
        ({"key_flag": 1}, "key_flag follows from what the stream is made of"),
        ({"unit_type": 1}, "unit_type follows"),
        ({"sh_degree": "many"}, "'many' is no preset of sh_degree"),
        ({"sh_degree": True}, "True is no preset of sh_degree"),
    ],
)  # fmt: skip
def test_what_no_stream_can_have_is_refused(presets: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=message):
        for seed in range(5):
            generate(seed, presets)


def test_unknown_settings_and_features_are_refused() -> None:
    with pytest.raises(PresetError, match="no setting 'unit', only checksums"):
        generate(1, unit=2)
    with pytest.raises(PresetError, match="no feature 'deep', only"):
        generate(1, features={"deep": 1})
    with pytest.raises(PresetError, match="between 0 and 1, not 2"):
        generate(1, features={"coarse": 2})


def test_presets_of_every_kind_hold() -> None:
    presets = {
        "joint_count": 4, "joint_parent": "high", "joint_offset": [1, [2, "low", 3], {"between": [4, 6]}, 7],
        "sh_degree": {"choice": [2]}, "expression_count": 0,
    }  # fmt: skip
    avatar = decoded(generate(1, presets)).avatar
    assert list(avatar["joint_parent"][1:]) == [0, 1, 2] and avatar["sh_degree"] == 2
    offsets = avatar["joint_offset"].tolist()
    assert offsets[0] == [1, 1, 1] and offsets[1] == [2, -(1 << 23), 3] and offsets[3] == [7, 7, 7]
    assert all(4 <= value <= 6 for value in offsets[2])
    again = decoded(generate(1, {"joint_count": 2, "joint_offset": {"in_order": [7, 8, -9, 4]}})).avatar
    assert again["joint_offset"].tolist() == [[7, 8, -9], [4, 7, 8]]


@pytest.mark.parametrize("feature", FEATURES)
def test_streams_with_a_feature_are_valid_and_have_it(feature: str) -> None:
    avatar = decoded(generate(2, {"level": 2}, features={feature: 1}, units=1)).avatar
    if feature == "many_joints":
        assert 96 <= avatar["joint_count"] <= 128
    if feature == "many_expressions":
        assert avatar["expression_count"] >= 8
    assert generate(2, {"level": 2}, units=1) != generate(2, {"level": 2}, features={feature: 1}, units=1)


def test_features_with_a_share_of_0_change_nothing() -> None:
    assert generate(3, features={"many_joints": 0}) == generate(3)
