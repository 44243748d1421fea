"""The command line from end to end: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.generate import generate
from reference_decoder import Decoder
from reference_decoder.rendering import render
from reference_decoder.units import UnitReader
from reference_encoder.avatar_file import load_avatar, save_avatar
from reference_encoder.content import Rig
from reference_encoder.quality import quaternion_matrices
from reference_encoder.skeletons import SMPLX_JOINTS, smplx_skeleton
from reference_encoder.splats import load_gaussians, save_ply
from spec.load import SyntaxDescriptionError
from spec.ports import MissingValue
from spec.run import DocumentError
from tools.cli import exit_code
from tools.dequantise import world_gaussians
from tools.encoding import SettingOption, setting_options
from tools.terminal import bar, chart
from tools.tests.conftest import FRAMES, Run, small_avatar

COMMANDS = ["bind", "decode", "dump", "encode", "export", "info", "render", "spec", "verify"]


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_help_lists_every_command_without_the_codec() -> None:
    code = (
        "import sys\nfrom tools.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print('HEAVY', [m for m in ('numba', 'scipy', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_decoding_does_not_import_the_encoder(stream: Path) -> None:
    code = (
        f"import sys\nfrom tools.cli import main\ntry: main(['decode', {str(stream)!r}, '--frames', '0'])\n"
        "except SystemExit as end: print(end.code)\n"
        "print('HEAVY', [m for m in sys.modules if m.startswith(('reference_encoder.', 'PIL', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "HEAVY []"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(hga: Run, command: str) -> None:
    result = hga(command, "--help")
    assert result.exit_code == 0 and "Example" in result.output and f"hga {command}" in result.output


def test_version(hga: Run) -> None:
    assert hga("--version").output.startswith("hga, version ")


def test_the_document_decodes_as_the_compiled_decoder_does(hga: Run, tmp_path: Path) -> None:
    stream = tmp_path / "a.hga"
    stream.write_bytes(generate(3, {"gaussian_count": 3, "profile": 0}, units=1, size=8))
    arguments = ("decode", "--json", "--stages", "all")
    assert hga(*arguments, "--executed", stream).stdout == hga(*arguments, stream).stdout != ""


def test_encode_reports_every_byte(hga: Run, content: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.hga"
    result = hga("encode", content / "avatar.npz", content / "walk.npz", "-o", output, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["bytes"] == output.stat().st_size == sum(layer["size"] for layer in report["layers"])
    assert report["frames"] == FRAMES


def test_encode_says_how_much_of_a_motion_the_rig_can_follow(hga: Run, content: Path, tmp_path: Path) -> None:
    result = hga("encode", content / "avatar.npz", content / "walk.npz", "-o", tmp_path / "a.hga")
    assert (
        "only 3 of the motion's 55 joints found a joint among the rig's 3: pelvis, spine1, head"
        in result.stderr
    )
    same = tmp_path / "body.npz"
    rig = Rig(SMPLX_JOINTS, smplx_skeleton().parents, smplx_skeleton().joints)
    save_avatar(same, replace(small_avatar(), rig=rig))
    result = hga("encode", same, content / "walk.npz", "-o", tmp_path / "b.hga")
    assert result.exit_code == 0 and "only" not in result.stderr


def test_encode_takes_settings_of_the_encoder(hga: Run, content: Path, tmp_path: Path) -> None:
    arguments = (
        "encode",
        content / "avatar.npz",
        content / "walk.npz",
        "-o",
        tmp_path / "a.hga",
        "--camera",
        "none",
    )
    assert hga(*arguments, "--no-checksums", "--motion-mode", "low-delay", "--frames", "1:4").exit_code == 0
    data = (tmp_path / "a.hga").read_bytes()
    units = list(UnitReader(data))
    assert [unit.type for unit in units].count("motion") == 3
    assert all(unit.end == unit.payload_end for unit in units)
    assert hga(*arguments, "--quality", "tiny", "--sh-step", "0.5").exit_code == 0
    assert (tmp_path / "a.hga").stat().st_size < len(data)


def test_face_track_drives_the_expressions(stream: Path) -> None:
    frames = list(Decoder(stream.read_bytes(), strict=True).frames())
    weights = np.array([frame.pose[-2:] for frame in frames]) / 2**14
    assert weights[:, 0] == pytest.approx(np.arange(FRAMES) / 10, abs=0.002)
    assert weights[:, 1] == pytest.approx(0.5)


def test_decode_prints_a_line_per_frame(hga: Run, stream: Path) -> None:
    result = hga("decode", stream, "--json", "--stages", "pose,pixels", "--frames", "1:3")
    assert result.exit_code == 0
    records = lines(result.stdout)
    decoder = Decoder(stream.read_bytes())
    frames = list(decoder.frames())
    assert [record["frame"] for record in records] == [1, 2]
    assert [record["random_access"] for record in records] == [False, False]
    for record in records:
        frame = frames[record["frame"]]
        assert record["time"] == str(frame.time)
        assert record["digests"]["pose"] == frame.digest("pose").hex()
        assert record["digests"]["pixels"] == frame.digest("pixels", decoder.cameras[0]).hex()


def test_decode_starts_at_a_frame(hga: Run, stream: Path) -> None:
    whole = lines(hga("decode", stream, "--json").stdout)
    assert lines(hga("decode", stream, "--json", "--start", "4").stdout) == whole[4:]


def test_decode_goes_on_past_damage(hga: Run, stream: Path, tmp_path: Path) -> None:
    data = bytearray(stream.read_bytes())
    first = next(unit for unit in UnitReader(bytes(data)) if unit.type == "motion")
    data[first.payload_end - 1] ^= 1
    damaged = tmp_path / "damaged.hga"
    damaged.write_bytes(bytes(data))
    result = hga("decode", damaged, "--json", "--stages", "pose")
    *frames, error = lines(result.stdout)
    assert result.exit_code == 4
    assert [frame["frame"] for frame in frames] == [3, 4]
    assert (error["error"], error["unit"]) == ("Malformed", first.index)
    strict = lines(hga("decode", damaged, "--json", "--strict").stdout)
    assert [record.get("constraint") for record in strict] == ["unit_checksum_matches"]


def test_info_accounts_for_the_payloads(hga: Run, stream: Path) -> None:
    found = json.loads(hga("info", stream, "--json").stdout)
    assert found["bytes"] == stream.stat().st_size == sum(layer["size"] for layer in found["layers"])
    assert found["header"]["gaussian_count"] == 200 and found["frames"] == FRAMES
    assert found["random_access"] == [0, 3] and found["hashed_frames"] == FRAMES
    assert found["joint_names"] == ["pelvis", "spine1", "head"]
    coded = {layer["layer"]: layer["size"] for layer in found["layers"]}
    spent: dict[str, float] = {}
    for share in found["elements"]:
        spent[share["structure"]] = spent.get(share["structure"], 0) + share["bytes"]
    parts = ("position_tree", "gaussian_geometry", "gaussian_appearance", "gaussian_skin")
    canonical = sum(spent[part] for part in parts)
    assert 0.9 * coded["canonical"] < canonical < coded["canonical"]
    assert all(0 < entry["used"] <= entry["limit"] for entry in found["limits"].values())
    text = hga("info", stream).stdout
    assert "pelvis, spine1, head" in text and "position_low" in text


def test_info_bits_add_up(hga: Run, stream: Path) -> None:
    found = json.loads(hga("info", stream, "--bits", "--json").stdout)
    frames = found["bits_by_frame"]
    assert [frame["frame"] for frame in frames] == list(range(FRAMES))
    assert [frame["frame"] for frame in frames if frame["key"]] == found["random_access"]
    motion = next(layer for layer in found["layers"] if layer["layer"] == "motion")
    assert sum(frame["bits"] for frame in frames) == pytest.approx(8 * motion["size"], abs=0.5)
    # A unit begins with its size, type, counts and first frame, a byte each, and ends with a checksum of four;
    # what the coder pads is less than four more.
    assert all(64 <= f["overhead"] < 96 if f["key"] else f["overhead"] == 0 for f in frames)
    parts = {part["part"]: part["bits"] for part in found["bits_by_part"]}
    assert parts.keys() == {"translation of the root", "pelvis", "spine1", "head", "jawOpen", "smile"}
    for group, names in {"root": ["translation of the root"], "joints": found["joint_names"]}.items():
        assert sum(frame[group] for frame in frames) == pytest.approx(sum(parts[n] for n in names), abs=1)
    elements = {entry["element"]: entry["bits"] for entry in found["bits_by_element"]}
    units, whole = motion["units"], 8 * motion["size"]
    assert sum(elements.values()) == pytest.approx(whole, abs=1)
    one_each = dict.fromkeys(("key_flag", "several_flag", "unit_checksum_flag", "unit_layer_flag"), 1)
    fixed = one_each | {"unit_reserved_bit": 1, "unit_type": 5, "group_shift": 2, "unit_order": 4}
    fixed |= {"unit_size": 8, "frame_count": 8, "first_frame": 8, "unit_checksum": 32}
    assert {name: elements[name] for name in fixed} == {name: n * units for name, n in fixed.items()}
    assert elements.keys() - fixed.keys() == {
        *("step_shift", "residual_magnitude", "residual_sign", "end of the payload")
    }
    assert 0 <= elements["end of the payload"] < 32 * units
    text = hga("info", stream, "--bits").stdout
    assert "bits by frame; ^ key frame" in text and "^  ^" in text.splitlines() and "jawOpen" in text


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_info_draws_the_bits(hga: Run, stream: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "plots" / f"bits{suffix}"
    result = hga("info", stream, "--plot", path)
    assert result.exit_code == 0 and f"wrote {path}" in result.stderr
    assert path.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert hga("info", stream, "--plot", tmp_path / "bits.gif").exit_code == 2


def test_chart_by_hand() -> None:
    assert chart([0, 8, 4, 16], [True, False, False, True], height=2) == ["   █", " █▄█", "^  ^"]
    by_pairs = chart([0, 2, 4, 16, 8, 8], [True, False, False, False, True, True], height=2, width=3)
    assert by_pairs == [" █▅", "▂██", "^ ^"]  # the means are 1, 10 and 8; ten takes 16 eighths
    assert bar(0.5, 4) == "██" and bar(0.28, 4) == "█▏" and bar(0, 4) == ""


def test_dump_shows_elements_where_they_stand(hga: Run, stream: Path) -> None:
    records = lines(hga("dump", stream, "--json", "--unit", "0").stdout)
    assert records[0] == {"unit": 0, "type": "sequence", "bytes": records[0]["bytes"]}
    named = {record["element"]: record for record in records[1:]}
    assert named["signature"]["value"] == int.from_bytes(b"HGA1", "big") and named["signature"]["bit"] == 16
    assert (named["level"]["low"], named["level"]["high"]) == (1, 3)
    text = hga("dump", stream, "--max", "3").stdout
    assert "unit 0: sequence" in text and "not shown: elements after the first 3" in text


def test_dump_is_complete(hga: Run, tmp_path: Path) -> None:
    path = tmp_path / "random.hga"
    path.write_bytes(generate(3))
    records = lines(hga("dump", path, "--json", "--all").stdout)
    decoder = Decoder(path.read_bytes())
    frames = list(decoder.frames())
    residuals = [r for r in records if r.get("element") == "residual_magnitude"]
    assert len(residuals) == sum(len(frame.pose) for frame in frames)
    assert sum("type" in record for record in records) == len(list(UnitReader(path.read_bytes())))


def test_dump_shows_errors_where_they_occur(hga: Run, stream: Path, tmp_path: Path) -> None:
    data = bytearray(stream.read_bytes())
    data[6] = 9  # version
    path = tmp_path / "version.hga"
    path.write_bytes(bytes(data))
    result = hga("dump", path, "--json")
    records = lines(result.stdout)
    error = next(i for i, record in enumerate(records) if "error" in record)
    assert result.exit_code == 4
    assert all(record["unit"] == 0 for record in records[: error + 1])


def test_verify_with_the_digests_of_the_stream(hga: Run, stream: Path, tmp_path: Path) -> None:
    result = hga("verify", stream)
    assert (
        result.exit_code == 0
        and f"{FRAMES} frames agree in canonical, symbols, pose, joints" in result.stdout
    )
    data = bytearray(stream.read_bytes())
    hashes = [u for u in UnitReader(bytes(data)) if u.type == "metadata" and u.end - u.start > 7 * 16]
    data[hashes[1].end - 1] ^= 1  # the last digest of frame 1, that of the canonical Gaussians
    path = tmp_path / "wrong.hga"
    path.write_bytes(bytes(data))
    result = hga("verify", path, "--json")
    assert result.exit_code == 1
    difference = json.loads(result.stdout)["difference"]
    assert (difference["frame"], difference["stage"]) == (1, "canonical")
    assert "7.3" in difference["about"]


def test_verify_says_when_there_is_nothing_to_compare(hga: Run, tmp_path: Path) -> None:
    path = tmp_path / "random.hga"
    path.write_bytes(generate(1))
    result = hga("verify", path)
    assert result.exit_code == 2 and "carries no digests" in result.stderr


def test_verify_executed(hga: Run, tmp_path: Path) -> None:
    path = tmp_path / "random.hga"
    path.write_bytes(generate(1, units=1))
    first = next(Decoder(path.read_bytes()).frames()).index
    result = hga("verify", path, "--executed", "--frames", str(first), "--size", "16x16")
    assert result.exit_code == 0 and "1 frame agrees in canonical, symbols, pose, joints" in result.stdout


def test_verify_against_another_decoder(hga: Run, stream: Path, tmp_path: Path) -> None:
    printed = tmp_path / "mine.jsonl"
    printed.write_text(hga("decode", stream, "--json", "--stages", "pose,joints").stdout)
    assert hga("verify", stream, "--against", printed).exit_code == 0
    folder = tmp_path / "stages"
    assert hga("decode", stream, "--stages", "joints,gaussians,pixels", "-o", folder).exit_code == 0
    assert hga("verify", stream, "--against", folder).exit_code == 0
    mine = folder / "000002.gaussians"
    values = np.frombuffer(mine.read_bytes(), "<i4").copy()
    values[21 * 7 + 4] += 1  # Gaussian 7: the entry after its mean and one of its factor
    mine.write_bytes(values.tobytes())
    result = hga("verify", stream, "--against", folder)
    assert result.exit_code == 1
    assert "frame 2 differs first in gaussians" in result.stdout and "Gaussian 7, factor[1]" in result.stdout


def test_verify_counts_frames_that_one_side_lacks(hga: Run, stream: Path, tmp_path: Path) -> None:
    printed = hga("decode", stream, "--json", "--stages", "pose").stdout.splitlines(keepends=True)
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(printed[:2] + printed[3:]))
    result = hga("verify", stream, "--against", mine)
    assert result.exit_code == 1 and f"frame 2 is missing in {mine}" in result.stdout
    assert hga("verify", stream, "--against", mine, "--frames", ":2").stdout.endswith(
        "2 frames agree in pose\n"
    )
    mine.write_text("".join([*printed, printed[-1].replace(f'"frame": {FRAMES - 1}', '"frame": 9')]))
    result = hga("verify", stream, "--against", mine, "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["difference"]["frame"] == 9
    assert json.loads(result.stdout)["stages_compared"] == {"pose": FRAMES}


def test_verify_names_a_stage_that_the_other_side_lacks(hga: Run, stream: Path, tmp_path: Path) -> None:
    """Lines of pose alone are a decoder's right; one frame of them without its joints is a difference."""
    printed = lines(hga("decode", stream, "--json", "--stages", "pose,joints").stdout)
    del printed[2]["digests"]["joints"]
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(json.dumps(line) + "\n" for line in printed))
    result = hga("verify", stream, "--against", mine)
    assert result.exit_code == 1
    assert "frame 2 differs first in joints" in result.stdout
    assert "missing: the other side has no joints of frame 2" in result.stdout
    folder = tmp_path / "stages"
    hga("decode", stream, "--stages", "pose,joints", "-o", folder)
    (folder / "000001.joints").unlink()
    found = json.loads(hga("verify", stream, "--against", folder, "--json").stdout)
    assert (found["difference"]["frame"], found["difference"]["stage"]) == (1, "joints")
    assert found["stages_compared"] == {"pose": 2, "joints": 1}


