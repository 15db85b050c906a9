"""Children that are scored in several processes, against one."""

import io
import re
import subprocess
import sys
import textwrap
import time

import cloudpickle
import pytest
import torch
from forks import no_process_is_left, processes_before  # noqa: F401 (a fixture)
from nni.nas.evaluator.pytorch import DataLoader
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.trainer.states import TrainerStatus
from scores import Images, Rows, images, lightning, population, rows, trained
from spaces import CellSpace, ChainSpace, ConvSpace, MixedSpace, NestedSpace, small_mobilenet
from torch.multiprocessing.spawn import ProcessRaisedException
from torch.nn.functional import cross_entropy
from training import Watch, bert, dict_evaluator

from nni_magic.search import ChildEvaluator

SPACES = {
    "bert": (bert, lambda: dict_evaluator(Watch())),
    "chain": (ChainSpace, lightning),
    "conv": (ConvSpace, lightning),
    "mixed": (MixedSpace, lightning),
    "nested": (NestedSpace, lambda: lightning(Rows(), rows())),
    "cell": (CellSpace, lightning),
}


def both(net, make_evaluator, processes=2, **settings):
    """An evaluator of one process, and one of several."""
    return [ChildEvaluator(net, make_evaluator(), processes=n, **settings) for n in (1, processes)]


def same(scores, others):
    """To the bit with MKL; other libraries take another kernel where other rows are beside."""
    exact = torch.backends.mkl.is_available()
    return scores == (others if exact else pytest.approx(others, rel=1e-6))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("kind", SPACES)
def test_scores_are_those_of_one_process_to_the_bit(kind, processes):
    make, make_evaluator = SPACES[kind]
    net = trained(make)
    one, several = both(net, make_evaluator, processes, calibration_batches=0)
    children = population(net)
    assert same(several(children), one(children))
    assert no_process_is_left()


def test_statistics_and_metrics_are_those_of_one_process():
    net, data = trained(small_mobilenet), images(channels=3)
    training = DataLoader(images(40, channels=3), batch_size=8)
    one, several = both(
        net, lambda: lightning(data=data, train=training), metric="val_acc", calibration_batches=2
    )
    children = population(net)[:6]
    assert same(several(children), one(children))


def test_steps_of_all_processes_are_counted():
    net = trained(ChainSpace)
    one, several = both(net, lightning, calibration_batches=0)
    children = population(net)
    one(children), several(children)
    assert one.calls <= several.calls < one.calls + 6


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TakesTime(Images):
    def validation_step(self, batch, index):
        time.sleep(0.12)
        return super().validation_step(batch, index)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_terminal_shows_how_many_children_are_scored(processes, monkeypatch):
    net = trained(ChainSpace)
    evaluate = ChildEvaluator(
        net, lightning(TakesTime()), n_batches=1, calibration_batches=0, processes=processes
    )
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    evaluate(population(net)[:6])
    assert re.search(r"Scores: .*[1-5]/6 .* children", terminal.getvalue())
    assert no_process_is_left()


