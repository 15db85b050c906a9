"""What Hypothesis makes up is judged: what means nothing, and is taken, is found."""

import pytest
from hypothesis import strategies as st

from experiments.faults import generated
from experiments.faults.generated import KINDS, examples
from experiments.faults.nonsense import Row, whole
from nni_magic.support.errors import check_count


@pytest.mark.parametrize("kind", KINDS)
def test_generated_inputs_are_taken_or_refused_by_name(kind):
    found = examples(kind, 60, seed=1)
    assert len(found) >= 40
    assert [each for each in found if each.wrong] == []


def test_same_seed_gives_the_same_inputs(monkeypatch):
    drawn = []

    def judge(data):
        drawn.append(data.draw(st.text()))
        return "", ""

    monkeypatch.setitem(KINDS, "x", (1, judge))
    for seed in (1, 1, 2):
        drawn.append("start")
        examples("x", 20, seed)
    first, second, other = (drawn[n * 21 + 1 : n * 21 + 21] for n in range(3))
    assert first == second != other


def check(k):
    check_count("k", k)


def cryptic(k):
    if not isinstance(k, int) or k < 1:
        raise ValueError("no")


@pytest.mark.parametrize(("make", "wrong"), [
    (check, set()), (cryptic, {"cryptic", "silent"}), (lambda k: None, {"silent"}),
])  # fmt: skip
def test_setting_that_is_taken_or_refused_wrongly_is_found(make, wrong, monkeypatch):
    monkeypatch.setattr(generated, "SETTINGS", [Row("x", make, {"k": whole(1)})])
    found = examples("settings", 100, seed=0)
    assert {each.wrong.partition(":")[0] for each in found if each.wrong} == wrong
