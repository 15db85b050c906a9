"""Layouts: rounding of channels, shapes of blocks, and stages that make no space."""

import pytest

from search_spaces.proxylessnas_layout import PRESETS, Stage, block_shapes, check_layout, scaled


@pytest.mark.parametrize("channels", [8, 16, 24, 32, 96, 160, 320])
@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.3, 1.4])
def test_scaled_is_a_multiple_of_8_and_hardly_less(channels, width):
    found = scaled(channels, width)
    assert found % 8 == 0
    assert found >= 0.9 * channels * width
    assert found - 8 < 0.9 * channels * width or found - channels * width <= 4


@pytest.mark.parametrize(("channels", "width", "expected"), [
    (32, 1.3, 40), (16, 0.35, 8), (24, 0.5, 16), (96, 1.4, 136), (320, 0.75, 240), (20, 1.0, 20),
])  # fmt: skip
def test_scaled_rounds_as_mobilenet_v2_does(channels, width, expected):
    assert scaled(channels, width) == expected


def test_first_block_of_a_stage_has_its_stride_and_changes_the_channels():
    stages = (Stage(16, 2, 2), Stage(24, 3, 1))
    assert list(block_shapes(stages, 8, 1.0)) == [
        (8, 16, 2), (16, 16, 1), (16, 24, 1), (24, 24, 1), (24, 24, 1),
    ]  # fmt: skip
    assert list(block_shapes(stages, 16, 2.0))[:2] == [(16, 32, 2), (32, 32, 1)]


@pytest.mark.parametrize(("name", "reduction"), [("imagenet", 32), ("cifar", 8), ("tiny", 4)])
def test_images_are_accepted_down_to_the_size_that_the_strides_allow(name, reduction):
    stages, stem_stride = PRESETS[name]["stages"], PRESETS[name].get("stem_stride", 2)
    check_layout(stages, reduction, stem_stride)
    with pytest.raises(ValueError, match=f"accepted are at least {reduction} pixels"):
        check_layout(stages, reduction - 1, stem_stride)


@pytest.mark.parametrize(("stages", "resolution", "message"), [
    ((), 8, "stages is empty; accepted are lists of at least one stage"),
    ((Stage(0, 1, 1),), 8, "channels of stage 1 is 0; accepted are whole numbers of at least 1"),
    ((Stage(8, 1, 1), Stage(8, 1.5, 1)), 8, "n_blocks of stage 2 is 1.5; accepted are whole"),
    ((Stage(8, 1, 3),), 8, "stride of stage 1 is 3; accepted are 1, 2"),
    ((Stage(8, 1, 2), Stage(8, 1, 2)), 7, "resolution is 7; accepted are at least 8 pixels"),
])  # fmt: skip
def test_layout_that_makes_no_space_is_refused(stages, resolution, message):
    with pytest.raises(ValueError, match=message):
        check_layout(stages, resolution, 2)
