"""Settings of the strategies that draw one child a step by its cost."""

import pytest

from nni_magic.strategies.drawn_settings import CostGroupSettings, PreNASSettings, ShiftNASSettings


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (CostGroupSettings, {"cost_groups": 1}, "cost_groups is 1; accepted are whole numbers of"),
        (ShiftNASSettings, {"shift_temperature": 0}, "shift_temperature is 0; accepted are finite"),
        (PreNASSettings, {"scored_children": 0}, "scored_children is 0; accepted are whole number"),
        (PreNASSettings, {"pool_share": 0}, "pool_share is 0; accepted are"),
        (PreNASSettings, {"pool_share": 1.1}, "pool_share is 1.1; accepted are"),
    ],
)
def test_settings_out_of_range_are_refused(kind, setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**setting)
