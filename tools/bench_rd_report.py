"""What `hga bench rd` makes of its measurements: a report for JSON, tables and curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reference_encoder.content import Gaussians
from reference_encoder.splats import load_gaussians
from tools import terminal
from tools.bench_rd_effort import measure_effort, measure_face
from tools.bench_rd_meshes import mesh_peers
from tools.bench_rd_peers import static_peers
from tools.bench_rd_static import StaticReport, measure_expressions, measure_static
from tools.content import body_avatar, head_avatar
from tools.rd_plot import Curve, bd_rate, plot, plot_levels, rate_at

Progress = Callable[[str, int, int], None]


def static(
    files: Sequence[Path],
    qualities: Sequence[float],
    splat_transform: str | None,
    slow: bool,
    output_dir: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """{"static": one report for each content}; draws its curves into `output_dir`."""
    peers = [*static_peers(splat_transform, slow), *mesh_peers()]
    reports = []
    for name, gaussians in contents(files):
        measured = measure_static(name, gaussians, qualities, peers, progress=progress)
        report = asdict(measured) | {"against": comparisons(measured)}
        if output_dir is not None:
            title = f"{name}: {measured.gaussians:,} Gaussians, SH degree {measured.sh_degree}"
            each = {
                label: [(rate / measured.gaussians, psnr) for rate, psnr in curve]
                for label, curve in curves(measured).items()
            }
            report["plots"] = [str(path) for path in plot(output_dir, f"rd_{name}", title, each)]
        reports.append(report)
    return {"static": reports}


def contents(files: Sequence[Path]) -> Iterator[tuple[str, Gaussians]]:
    """(name, Gaussians) of the files, or of the head and the body that ship with HGA."""
    if not files:
        yield "head", head_avatar().gaussians
        yield "body", body_avatar().gaussians
    for path in files:
        yield path.name, load_gaussians(path)


def curves(report: StaticReport) -> dict[str, Curve]:
    """(bytes, PSNR) of HGA, then of each peer in the order measured."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for row in [*report.hga, *report.peers]:
        label = f"{row.coder} ({row.setting})" if row.setting == "splat-transform" else row.coder
        rows.setdefault(label, []).append((row.bytes, row.psnr))
    return dict(rows)


def comparisons(report: StaticReport) -> list[dict[str, Any]]:
    """For each point of a peer, HGA's bytes at that PSNR over the peer's; for a peer with a curve, BD-rate too.

    A ratio is None where HGA's points do not reach that PSNR: nothing is extrapolated.
    """
    by_label = curves(report)
    own = by_label["hga"]
    found = []
    for label, curve in by_label.items():
        for rate, psnr in curve if label != "hga" else ():
            needed = rate_at(own, psnr)
            found.append(
                {
                    "peer": label,
                    "bytes": rate,
                    "psnr": psnr,
                    "ratio": None if needed is None else needed / rate,
                    "bd_rate": bd_rate(curve, own),
                }
            )
    return found


def expressions(progress: Progress) -> dict[str, Any]:
    """{"expressions": the shipped head}"""
    measured = measure_expressions("head", head_avatar())
    progress("expressions", 1, 1)
    return {"expressions": asdict(measured) | {"ratio": measured.bytes / measured.zstd}}


def effort(
    files: Sequence[Path], qualities: Sequence[float], output_dir: Path | None, progress: Progress
) -> dict[str, Any]:
    """{"effort": one report for each content}; draws curves, bytes and times of the levels into `output_dir`."""
    reports = []
    for name, gaussians in contents(files):
        measured = measure_effort(name, gaussians, qualities, progress)
        report = asdict(measured)
        if output_dir is not None:
            title = f"{name}: {measured.gaussians:,} Gaussians, levels of effort"
            each = {
                f"effort {level.effort}": [(row.bytes / measured.gaussians, row.psnr) for row in level.rows]
                for level in measured.levels
            }
            rates, rate = {}, 100.0
            for level in measured.levels:
                rate *= (
                    1 + (level.to_below or 0.0) / 100
                )  # one to the next: they have most of their PSNRs in common
                rates[level.effort] = rate
            seconds = {
                level.effort: sum(row.encoding for row in level.rows) / len(level.rows)
                for level in measured.levels
            }
            drawn = [
                *plot(output_dir, f"effort_{name}_curves", title, each),
                *plot_levels(output_dir, f"effort_{name}", title, rates, seconds),
            ]
            report["plots"] = [str(path) for path in drawn]
        reports.append(report)
    return {"effort": reports}


