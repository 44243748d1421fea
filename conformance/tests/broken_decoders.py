"""Decoders that are meant to fail: `broken_decoders.py DEFECT STREAM` cheats from the record, and then errs in one way.

Without STREAM it stays and reads paths from standard input. `honest` does not err: what is wrong with another one
is its defect alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Lines = list[dict[str, Any]]


def honest(record: dict[str, Any], path: Path) -> Lines:
    return [*record["frames"], *record["errors"]]


def accept_all(record: dict[str, Any], path: Path) -> Lines:
    return list(record["frames"])


def reject_all(record: dict[str, Any], path: Path) -> Lines:
    return [{"error": "Malformed", "constraint": "unit_size_fits", "unit": 0, "bit_offset": 0}]


def crash(record: dict[str, Any], path: Path) -> Lines:
    print(json.dumps(record["frames"][0]), flush=True)
    os.abort()


def hang(record: dict[str, Any], path: Path) -> Lines:
    """Waits in a child process, whose id it leaves beside the stream."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    path.with_suffix(".pid").write_text(str(child.pid))
    time.sleep(600)
    return []


def memory_hog(record: dict[str, Any], path: Path) -> Lines:
    """Takes the memory in a child process."""
    code = (
        "import time\nheld = []\nwhile True:\n held.append(bytearray(b'x' * (1 << 22)))\n time.sleep(0.002)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return []


def stale_output(record: dict[str, Any], path: Path) -> Lines:
    """Prints what belongs to the first stream of the folder, or to the last one for that one."""
    others = [other for other in sorted(path.parent.glob("*.json")) if other.stem != path.stem]
    return honest(json.loads(others[0].read_text()), path)


def wrong_metadata(record: dict[str, Any], path: Path) -> Lines:
    frames = [dict(frame) for frame in record["frames"]]
    frames[-1]["random_access"] = not frames[-1]["random_access"]
    return [*frames, *record["errors"]]


def wrong_order(record: dict[str, Any], path: Path) -> Lines:
    frames = [dict(frame) for frame in record["frames"]]
    frames[0]["digests"], frames[1]["digests"] = frames[1]["digests"], frames[0]["digests"]
    return [*frames, *record["errors"]]


def last_frame_missing(record: dict[str, Any], path: Path) -> Lines:
    return [*record["frames"][:-1], *record["errors"]]


def frame_lost_between(record: dict[str, Any], path: Path) -> Lines:
    return [record["frames"][0], *record["frames"][2:], *record["errors"]]


def wrong_id(record: dict[str, Any], path: Path) -> Lines:
    return [*record["frames"], *({**error, "constraint": "level_joints"} for error in record["errors"])]


def not_json(record: dict[str, Any], path: Path) -> Lines:
    print("frame 0 ok")
    return honest(record, path)


def frame_twice(record: dict[str, Any], path: Path) -> Lines:
    return [record["frames"][0], *honest(record, path)]


def one_stage_forgotten(record: dict[str, Any], path: Path) -> Lines:
    frames = [dict(frame) for frame in record["frames"]]
    frames[-1]["digests"] = {k: v for k, v in frames[-1]["digests"].items() if k != "pose"}
    return [*frames, *record["errors"]]


def no_stages(record: dict[str, Any], path: Path) -> Lines:
    return [*({**frame, "digests": {}} for frame in record["frames"]), *record["errors"]]


def gives_up(record: dict[str, Any], path: Path) -> Lines:
    """Not broken: 6.1 allows a decoder to stop at the first error."""
    return [*record["frames"][:1], *record["errors"][:1]] if record["errors"] else honest(record, path)


def fails_at_the_end(record: dict[str, Any], path: Path) -> Lines:
    for line in honest(record, path):
        print(json.dumps(line), flush=True)
    raise SystemExit("could not free the device")


def endless_output(record: dict[str, Any], path: Path) -> Lines:
    while True:
        print(json.dumps(record["frames"][0]) * 1000)


DEFECTS: dict[str, Callable[[dict[str, Any], Path], Lines]] = {
    function.__name__: function
    for function in (
        honest, accept_all, reject_all, crash, hang, memory_hog, stale_output, wrong_metadata, wrong_order,
        last_frame_missing, frame_lost_between, wrong_id, not_json, frame_twice, one_stage_forgotten, no_stages,
        gives_up, fails_at_the_end, endless_output,
    )
}  # fmt: skip


def answer(defect: str, stream: Path) -> None:
    for line in DEFECTS[defect](json.loads(stream.with_suffix(".json").read_text()), stream):
        print(json.dumps(line))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        answer(sys.argv[1], Path(sys.argv[2]))
    else:
        for request in sys.stdin:
            answer(sys.argv[1], Path(request.strip()))
            print(json.dumps({"end": 0}), flush=True)
