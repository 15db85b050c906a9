"""Which supernets are compared, and which is chosen on one half of the children."""

import pytest

from experiments.studies.comparisons import chosen

SUPERNETS = {
    "spos": {"strategy": "spos", "steps": 10},
    "magic_t": {"strategy": "magic_t", "steps": 10},
    "magic_a": {"strategy": "magic_a", "steps": 10},
    "spos_20": {"strategy": "spos", "steps": 20},
    "magic_a_20": {"strategy": "magic_a", "steps": 20},
}
PLAN = {"supernets": {name: {**found, "values": {}} for name, found in SUPERNETS.items()}}


def compared(**gains):
    """Comparisons by names of ``supernet__against``."""
    return [
        {"supernet": after, "against": before, "difference": {"mean": gain}}
        for pair, gain in gains.items()
        for after, before in [pair.split("__")]
    ]


def test_largest_gain_of_the_first_half_is_reported_on_the_second():
    first = compared(magic_t__spos=-0.1, magic_a__spos=0.2)
    second = compared(magic_t__spos=0.3, magic_a__spos=-0.05)
    assert chosen(PLAN, first, second) == {"among": 2, "first": first[1], "second": second[1]}


def test_gain_is_over_the_baseline_trained_as_long():
    first = compared(magic_t__spos=0.1, magic_a_20__spos=0.5, magic_a_20__spos_20=0.0,
                     magic_a_20__magic_a=0.9, spos_20__spos=0.7)  # fmt: skip
    assert chosen(PLAN, first, first) == {"among": 2, "first": first[0], "second": first[0]}


@pytest.mark.parametrize(("first", "second"), [
    ({}, {}), ({"magic_t__spos": 0.1}, {}), ({"spos_20__spos": 0.1}, {"spos_20__spos": 0.1}),
])  # fmt: skip
def test_where_nothing_was_compared_nothing_is_chosen(first, second):
    assert chosen(PLAN, compared(**first), compared(**second)) is None