def face(output_dir: Path | None, progress: Progress) -> dict[str, Any]:
    """{"face": the shipped body}; puts pictures of its face into `output_dir`."""
    return {"face": [asdict(measure_face("body", body_avatar(), output_dir, progress))]}


def show(report: dict[str, Any]) -> None:
    """Prints every part of the report as a table."""
    for part in report.get("static", ()):
        _show_static(part)
    for part in report.get("effort", ()):
        _show_effort(part)
    for part in report.get("face", ()):
        _show_face(part)
    if "expressions" in report:
        _show_expressions(report["expressions"])
    if "motion" in report:
        _show_motion(report["motion"])


def _show_static(part: dict[str, Any]) -> None:
    count = part["gaussians"]
    against = {(entry["bytes"], entry["psnr"]): entry for entry in part["against"]}
    columns = ("coder", "setting", "bytes>", "B/Gaussian>", "PSNR dB>", "encode s>", "decode s>")
    rows = []
    for row in part["hga"] + part["peers"]:
        entry = against.get((row["bytes"], row["psnr"])) if row["coder"] != "hga" else None
        measured = (
            row["coder"],
            row["setting"],
            f"{row['bytes']:,}",
            f"{row['bytes'] / count:.2f}",
            f"{row['psnr']:.2f}",
            f"{row['encoding']:.2f}",
            f"{row['decoding']:.3f}",
        )
        rows.append(measured + (_compared(entry) if entry else ("", "")))
    title = f"{part['content']}: {count:,} Gaussians, SH degree {part['sh_degree']}"
    terminal.table(title, (*columns, "HGA needs>", "BD-rate>"), rows)
    for line in part["missing"]:
        terminal.say(f"left out: {line}")
    for path in part.get("plots", ()):
        terminal.say(f"wrote {path}")


def _compared(entry: dict[str, Any]) -> tuple[str, str]:
    """What HGA needs of a peer's bytes at that peer's PSNR, and over its curve."""
    ratio = "-" if entry["ratio"] is None else f"{100 * entry['ratio']:.1f} %"
    return ratio, "" if entry["bd_rate"] is None else f"{entry['bd_rate']:+.1f} %"


def _show_effort(part: dict[str, Any]) -> None:
    columns = ("effort", "B/Gaussian at PSNR", "to the level below>", "to level 1>", "encode s>")
    rows = []
    for level in part["levels"]:
        points = [f"{row['bytes'] / part['gaussians']:.2f} at {row['psnr']:.2f}" for row in level["rows"]]
        rates = ["" if rate is None else f"{rate:+.2f} %" for rate in (level["to_below"], level["to_first"])]
        rows.append((level["effort"], ", ".join(points), *rates, f"{level['rows'][-1]['encoding']:.1f}"))
    terminal.table(f"{part['content']}: BD-rate of the levels of effort", columns, rows)
    for path in part.get("plots", ()):
        terminal.say(f"wrote {path}")


