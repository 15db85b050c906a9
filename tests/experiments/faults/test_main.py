"""The campaign, short: a few faults of each kind, all answered as promised."""

import json

import pytest

from experiments.faults import __main__ as campaign
from experiments.faults.__main__ import PARTS, main
from experiments.faults.tried import Part, Tried


def test_short_campaign_finds_nothing(capsys):
    wrong = main(["kills", "damage", "generated", "--short", "--seed", "3"])
    out = capsys.readouterr().out
    assert wrong == 0, out
    for part in ("kills", "damage", "generated"):
        assert f"| `{part}` |" in out


@pytest.fixture
def one(monkeypatch):
    """A part in place of all."""
    seen = []

    def run(told):
        seen.append(told)
        bad = Tried("a", f"bad: {told.folder / 'b.json'}", "here")
        return [bad, Tried("a", lost={"steps": 3})]

    part = Part("one", "what it does", run)
    monkeypatch.setattr(campaign, "PARTS", {"one": part})
    return seen


def test_record_holds_every_fault(one, tmp_path, capsys):
    assert main(["one", "--output", str(tmp_path), "--hardware", "x", "--seed", "4"]) == 1
    [record] = tmp_path.glob("faults_one_x_*.json")
    written = json.loads(record.read_text())
    assert [each["wrong"] for each in written["tried"]["one"]] == ["bad: b.json", ""]
    assert written["seed"] == 4
    assert "experiments.faults one" in written["command"]
    assert "- a, here: bad: b.json" in record.with_suffix(".md").read_text()
    [told] = one
    assert (told.seed, told.short, told.workers) == (4, False, 2)
    assert not told.folder.exists()


def test_what_was_found_is_kept_where_a_later_part_fails(one, tmp_path, monkeypatch):
    def fails(told):
        raise OSError("no more disk")

    monkeypatch.setitem(campaign.PARTS, "two", Part("two", "fails", fails))
    with pytest.raises(OSError, match="no more disk"):
        main(["--output", str(tmp_path), "--hardware", "x"])
    [record] = tmp_path.glob("faults_x_*.json")
    assert [*json.loads(record.read_text())["tried"]] == ["one"]


def test_short_campaign_writes_no_record_and_folder_is_kept(one, tmp_path):
    folder = tmp_path / "runs"
    assert main(["--short", "--output", str(tmp_path), "--folder", str(folder)]) == 1
    assert [*tmp_path.iterdir()] == [folder]


def test_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
    assert {*PARTS} == {"kills", "disk", "ranks", "managers", "damage", "generated", "soak"}
