"""The disk is full when a run writes one of its files; then there is space again, and it goes on.

The disk is a small one in memory, which only the processes of this part see. At a chosen write, a
file takes all of its space.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.faults.points import FILES, is_write
from experiments.faults.processes import forked, in_workers, last_line
from experiments.faults.runs import differences, train, words_of, write_corpus
from experiments.faults.tried import Campaign, Part, Tried
from nni_magic.supernet.checkpoint import read_checkpoint

__all__ = ["DISK", "mount_small_disk"]

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
MEGABYTES = 64
RUN = ("retraining", "magic_at")
PER_FILE = 4


def mount_small_disk(folder: Path) -> None:
    """Mount a disk in memory that this process and its children see alone; needs no rights.

    Raises
    ------
    OSError
        If the system does not let anybody do so.
    """
    users, groups = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWNS | (CLONE_NEWUSER if users else 0))
    if users:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {users} 1")
        Path("/proc/self/gid_map").write_text(f"0 {groups} 1")
    _call("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    where, options = os.fsencode(folder), f"size={MEGABYTES}m".encode()
    _call("mount", b"tmpfs", where, b"tmpfs", ctypes.c_ulong(0), options)


def _call(name: str, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class _Filler:
    """Fills the disk just before a write of files with an ending, and counts such writes."""

    def __init__(self, folder: Path, ending: str, at: int) -> None:
        self.folder, self.ending, self.at = folder, ending, at
        self.filler = folder / "filler"
        self.count = 0

    def __call__(self, event: str, arguments: Sequence[Any]) -> None:
        if event != "open" or not is_write(event, arguments, str(self.folder)):
            return  # what is moved or removed needs no space
        if self.ending in os.fspath(arguments[0]):
            self.count += 1
            if self.count == self.at:
                self._fill()

    def _fill(self) -> None:
        with self.filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def _train_on_full(words: Sequence[str], filler: _Filler) -> None:
    sys.addaudithook(filler)
    train(words)


def _on_disk(data: Path, folder: Path, ending: str, at: int) -> None:
    """Mount, fill up, make space, go on; in a process that ends with its disk."""
    disk, log, verdict = folder / "disk", folder / "log.txt", folder / "verdict.json"
    disk.mkdir()
    try:
        mount_small_disk(disk)
    except OSError as error:
        verdict.write_text(json.dumps({"cannot mount": str(error)}))
        return
    output = disk / "out"
    words = words_of(*RUN, data, output)
    filler = _Filler(disk, ending, at)
    status = forked(_train_on_full, words, filler, log=log)
    said = last_line(log)
    wrong = ""
    if filler.filler.exists() and (status != 1 or "No space left on device" not in said):
        wrong = f"status {status}: {said}"
    elif left := [path.name for path in output.rglob("*.tmp")]:
        wrong = f"left {left}"
    for checkpoint in output.rglob("supernet.ckpt"):
        read_checkpoint(checkpoint)
    filler.filler.unlink(missing_ok=True)
    if not wrong and (status := forked(train, words, log=log)):
        wrong = f"did not go on: status {status}: {last_line(log)}"
    wrong = wrong or "; ".join(list(differences(data / "whole", output))[:3])
    verdict.write_text(json.dumps({"wrong": wrong, "said": said}))


def _full(data: Path, folder: Path, ending: str, at: int) -> Tried:
    folder.mkdir()
    kind = f"full at a write of the {FILES[ending]}"
    log = folder / "outer.txt"
    status = forked(_on_disk, data, folder, ending, at, log=log)
    if status:
        return Tried(kind, last_line(log), f"write {at}")
    verdict = json.loads((folder / "verdict.json").read_text())
    if "cannot mount" in verdict:
        return Tried(f"left out, as this system mounts none: {verdict['cannot mount']}")
    return Tried(kind, verdict["wrong"], f"write {at}: {verdict['said']}")


def _whole(data: Path) -> dict[str, int]:
    """The run with space, and how often it writes which files."""
    log, counts = data / "log.txt", data / "counts.json"
    output = data / "whole"
    if status := forked(_counted, words_of(*RUN, data, output), output, counts, log=log):
        raise RuntimeError(f"the run on an empty disk failed: {status}: {last_line(log)}")
    return json.loads(counts.read_text())


def _counted(words: Sequence[str], output: Path, counts: Path) -> None:
    fillers = {ending: _Filler(output, ending, 0) for ending in FILES}
    for filler in fillers.values():
        sys.addaudithook(filler)
    train(words)
    counts.write_text(json.dumps({ending: filler.count for ending, filler in fillers.items()}))


def disk(campaign: Campaign) -> list[Tried]:
    """Fill the disk at writes of every kind of file."""
    data = campaign.folder / "disk"
    data.mkdir()
    write_corpus(data / "corpus")
    [counts] = in_workers(_whole, [(data,)], 1)
    rng = random.Random(campaign.seed)
    jobs = [
        (data, data / f"{ending}-{n}", ending, rng.randint(1, counts[ending]))
        for ending in FILES
        for n in range(1 if campaign.short else PER_FILE)
    ]
    return in_workers(_full, jobs, campaign.workers)


DISK = Part("disk", "a disk that is full when a file is written", disk)
