"""A small disk is mounted for one process, and filled at a write."""

import json
import os

import pytest

from experiments.faults.disk import MEGABYTES, _Filler, mount_small_disk
from experiments.faults.processes import forked, last_line

OPENED = os.O_WRONLY | os.O_CREAT


def fill(folder, verdict):
    try:
        mount_small_disk(folder)
    except OSError as error:
        verdict.write_text(json.dumps({"cannot": str(error)}))
        return
    filler = _Filler(folder, ".json", at=2)
    for name in ("a.json", "a.csv", "b.json"):
        filler("open", (str(folder / name), "w", OPENED))
    space = os.statvfs(folder)
    size = space.f_blocks * space.f_frsize
    verdict.write_text(json.dumps({"size": size, "free": space.f_bavail, "count": filler.count}))


def test_disk_is_small_and_full_and_seen_by_one_process_alone(tmp_path):
    folder, verdict, log = tmp_path / "disk", tmp_path / "verdict", tmp_path / "log"
    folder.mkdir()
    assert forked(fill, folder, verdict, log=log) == 0, last_line(log)
    found = json.loads(verdict.read_text())
    if "cannot" in found:
        pytest.skip(f"this system mounts nothing: {found['cannot']}")
    assert found == {"size": MEGABYTES * 2**20, "free": 0, "count": 2}
    assert list(folder.iterdir()) == []


def test_other_files_and_events_do_not_count(tmp_path):
    filler = _Filler(tmp_path, ".json", at=1)
    for event, path, flags in [
        ("open", tmp_path / "a.csv", OPENED), ("open", tmp_path / "a.json", os.O_RDONLY),
        ("open", tmp_path.parent / "a.json", OPENED), ("os.rename", tmp_path / "a.json", 0),
    ]:  # fmt: skip
        filler(event, (str(path), "w", flags))
    assert filler.count == 0
    assert not filler.filler.exists()