def test_verify_names_stages_that_it_does_not_know(hga: Run, stream: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(hga("decode", stream, "--json", "--stages", "pose").stdout.replace('"pose"', '"poses"'))
    result = hga("verify", stream, "--against", mine)
    assert result.exit_code == 2 and "stages that the standard does not have: poses" in result.stderr
    assert "has none of the stages of the standard" in result.stderr


def test_verify_against_another_stream(hga: Run, stream: Path, content: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.hga"
    hga("encode", content / "avatar.npz", content / "walk.npz", "-o", other, "--size", "48x48")
    result = hga("verify", stream, "--against", other, "--stages", "joints,gaussians")
    assert result.exit_code == 1 and "differs first in gaussians" in result.stdout  # without the face


def test_export_keeps_the_covariance(hga: Run, stream: Path, tmp_path: Path) -> None:
    assert hga("export", stream, "-o", tmp_path, "--frames", "2").exit_code == 0
    gaussians = load_gaussians(tmp_path / "frame_000002.ply")
    frame = list(Decoder(stream.read_bytes()).frames())[2]
    mean, factor, _ = frame.gaussians
    seen = np.asarray(frame.canonical.opacity) > 0
    assert gaussians.positions == pytest.approx(mean[seen] / 2**20, abs=1e-6)
    w, x, y, z = gaussians.rotations.T
    first_axis = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1)
    wanted = factor[seen].reshape(-1, 3, 3) / 2**24
    stretched = np.einsum("nab,na->nb", wanted, first_axis)
    assert np.linalg.norm(stretched, axis=1) == pytest.approx(gaussians.scales[:, 0], rel=1e-4)
    assert hga("export", stream, "-o", tmp_path, "--format", "spz", "--frames", ":2").exit_code == 0
    assert load_gaussians(tmp_path / "frame_000001.spz").sh_degree == 1


def test_exported_gaussians_look_like_the_frame(stream: Path) -> None:
    decoder = Decoder(stream.read_bytes())
    frame = list(decoder.frames())[-1]
    picture = frame.render(decoder.cameras[0]).astype(float)
    exported = world_gaussians(frame)
    factors = quaternion_matrices(exported.rotations) * exported.scales[:, None, :]
    parts = (
        exported.positions * 2**20,
        factors * 2**24,
        None,
        exported.opacities * 2**14,
        exported.sh * 2**12,
    )
    drawn = render(
        *(None if part is None else np.rint(part).astype(int) for part in parts), decoder.cameras[0]
    )
    assert ((picture - drawn) ** 2).mean() < 0.5  # squared 8-bit steps: more than 51 dB


def test_export_reports_the_damage_that_left_nothing_to_see(hga: Run, stream: Path, tmp_path: Path) -> None:
    data = bytearray(stream.read_bytes())
    for unit in UnitReader(bytes(data)):
        if unit.type == "canonical":
            data[unit.payload_end - 1] ^= 1
    (tmp_path / "damaged.hga").write_bytes(bytes(data))
    result = hga("export", tmp_path / "damaged.hga", "-o", tmp_path / "plys")
    assert result.exit_code == 3
    assert "unit_checksum_matches" in result.stderr and "no visible Gaussian" in result.stderr


def test_bind_makes_an_avatar(hga: Run, tmp_path: Path) -> None:
    save_ply(tmp_path / "splat.ply", small_avatar().gaussians)
    write_soma(tmp_path / "rig.npz")
    result = hga(
        "bind", tmp_path / "splat.ply", "--rig", tmp_path / "rig.npz", "-o", tmp_path / "a.npz", "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["joints"] == 2
    avatar = load_avatar(tmp_path / "a.npz")
    assert avatar.rig.names == ("Hips", "Head") and avatar.gaussians.count == 200
    assert hga("bind", tmp_path / "splat.ply", "-o", tmp_path / "a.npz").exit_code == 2


def write_soma(path: Path) -> None:
    """A ladder of vertices 1 m high, the lower half on the hips, the upper on the head."""
    height = np.repeat(np.linspace(0, 1, 11), 2)
    vertices = np.stack([np.tile([-0.2, 0.2], 11), height, np.zeros(22)], axis=1)
    transforms = np.tile(np.eye(4), (2, 1, 1))
    transforms[1, 1, 3] = 0.5
    np.savez(
        path,
        rig_joint_names=np.array(["Hips", "Head"]),
        rig_joint_connections=np.array([[0, 1]]),
        bind_rig_transform=transforms,
        bind_vertices=vertices,
        faces=np.array([[0, 1, 2]]),
        lbs_indices=(height > 0.5).astype(int)[:, None],
        lbs_weights=np.ones((22, 1)),
    )


def test_spec_tables(hga: Run) -> None:
    assert "motion_unit" in hga("spec", "table").stdout
    assert "key_flag" in hga("spec", "table", "motion_unit").stdout
    assert hga("spec", "table", "nothing").exit_code == 2


def make_wrong(kind: str, content: Path, folder: Path) -> Path:
    """A file that is wrong in the way that `kind` says."""
    path = folder / f"{kind}.npz"
    poses, trans = np.zeros((FRAMES, 165)), np.zeros((FRAMES, 3))
    if kind == "nan":
        poses[3, 7] = np.nan
        np.savez(path, poses=poses, trans=trans, mocap_frame_rate=30.0)
    elif kind == "rate":
        np.savez(path, poses=poses, trans=trans)
    elif kind == "joints":
        np.savez(path, poses=poses[:, :60], trans=trans, mocap_frame_rate=30.0)
    elif kind == "spz":
        path = folder / "new.spz"
        path.write_bytes(struct.pack("<IIIBBBB", 0x5053474E, 99, 1, 0, 12, 0, 0) + bytes(64))
    elif kind == "stream":
        path = folder / "cut.hga"
        path.write_bytes((content / "small.hga").read_bytes()[:1000])
    else:
        path = folder / f"{kind}.hga"
        path.write_bytes(b"" if kind == "empty" else b"just some text, not a stream at all\n")
    return path


@pytest.mark.parametrize(
    ("kind", "command", "code", "message"),
    [
        ("missing", "decode {missing}", 2, "does not exist"),
        ("folder", "decode {folder}", 2, "is a directory"),
        ("empty", "decode {wrong}", 4, "not an HGA stream: the file is empty"),
        ("text", "decode {wrong}", 4, "not an HGA stream: it starts with b'just som'"),
        ("text", "info {wrong}", 4, "not an HGA stream"),
        ("text", "render {wrong} -o {folder}/a.png", 4, "not an HGA stream"),
        ("stream", "decode {wrong} --strict", 4, "unit_size_fits"),
        ("nan", "encode {avatar} {wrong} -o {folder}/a.hga", 3, "rotations of frame 3 are not finite"),
        ("joints", "encode {avatar} {wrong} -o {folder}/a.hga", 3, "(5, 60)"),
        ("text", "encode {wrong} {walk} -o {folder}/a.hga", 3, "neither a bound avatar"),
        ("spz", "bind {wrong} --rig {rig} -o {folder}/a.npz", 3, "version 99"),
        ("none", "encode {avatar} {walk} -o {folder}/a.npz", 2, "ends in .hga"),
        ("none", "encode {avatar} {walk} -o {stream}/a.hga", 2, "File exists"),
        ("none", "bind {avatar} --rig {rig} -o {rig}", 2, "is an input"),
        ("none", "bind {avatar} --rig {rig} -o {folder}/a.ply", 2, "ends in .npz"),
        ("none", "bind {avatar} --rig {rig} -o {folder}/a.npz --height 0", 3, "--height 0:"),
        ("none", "generate {folder}/a.bin", 2, "ends in .hga"),
        ("none", "export {stream} -o {folder}/plys --frames 9", 2, "no frame in this range"),
        ("none", "decode {stream} --frames 9", 2, "no frame in this range"),
        ("none", "render {stream} -o {folder}/a --frames 9", 2, "no frame in this range"),
        ("none", "render {stream} -o {stream}", 2, "is an input"),
        ("rate", "encode {avatar} {wrong} -o {folder}/a.hga", 3, "'mocap_frame_rate' or 'mocap_framerate'"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --influences 0", 3, "--influences"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --effort 0", 3, "--effort 0: 1 to 9"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --effort 99", 3, "--effort 99: 1 to 9"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --group-shift 4", 3, "-1 to 3"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --influences 9", 3, "influence_limit is 8"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --size 5000x50", 3, "camera_width is 5000"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --frames 9:", 3, "has 5 frames"),
        ("none", "encode {avatar} {walk} -o {folder}/a.hga --fps x", 2, "frame rate"),
        ("none", "render {stream} -o {folder}/a.xyz", 3, "pictures go to"),
        ("none", "render {stream} -o {folder}/a.png --frame 99", 2, "no frame in this range"),
        ("none", "render {stream} -o {folder}/a.png --camera nowhere", 3, "camera 'nowhere'"),
        ("none", "render {stream} -o {folder}/a.png --background mud", 2, "no colour"),
        ("none", "decode {stream} --stages pose,nothing", 2, "no stage 'nothing'"),
        ("none", "decode {stream} --frames 3:1", 2, "holds no frame"),
        ("text", "verify {stream} --against {wrong}", 3, "neither a stream nor lines of JSON"),
        ("empty", "verify {stream} --against {wrong}", 3, "the file is empty"),
        ("none", "verify {stream} --frames 9", 2, "no frame in this range"),
    ],
)
def test_wrong_input_takes_one_line(
    hga: Run, stream: Path, content: Path, tmp_path: Path, kind: str, command: str, code: int, message: str
) -> None:
    wrong = make_wrong(kind, content, tmp_path)
    write_soma(tmp_path / "rig.npz")
    places = {
        "wrong": wrong,
        "missing": tmp_path / "not_there.hga",
        "folder": tmp_path,
        "rig": tmp_path / "rig.npz",
        "avatar": content / "avatar.npz",
        "walk": content / "walk.npz",
        "stream": stream,
    }
    result = hga(*command.format(**places).split())
    assert result.exit_code == code, result.output
    complaints = [
        line for line in result.stderr.splitlines() if not line.startswith("only 3 of the motion's")
    ]
    assert message in result.stderr and len(complaints) == 1, result.stderr


def test_outputs_make_their_folders(hga: Run, stream: Path, content: Path, tmp_path: Path) -> None:
    assert (
        hga("encode", content / "avatar.npz", content / "walk.npz", "-o", tmp_path / "a/b.hga").exit_code == 0
    )
    assert hga("render", stream, "-o", tmp_path / "c/d.png").exit_code == 0
    assert hga("generate", tmp_path / "e/f.hga").exit_code == 0
    assert all((tmp_path / name).is_file() for name in ("a/b.hga", "c/d.png", "e/f.hga"))


@pytest.mark.parametrize("option", setting_options(), ids=lambda option: option.name)
def test_every_setting_has_its_help(hga: Run, option: SettingOption) -> None:
    text = " ".join(hga("encode", "--help").stdout.split())
    assert f"--{option.name.replace('_', '-')}" in text and option.help and option.help in text
    assert text.endswith("Show this message and exit.")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(hga: Run, stream: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = hga("render", stream, "-o", tmp_path / "a.png")
    assert result.exit_code == 2 and "Permission denied" in result.stderr


def test_a_mistake_in_the_standard_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        SyntaxDescriptionError("sequence.yaml: structures/a"),
        DocumentError("7_decoding.md:12: unknown name"),
        MissingValue("no value is given for the element 'new'"),
    ):
        assert exit_code(error) == 5
        message = capsys.readouterr().err
        assert message.startswith(f"hga: {error}") and message.count("\n") == 1
    assert exit_code(KeyError("oops")) == 70
    assert "KeyError: 'oops'" in capsys.readouterr().err
