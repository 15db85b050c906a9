"""Settings of the strategies that train several children in a step."""

import pytest

from nni_magic.strategies.turn_settings import (
    AlphaNetSettings,
    AttentiveNASSettings,
    DelayedShrinkingSettings,
    MultiArchitectureSettings,
    SandwichSettings,
    TurnSettings,
)


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (TurnSettings, {"turn_by_turn": 1}, "turn_by_turn is 1; accepted are true and false"),
        (SandwichSettings, {"n_random": -1}, "n_random is -1; accepted are whole numbers of at"),
        (SandwichSettings, {"temperature": 0}, "temperature is 0; accepted are finite numbers abo"),
        (AlphaNetSettings, {"alpha_min": 1.0}, "alpha_min is 1.0; accepted are numbers below alph"),
        (AlphaNetSettings, {"alpha_max": float("nan")}, "alpha_max is nan; accepted are finite"),
        (AlphaNetSettings, {"ratio_clip": 0.0}, "ratio_clip is 0.0; accepted are finite numbers"),
        (AttentiveNASSettings, {"draws": 0}, "draws is 0; accepted are whole numbers of at least"),
        (AttentiveNASSettings, {"pick": "up"}, "pick is 'up'; accepted are 'best_up', 'worst_up'"),
        (DelayedShrinkingSettings, {"delay": 1.0}, "delay is 1.0; accepted are finite numbers of"),
        (DelayedShrinkingSettings, {"epsilon": 1.5}, "epsilon is 1.5; accepted are numbers from"),
        (DelayedShrinkingSettings, {"rise": -0.1}, "rise is -0.1; accepted are numbers from 0 to"),
        (MultiArchitectureSettings, {"children": 0}, "children is 0; accepted are whole numbers"),
    ],
)
def test_settings_out_of_range_are_refused(kind, setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**setting)
