"""AttentiveNAS: the random children of a step are picked by the evaluator's loss."""

import math

import pytest
from regressions import Headed, run
from training import Watch, make


@pytest.mark.parametrize(("pick", "best"), [("best_up", min), ("worst_up", max)])
def test_child_of_the_step_has_the_best_loss_of_those_drawn(pick, best):
    drawn, steps = [], []

    class Noting(Watch):
        def on_fit_start(self, trainer, module):
            picked = module.sampler._picked

            def noted(children, probe):
                drawn.append([(child, probe(child)) for child in children])
                return picked(children, probe)

            module.sampler._picked = noted

        def on_train_batch_end(self, trainer, module, *args):
            steps.append((module.child, module.step.losses[-1].item()))

    run(make("attentive_nas", draws=3, pick=pick), Noting(), Headed)
    assert len(drawn) == len(steps) == 4
    for group, (child, loss) in zip(drawn, steps, strict=True):
        assert math.isclose(loss, best(each for _, each in group), rel_tol=1e-5)
        assert child in [each for each, _ in group]
    assert max(map(len, drawn)) == 3