def _show_face(part: dict[str, Any]) -> None:
    columns = ("--face-priority", "picture step>", "bytes>", "face PSNR dB>", "hand>", "all>")
    rows = [
        (
            f"{row['priority']:g}",
            f"{row['picture_step']:.3f}",
            f"{row['bytes']:,}",
            f"{row['face']:.2f}",
            f"{row['hand']:.2f}",
            f"{row['all']:.2f}",
        )
        for row in part["rows"]
    ]
    share = f"{100 * part['share']:.0f} % of the Gaussians are face or hands"
    terminal.table(f"{part['content']}: priority at equal bytes; {share}", columns, rows)
    for path in part.get("pictures", ()):
        terminal.say(f"wrote {path}")


def _show_expressions(part: dict[str, Any]) -> None:
    rows = [
        ("HGA, the whole stream", f"{part['bytes']:,}"),
        ("its canonical layer", f"{part['canonical']:,}"),
        ("its expression layer", f"{part['offsets']:,}"),
        ("zstd -19 of 16-bit arrays", f"{part['zstd']:,}"),
        ("ratio", f"{part['ratio']:.3f}"),
        ("largest error of an expression", f"{part['error_max']:.4f} mm"),
        ("mean error", f"{part['error_mean']:.4f} mm"),
        ("encoding", f"{part['encoding']:.2f} s"),
    ]
    terminal.table(f"{part['content']} with {part['expressions']} expressions", ("", ">"), rows)


def _show_motion(part: dict[str, Any]) -> None:
    columns = ("clip", "frames>", "bytes>", "B/frame>", "ACL's>", "ratio>", "joint max mm>", "shell max mm>")
    rows = [
        (
            clip["clip"],
            clip["frames"],
            f"{clip['bytes']:,}",
            f"{clip['bytes'] / clip['frames']:.1f}",
            f"{clip['peer']['bytes']:,}",
            f"{clip['bytes'] / clip['peer']['bytes']:.3f}",
            f"{clip['joint_max']:.3f}",
            f"{clip['shell_max']:.3f}",
            f"{clip['encoding']:.2f}",
            f"{clip['decoding']:.2f}",
        )
        for clip in part["modes"][0]["clips"]
    ]
    title = f"motion at ACL's errors: {part['kbit_per_s']:.1f} kbit/s"
    terminal.table(title, (*columns, "encode s>", "decode s>"), rows)
    _show_modes("at ACL's errors", part["modes"])
    found = part["summary"]
    lines = (
        ("long units over ACL", f"{found['to_acl']:.3f}"),
        ("with a key unit each second", f"{found['to_acl_with_a_key_a_second']:.3f}"),
        ("one frame a unit over the best groups", f"{100 * found['low_delay_to_best_groups'] - 100:+.1f} %"),
        ("B/frame over the 646 of HGC-Avatar's coder", f"{found['to_hgc_avatar']:.3f}"),
    )
    terminal.table("motion, what it comes to", ("", ">"), lines)
    _show_modes("at mean errors of the joints", part["means"])
    points = [
        (
            f"{point['step']:g}",
            f"{point['weight_mean']:.2f}",
            f"{point['weight_max']:.2f}",
            f"{point['bytes'] / point['frames']:.1f}",
        )
        for point in part["track"]
    ]
    heads = ("step>", "mean error>", "largest>", "B/frame>")
    terminal.table("expression weights of a face, in 1/1000", heads, points)


def _show_modes(title: str, modes: Sequence[dict[str, Any]]) -> None:
    """All clips together in several ways of coding."""
    heads = ("", "key units", "B/frame>", "to ACL>", "mean mm>", "max mm>", "encoded/s>", "decoded/s>")
    rows = [
        (
            mode["name"],
            f"every {mode['random_access']:g} s" if mode["random_access"] else "one",
            f"{mode['bytes'] / mode['frames']:.1f}",
            f"{mode['ratio']:.3f}",
            f"{mode['joint_mean']:.3f}",
            f"{mode['joint_max']:.3f}",
            f"{mode['encoded_per_s']:,.0f}",
            f"{mode['decoded_per_s']:,.0f}",
        )
        for mode in modes
    ]
    terminal.table(f"motion {title}", heads, rows)
