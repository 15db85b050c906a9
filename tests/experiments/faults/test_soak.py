"""Memory after the first epochs is compared with that at the end."""

import pytest

from experiments.faults.soak import _judged, growth, soaked


def test_growth_leaves_out_what_is_needed_at_first():
    assert growth([50, 60, 70, *[70] * 20], settled=3) == 0
    assert growth([70 + n for n in range(40)], settled=10) == pytest.approx(26)


@pytest.mark.parametrize(("resident", "size", "wrong"), [
    ([10, 11, 11, 11, 11], [1, 5, 5, 5, 5], ""),
    ([10, 11, 20, 30, 40], [1, 5, 5, 5, 5], r"the memory grew by 29.0 MiB in 9 steps"),
    ([10, 11, 11, 11, 11], [1, 5, 9, 9, 9999], r"the checkpoint grew by 9994 bytes"),
])  # fmt: skip
def test_training_that_keeps_more_and_more_is_found(resident, size, wrong):
    assert _judged("x", {"steps": 9, "resident": resident, "size": size}, 1).wrong == wrong


def test_long_training_is_measured_after_each_epoch(tmp_path):
    found = soaked("spos", tmp_path, epochs=3, epoch=2)
    assert found["steps"] == 6
    assert len(found["resident"]) == len(found["size"]) == 3
    assert found["size"][0] == 0 < found["size"][1]
