"""The interference of trained supernets: measured, stopped, and gone on with."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from studies import plan_of

from experiments.studies.interference import measurements as module
from experiments.studies.interference.measurements import N_SCORED, InterferenceMeasurements
from experiments.studies.study import Study
from nni_magic.analysis.interference import InterferenceStudy, interference_study
from nni_magic.samplers import UniformSampler
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.files import read_json, write_json

CHANGES = {
    "children": {"n": 0, "steps": 1},
    "supernets": {"spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]}},
}
SETTINGS = {
    "shared_layers": [1, 3], "differences": [1, 3], "repetitions": 2, "rows": 8, "seed": 0,
    "supernets": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("interference")
    study = Study(plan_of(folder, corpus, **CHANGES), folder / "runs", corpus / "cache")
    study.work()
    return study


def measurements_of(study, **changes):
    return InterferenceMeasurements(study, Namespace(**{**SETTINGS, **changes}))


@pytest.fixture(scope="module")
def measured(study):
    measured = measurements_of(study)
    measured.work()
    return measured


def test_only_what_fits_behind_a_layer_is_measured(measured):
    assert measured.wanted == [(1, 1), (1, 3), (3, 1)]  # of 4 layers
    for record in measured.found()["spos"].values():
        assert InterferenceStudy.from_json(record).matrices.keys() == set(measured.wanted)


def test_cosines_are_those_of_the_study_on_the_first_rows(measured, study):
    supernet = load_supernet(study.checkpoint("spos", 1), study.domain.make_space())
    evaluator = study.evaluator(4, 1, {})
    expected = interference_study(
        supernet, evaluator, measured.batches(evaluator), shared_layers=[1], differences=[3],
        repetitions=2, seed=0,
    )  # fmt: skip
    found = InterferenceStudy.from_json(measured.read("spos", 1))
    assert np.array_equal(found.matrices[1, 3], expected.matrices[1, 3])


def test_loss_is_the_mean_over_random_children(measured, study):
    sampler = UniformSampler(study.domain.make_space(), seed=0)
    children = [sampler.next() for _ in range(N_SCORED)]
    expected = np.mean(study.score(study.checkpoint("spos", 0), children))
    assert measured.read("spos", 0)["mean_loss"] == pytest.approx(expected)


def test_loss_is_measured_where_an_earlier_measurement_has_none(measured, monkeypatch):
    path = measured.file("spos", 0)
    finished = read_json(path)
    write_json(path, {key: value for key, value in finished.items() if key != "mean_loss"})
    assert list(measured.missing()) == [("spos", 0)]
    again = "the cosines are measured again"
    monkeypatch.setattr(module, "interference_study", lambda *args, **kw: pytest.fail(again))
    measured.work()
    assert read_json(path) == finished


def test_measurement_that_was_stopped_goes_on(measured, monkeypatch):
    path = measured.file("spos", 1)
    finished = path.read_text()
    record = read_json(path)
    record["settings"] = record["settings"][:1]
    write_json(path, record)
    asked = []

    def watched(*args, **kwargs):
        asked.append((kwargs["shared_layers"], kwargs["differences"]))
        return interference_study(*args, **kwargs)

    monkeypatch.setattr(module, "interference_study", watched)
    measured.work()
    assert asked == [([1], [3]), ([3], [1])]
    assert path.read_text() == finished


def test_supernet_that_is_not_trained_is_left_out(study):
    path = study.supernet_file("spos", 1)
    path.rename(study.output / "away.json")
    try:
        measured = measurements_of(study, rows=4)
        measured.folder = study.output / "others"
        measured.work()
        assert list(measured.missing()) == [("spos", 1)]
    finally:
        (study.output / "away.json").rename(path)


def test_images_are_measured_on_the_same_batch_whenever(tmp_path):
    plan = plan_of(
        tmp_path, domain="proxyless", space={"candidates": ["mb3_3x3", "mb6_3x3"]},
        options={"dataset": "digits", "held_out": 0.1}, children={"n": 0, "steps": 1},
        supernets={"spos": {"strategy": "spos", "steps": 2, "seeds": [0]}},
    )  # fmt: skip
    study = Study(plan, tmp_path / "runs", tmp_path / "cache")
    study.work()
    measured = measurements_of(study, shared_layers=[3], differences=[1], rows=6)
    measured.work()
    found = InterferenceStudy.from_json(measured.read("spos", 0))
    assert found.candidates == ("mb3_3x3", "mb6_3x3")
    assert found.matrices.keys() == {(3, 1)}
    (first, more), (again, _) = (measured.batches(study.evaluator(2, 0, {})) for _ in range(2))
    assert first[0].shape[0] == 4 and more[0].shape[0] == 2
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_what_cannot_be_measured_shows_before_a_training(study, monkeypatch):
    measured = measurements_of(study)
    measured.try_out()
    space = study.domain.make_space()
    monkeypatch.setattr(space, "forward", lambda *args, **kwargs: None)
    monkeypatch.setattr(study.domain, "make_space", lambda: space)
    with pytest.raises(ValueError, match="BertSpace is no chain of choice blocks"):
        measured.try_out()


@pytest.mark.parametrize(("changes", "message"), [
    ({"rows": 0}, "rows is 0; accepted are whole numbers of at least 1"),
    ({"rows": 10**6}, r"rows is 1000000; accepted are up to \d+, the training data"),
    ({"repetitions": 1}, "repetitions is 1; accepted are whole numbers of at least 2"),
    ({"seed": -1}, "seed is -1; accepted are whole numbers of at least 0"),
    ({"differences": [4]}, r"differences is \[4\]; accepted are some that together fit into 4"),
    ({"supernets": ["darts"]}, "supernets is 'darts'; accepted are 'spos'"),
])  # fmt: skip
def test_what_cannot_be_measured_is_named(study, changes, message):
    with pytest.raises(ValueError, match=message):
        measurements_of(study, **changes)
