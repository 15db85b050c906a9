"""Alignment to the average: which children, what average, and that nothing else changes."""

import pytest
import torch
from spaces import ConvSpace, set_path
from training import Watch, classification, make, train

from nni_magic.children.samples import digest


class Averages(Watch):
    """Remembers, for every batch, the children of the average."""

    def __init__(self):
        super().__init__()
        self.averaged = []

    def on_train_start(self, trainer, module):
        draw = module.draw_children

        def noted(n, *stream):
            children = draw(n, *stream)
            if stream[0] == 6:
                self.averaged.append((trainer.global_step, children))
            return children

        module.draw_children = noted


def run(name="average_alignment", epochs=3, trainer=None, **settings):
    watch = Averages()
    torch.manual_seed(11)
    net = ConvSpace()
    train(make(name, **settings), net, classification(watch, epochs, **(trainer or {})))
    return watch, net


def test_without_weight_the_average_leaves_no_trace():
    """Nor does drawing its children: those trained are SPOS's."""
    aligned, net = run(alignment_weight=0.0, warmup_epochs=0)
    plain, plain_net = run("spos")
    assert aligned.steps == plain.steps
    state, plain_state = net.state_dict(), plain_net.state_dict()
    assert all(torch.equal(state[key], plain_state[key]) for key in plain_state)


def test_children_are_drawn_anew_every_step_after_the_warm_start():
    watch, _ = run(warmup_epochs=1, n_children=3)
    assert [step for step, _ in watch.averaged] == list(range(6, 18))
    assert all(len({digest(c) for c in children}) == 3 for _, children in watch.averaged)
    assert len({digest(c) for _, children in watch.averaged for c in children}) > 20


def test_accumulated_batches_share_the_average_and_its_children_meet_the_filter():
    def allowed(sample):
        return sum(choice == "skip" for choice in sample.values()) <= 1

    watch, _ = run(
        epochs=1, warmup_epochs=0, filter=allowed, trainer={"accumulate_grad_batches": 3}
    )
    first, second, third, fourth, *_ = [children for _, children in watch.averaged]
    assert first == second == third != fourth
    assert all(allowed(child) for _, children in watch.averaged for child in children)


class ByHand(Averages):
    """Computes the last step's term anew: every child's hidden states, their mean, the error."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        state = module.training_module.model.state_dict()
        self.weights = {name: value.clone() for name, value in state.items()}

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.child, self.images = module.child, batch[0]


def hidden(net, child, images):
    """Outputs of layers 2 and 4, batch statistics in their norms."""
    set_path(net, child)
    states = [net.stem(images)]
    for block in net.blocks:
        states.append(block(states[-1]))
    return torch.cat([states[2].double()[None], states[4].double()[None]])


def test_the_term_is_the_error_to_the_mean_over_the_children():
    watch = ByHand()
    evaluator = classification(watch, epochs=1)
    strategy = make("average_alignment", warmup_epochs=0, n_children=3, aligned_layers=[2, 4])
    train(strategy, ConvSpace(dropout=0.0), evaluator)
    net = strategy.supernet.train()
    net.load_state_dict(watch.weights)
    with torch.no_grad():
        states = [hidden(net, child, watch.images) for child in watch.averaged[-1][1]]
        state = hidden(net, watch.child, watch.images).flatten(2)
        average = (sum(states) / 3).flatten(2)
        cosines = (state * average).sum(-1) / (state.norm(dim=-1) * average.norm(dim=-1))
    term = evaluator.trainer.callback_metrics["supernet/alignment_loss"]
    assert term.item() == pytest.approx((1 - cosines).mean(1).sum().item(), rel=1e-3)
    assert len(states) == 3 and term > 0


@pytest.mark.parametrize("n", [0, 2.5, True])
def test_children_out_of_range(n):
    with pytest.raises(ValueError, match=f"n_children is {n}; accepted are whole numbers of at"):
        make("average_alignment", n_children=n)
