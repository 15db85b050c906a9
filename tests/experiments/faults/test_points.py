"""Points are counted by stage, the same in every run, and the chosen one is fatal."""

import json
import multiprocessing
import signal

import pytest
import torch
from torch import nn

from experiments.faults.points import FILES, FORWARD, INSIDE, STEP, Board, Kill, Points
from experiments.faults.processes import forked
from nni_magic.support.files import atomic_file

SIZE = 100_000


def work(folder, board, kill, counts):
    points = Points(folder, board, kill)
    points.watch()
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    for _ in range(3):
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    for content in (b"a", b"b"):
        with atomic_file(folder / "a.ckpt") as file:
            file.write(content * SIZE)
    counts.write_text(json.dumps(points.counts))


@pytest.fixture
def killed(tmp_path):
    """Status, steps and what is in the file after a kill."""

    def run(kill):
        folder, counts = tmp_path / "out", tmp_path / "counts"
        folder.mkdir()
        board = Board(multiprocessing.get_context("fork"))
        status = forked(work, folder, board, kill, counts, log=tmp_path / "log")
        file = folder / "a.ckpt"
        content = file.read_bytes() if file.exists() else b""
        return status, board.steps, content, json.loads(counts.read_text()) if not status else {}

    return run


def test_points_are_counted_by_stage(killed):
    status, steps, content, counts = killed(None)
    assert (status, steps, content) == (0, 3, b"b" * SIZE)
    assert counts[FORWARD] == 3
    assert counts[STEP] == 6  # before and after each
    assert counts[INSIDE] == 2
    # Opened, made readable and moved, twice.
    assert counts[FILES[".ckpt"]] == 6


@pytest.mark.parametrize(("kill", "steps", "content"), [
    (Kill(FORWARD, 2), 1, b""),
    (Kill(STEP, 3), 1, b""),
    (Kill(STEP, 4), 2, b""),
    (Kill(FILES[".ckpt"], 1), 3, b""),
    (Kill(FILES[".ckpt"], 3), 3, b""),
    (Kill(FILES[".ckpt"], 6), 3, b"a" * SIZE),
])  # fmt: skip
def test_chosen_point_is_fatal_and_leaves_whole_files(kill, steps, content, killed):
    assert killed(kill)[:3] == (-signal.SIGKILL, steps, content)


def test_process_ends_inside_a_write(killed, tmp_path):
    status, _, content, _ = killed(Kill(INSIDE, 2, byte=5000))
    assert (status, content) == (-signal.SIGXFSZ, b"a" * SIZE)
    [torn] = (tmp_path / "out").glob(".a.ckpt.*.tmp")
    assert 0 < torn.stat().st_size <= 5000
