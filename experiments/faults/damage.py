"""Files are cut off, emptied, flipped and exchanged, and read again by what reads them.

Each must be refused with an error that names the file. A flipped bit may also change nothing of
what is read, and then does no harm; and no code of a stranger's file may run.
"""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from experiments.faults.processes import forked, in_workers, last_line
from experiments.faults.readers import READERS, write_originals
from experiments.faults.runs import train, words_of
from experiments.faults.tried import Campaign, Part, Tried

__all__ = ["DAMAGE", "Stranger", "damages", "judge"]

OTHER = "accepted, and other values were read"
CUTS, FLIPS = 20, 40
"""Places of each file that are drawn."""


class Stranger:
    """Runs code when it is unpickled: it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


Damages = Iterator[tuple[str, str, Callable[[Path], Any]]]


def damages(original: bytes, seed: str, n_cuts: int, n_flips: int) -> Damages:
    """Ways to damage a file: the kind, the place, and what writes the damaged one to a path."""
    rng = random.Random(seed)
    size = len(original)
    for cut in sorted({rng.randrange(1, size) for _ in range(n_cuts)}):
        yield "cut off", f"after byte {cut}", _writing(original[:cut])
    yield "empty", "", _writing(b"")
    yield "noise", "of its size", _writing(rng.randbytes(size))
    yield "folder", "in its place", lambda path: path.mkdir()
    for _ in range(n_flips):
        byte, bit = rng.randrange(size), rng.randrange(8)
        flipped = bytes([original[byte] ^ (1 << bit)])
        whole = original[:byte] + flipped + original[byte + 1 :]
        yield "flipped bit", f"bit {bit} of byte {byte}", _writing(whole)


def strangers(originals: dict[str, Path], own: str, marker: Path) -> Damages:
    """Files of another kind, and those whose reading would run code."""
    for name, path in originals.items():
        if name != own:
            yield "foreign", f"a {name}", _writing(path.read_bytes())
    for value in ("{}", "[]", "null", "1", '"x"', '{"a": 1}', "[[]]", "- a: [1"):
        yield "foreign", value, _writing(value.encode())
    yield "foreign", "weights alone", lambda path: torch.save({"w": torch.ones(2)}, path)
    yield "stranger's code", "a pickle", _writing(pickle.dumps(Stranger(marker)))
    yield "stranger's code", "of torch.save", lambda path: torch.save(Stranger(marker), path)
    yield "stranger's code", "a tag of YAML", _writing(
        f"a: !!python/object/apply:os.mknod ['{marker}']".encode()
    )


def _writing(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def judge(read: Callable[[Path], Any], path: Path, good: Any) -> str:
    """Whether a damaged file is refused by its name; gives what is wrong.

    Parameters
    ----------
    good
        What is read from the file as it was.
    """
    try:
        found = read(path)
    except (ValueError, OSError) as error:
        return "" if path.name in str(error) else f"does not name the file: {repr(error)[:200]}"
    except Exception as error:
        return f"another error: {repr(error)[:200]}"
    return "" if found == good else OTHER


def _damaged(
    name: str, originals: dict[str, Path], folder: Path, seed: int, few: bool
) -> list[Tried]:
    """Damage one kind of file in all ways, and read it."""
    reader = READERS[name]
    folder.mkdir()
    path, marker = folder / originals[reader.name].name, folder / "ran"
    original = originals[reader.name].read_bytes()
    path.write_bytes(original)
    good = reader.read(path)
    ways = damages(original, f"{seed} {reader.name}", 3 if few else CUTS, 5 if few else FLIPS)
    found = []
    for kind, place, write in (*ways, *strangers(originals, reader.name, marker)):
        _remove(path)
        write(path)
        wrong = "its code ran" if marker.exists() else judge(reader.read, path, good)
        if wrong == OTHER and not reader.sealed and kind in ("cut off", "flipped bit"):
            kind, wrong = f"{kind}, which leaves another text that is as good", ""
        form = "sealed file" if reader.sealed else "plain text"
        found.append(Tried(f"{form}: {kind}", wrong, f"{reader.name}, {place}"))
    return found


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _program(kind: str, original: Path, data: Path, folder: Path) -> Tried:
    """Let the program itself go on from a damaged checkpoint, and keep it."""
    checkpoint = folder / "out" / "supernet.ckpt"
    checkpoint.parent.mkdir(parents=True)
    ways = {name: write for name, _, write in damages(original.read_bytes(), kind, 1, 1)}
    ways["stranger's code"] = lambda path: torch.save(Stranger(folder / "ran"), path)
    ways[kind](checkpoint)
    before, log = _content(checkpoint), folder / "log.txt"
    status = forked(train, words_of("text", "magic_at", data, checkpoint.parent), log=log)
    said = last_line(log)
    wrong = ""
    if status != 1 or not said.startswith("error: ") or checkpoint.name not in said:
        wrong = f"status {status}: {said}"
    elif _content(checkpoint) != before or (folder / "ran").exists():
        wrong = "the file was overwritten, or its code ran"
    return Tried(f"checkpoint, by `nni-magic train`: {kind}", wrong)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def damage(campaign: Campaign) -> list[Tried]:
    """Damage every kind of file."""
    folder = campaign.folder / "damage"
    [originals] = in_workers(write_originals, [(folder / "originals",)], 1)
    jobs = [
        (reader.name, originals, folder / str(n), campaign.seed, campaign.short)
        for n, reader in enumerate(READERS.values())
    ]
    found = [each for those in in_workers(_damaged, jobs, campaign.workers) for each in those]
    kinds = ["cut off", "flipped bit", "empty", "noise", "folder", "stranger's code"]
    programs = [
        (kind, originals["checkpoint"], folder / "originals", folder / kind)
        for kind in (kinds[:2] if campaign.short else kinds)
    ]
    return found + in_workers(_program, programs, campaign.workers)


DAMAGE = Part("damage", "files cut off, flipped, exchanged, and what reads them", damage)