def test_an_evaluator_that_has_scored_in_a_terminal_can_be_pickled(monkeypatch):
    net = trained(ChainSpace)
    evaluate = ChildEvaluator(net, lightning(), calibration_batches=0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    children = population(net)[:3]
    scores = evaluate(children)
    assert cloudpickle.loads(cloudpickle.dumps(evaluate))(children) == scores


@pytest.mark.parametrize("hidden", ["in a file", "by Rich's bar of a training", "on other ranks"])
def test_children_are_not_counted(hidden, monkeypatch):
    net, own = trained(ChainSpace), lightning(TakesTime())
    evaluate = ChildEvaluator(net, own, n_batches=1, calibration_batches=0)
    terminal = io.StringIO() if hidden == "in a file" else Terminal()
    if hidden == "by Rich's bar of a training":
        own.trainer.callbacks.append(RichProgressBar())
        monkeypatch.setattr(own.trainer.state, "status", TrainerStatus.RUNNING)
    if hidden == "on other ranks":
        monkeypatch.setattr(type(own.trainer), "is_global_zero", False)
    monkeypatch.setattr(sys, "stderr", terminal)
    evaluate(population(net)[:2])
    assert "Scores" not in terminal.getvalue()  # it may hold warnings


def test_known_scores_are_not_taken_again_and_new_weights_are_seen():
    net = trained(ChainSpace)
    one, several = both(net, lightning, calibration_batches=0)
    children = population(net)
    before = several(children)
    calls = several.calls
    assert several(children) == before
    assert several.calls == calls
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    assert same(several(children), one(children))
    assert not same(several(children), before)


class Fails(Images):
    """Cannot score the child of some logits, up to rounding, which other threads may change."""

    failing = None

    def validation_step(self, batch, index):
        logits, failing = self.model(batch[0]), Fails.failing
        same_shape = failing is not None and logits.shape == failing.shape
        if same_shape and torch.allclose(logits, failing, atol=1e-5):
            raise ArithmeticError("no such logits")
        self.log("val_loss", cross_entropy(logits, batch[1]))


def test_error_of_an_evaluator_names_the_child(monkeypatch):
    net = trained(ChainSpace)
    evaluate = ChildEvaluator(net, lightning(Fails()), processes=2, calibration_batches=0)
    children = population(net)
    evaluate(children[:1])
    child = children[5]
    batch = next(iter(DataLoader(images(), batch_size=8)))[0]
    monkeypatch.setattr(Fails, "failing", evaluate.child(child).eval()(batch).detach())
    with pytest.raises(ProcessRaisedException) as error:
        evaluate(children[1:])
    assert f"RuntimeError: the child {child} cannot be scored: no such logits" in str(error.value)
    assert no_process_is_left()
    monkeypatch.setattr(Fails, "failing", None)
    assert evaluate(children) == ChildEvaluator(net, lightning(Fails()), calibration_batches=0)(
        children
    )


class WritesOnceLate(ChainSpace):
    """A layer that, after the observer has looked, writes into an argument of forward."""

    written = False

    def layer_forward(self, own, x, scale=None):
        if self.written and scale is not None:
            scale.add_(0)
        return own(x, scale)


def test_layer_that_begins_to_write_into_arguments_has_all_children_run_alone(caplog):
    net = trained(WritesOnceLate)
    layer = net.layers[1]
    own = layer.forward
    layer.forward = lambda x, scale=None: net.layer_forward(own, x, scale)
    one, several = both(net, lambda: lightning(Scaled()), calibration_batches=0)
    children = population(net)
    one(children[:1]), several(children[:1])
    net.written = True
    assert same(several(children), one(children))
    assert caplog.text.count("every child is run alone") == 2
    assert no_process_is_left()


class Scaled(Images):
    def validation_step(self, batch, index):
        scale = torch.full((len(batch[0]),), 2.0)
        self.log("val_loss", cross_entropy(self.model(batch[0], scale=scale), batch[1]))


def test_script_without_a_main_module_scores_in_processes(tmp_path):
    script = """
        import nni_bootstrap
        from scores import lightning, population, trained
        from spaces import ChainSpace
        from nni_magic.search import ChildEvaluator
        net = trained(ChainSpace)
        scores = [
            ChildEvaluator(net, lightning(), processes=n, calibration_batches=0)(population(net))
            for n in (1, 2)
        ]
        print("the same" if scores[0] == scores[1] else scores)
    """
    done = subprocess.run(
        [sys.executable, "-"], input=textwrap.dedent(script), text=True, capture_output=True,
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "2", "PATH": ""},
    )  # fmt: skip
    assert done.stdout.endswith("the same\n"), done.stderr


@pytest.mark.parametrize("processes", [0, -1, 1.5, True, "2"])
def test_wrong_number_of_processes_is_refused(processes):
    with pytest.raises(ValueError, match=r"processes is .*; accepted are whole numbers"):
        ChildEvaluator(trained(ChainSpace), lightning(), processes=processes)
