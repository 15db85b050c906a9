"""What hidden states are aligned with: an anchor's life, without training."""

from types import SimpleNamespace

import pytest
import torch

from nni_magic.children.samples import digest
from nni_magic.losses.targets import AnchorTarget, Target
from nni_magic.samplers.streams import Stream

A, B, C = ({"op": name, "depth": 1} for name in "abc")
SCORES = {"a": 0.3, "b": 0.1, "c": 0.2}


class Elected(AnchorTarget):
    """Elects the children that it is told to."""

    def __init__(self, children=()):
        super().__init__(candidates=5)
        self.children = children

    def renew_anchor(self):
        if self.children:
            self.anchor.elect(self.children)


class Module:
    """Stands for what trains the supernet."""

    def __init__(self, resumes=False, log_is_due=False):
        self.resumes, self.log_is_due = resumes, log_is_due
        self.leaderboard = SimpleNamespace(score=lambda child: SCORES[child["op"]])
        self.scorer = SimpleNamespace(mode="min")
        self.logged, self.drawn = [], []

    def log_dict(self, values, prog_bar=False):
        self.logged.append((values, prog_bar))

    def draw_children(self, n, stream, *place):
        self.drawn.append((n, stream, *place))
        return [A, C]


def begun(children=(), **settings):
    target = Elected(children)
    target.begin(module := Module(**settings))
    target.renew()
    return target, module


def test_target_has_nothing_to_keep_and_names_no_children():
    class Zeros(Target):
        ready = True

        def renew(self):
            raise NotImplementedError

        def states(self, replay):
            return {name: torch.zeros_like(state) for name, state in replay(A).items()}

    target = Zeros()
    target.begin(module := Module())
    target.restricted({"op": ["a"]}, [])
    target.load_state_dict(target.state_dict())
    assert target.module is module
    assert (target.state_dict(), target.validated()) == ({}, None)
    assert target.states(lambda child: {"p": torch.ones(2)})["p"].tolist() == [0, 0]


def test_there_is_no_anchor_before_one_is_elected():
    target, module = begun(log_is_due=True)
    assert not target.ready
    assert target.validated() is None
    assert module.logged == []


def test_anchor_is_replayed_and_validated():
    target, _ = begun([A, B, C])
    assert target.ready
    assert target.validated() == [B]
    assert target.states(lambda child: {"child": child}) == {"child": B}


@pytest.mark.parametrize("due", [False, True])
def test_anchor_is_logged_when_that_is_read(due):
    _, module = begun([A, B, C], log_is_due=due)
    number = float(int(digest(B)[:6], 16))
    known = {"anchor/score": 0.1, "anchor/replacements": 0.0}  # what a progress bar shows, too
    expected = [({"anchor/digest": number}, False), (known, True)]
    assert module.logged == (expected if due else [])


@pytest.mark.parametrize("allowed", [{"op": ["b", "c"]}, {"depth": [1, 2]}, {}])
def test_anchor_that_keeps_its_candidates_stays(allowed):
    target, module = begun([A, B, C])
    target.restricted(allowed, [(C, 0.05)])
    assert target.anchor.sample == B
    assert module.drawn == []


def test_anchor_of_a_deleted_candidate_gives_way_to_the_best_that_stays():
    target, module = begun([A, B, C])
    target.restricted({"op": ["a", "c"]}, [(A, 0.01), (C, 0.02)])
    assert (target.anchor.sample, target.anchor.last_score) == (A, 0.3)  # scored anew
    assert module.drawn == []


def test_anchor_is_elected_at_random_where_no_known_child_stays():
    target, module = begun([A, B, C])
    target.restricted({"op": ["a", "c"]}, [])
    assert target.anchor.sample == C
    assert module.drawn == [(5, Stream.ANCHOR)]


def test_deletions_before_the_first_election_elect_nothing():
    target, module = begun()
    target.restricted({"op": ["a"]}, [(A, 0.3)])
    assert not target.ready
    assert module.drawn == []


def test_state_is_taken_over_by_a_run_that_resumes():
    target, _ = begun([A, B, C])
    other = Elected()
    other.load_state_dict(target.state_dict())
    other.begin(Module(resumes=True))
    assert other.ready
    assert other.anchor.state_dict() == target.anchor.state_dict()


def test_state_that_was_loaded_does_not_reach_a_training_that_starts_over():
    target, _ = begun([A, B, C])
    target.load_state_dict(target.state_dict())
    target.begin(Module(resumes=False))
    assert not target.ready
