"""The report of interference, on measurements that were made up."""

from argparse import Namespace

import numpy as np
import pytest
import scipy.stats
from studies import made_up

from experiments.studies.interference.measurements import InterferenceMeasurements
from experiments.studies.interference.report import write
from nni_magic.analysis import plots
from nni_magic.analysis.study import InterferenceStudy
from nni_magic.support.files import read_json

LABELS = ("layer_1", "layer_2", "layer_3", "layer_4")
COSINES = {("spos", 0): 0.1, ("spos", 1): 0.3, ("magic_t", 0): 0.6, ("magic_t", 1): 0.8}
LOSSES = {("spos", 0): 4.0, ("spos", 1): 4.5, ("magic_t", 0): 3.0, ("magic_t", 1): 3.25}


def study_with(cosine):
    """Two candidates whose gradients have this cosine, and half of it for three differences."""
    matrices = {
        (1, m): np.full((2, 2, 2), cosine / m) + (1 - cosine / m) * np.eye(2) for m in (1, 2)
    }
    return InterferenceStudy(LABELS, ("ffn", "conv3"), 0, 2, matrices)


@pytest.fixture
def measurements(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    settings = Namespace(
        plan=tmp_path / "plan.yml", runs=study.output, output=tmp_path / "out", hardware="here",
        threads=1, seed=0, rows=8, repetitions=2, shared_layers=[1], differences=[1, 2],
        supernets=["spos", "magic_t"],
    )  # fmt: skip
    return InterferenceMeasurements(study, settings)


@pytest.fixture
def measured(measurements):
    for (name, seed), cosine in COSINES.items():
        loss = LOSSES[name, seed]
        measurements.save(name, seed, {"mean_loss": loss, **study_with(cosine).to_json()})
    return measurements


def test_losses_and_cosines_are_means_over_seeds(measured):
    page = write(measured, []).with_suffix(".md").read_text()
    assert "| spos | 0, 1 | 4.250 | 4.000 to 4.500 |" in page
    assert "| magic_t | 0, 1 | 3.125 | 3.000 to 3.250 |" in page
    section = page.split("## Finding 3")[1].split("## Finding 4")[0]
    reach = scipy.stats.t.ppf(0.975, 1) * np.std([0.1, 0.3], ddof=1) / np.sqrt(2)
    cell = f"0.200 ({0.2 - reach:.3f} to {0.2 + reach:.3f})"
    [row] = [line for line in section.splitlines() if line.startswith("| 1 | 1 |")]
    assert row.split(" | ")[2] == cell
    assert page.count("## Finding ") == 5


def test_json_has_the_measurements_and_the_taus(measured):
    record = read_json(write(measured, []))
    assert record["mean_loss"] == {
        "spos": {"0": 4.0, "1": 4.5}, "magic_t": {"0": 3.0, "1": 3.25}
    }  # fmt: skip
    found = InterferenceStudy.from_json(record["interference"]["magic_t"]["1"])
    assert found.mean_cosine(1, 2) == pytest.approx(0.4)
    assert record["kendall_tau"]["magic_t"] == {"0": pytest.approx(1), "1": pytest.approx(1)}
    assert record["trained_on"] == ["cpu"]


def test_pictures_are_drawn(measured, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        plots, "cosine_by_difference", lambda curves, stem: drawn.update(curves=curves)
    )
    monkeypatch.setattr(
        plots, "cosine_heatmap", lambda *args: drawn.update(matrices=args[0], candidates=args[1])
    )
    path = write(measured, [])
    assert path.with_name(f"{path.stem}_tau.png").exists()
    [(panel, curves)] = drawn["curves"].items()
    assert panel == "shared layer 1"
    assert {m: curves["magic_t"][m][0] for m in (1, 2)} == {
        1: pytest.approx(0.7), 2: pytest.approx(0.35)
    }  # fmt: skip
    assert list(drawn["matrices"]) == [
        "spos, seed 0\nj = 1, m = 1",
        "magic_t, seed 0\nj = 1, m = 1",
    ]
    assert drawn["matrices"]["spos, seed 0\nj = 1, m = 1"][0, 1] == pytest.approx(0.1)
    assert drawn["candidates"] == ("ffn", "conv3")


def test_supernets_that_are_not_measured_yet_are_left_out(measured):
    measured.file("spos", 1).unlink()
    record = read_json(write(measured, []))
    assert record["interference"]["spos"].keys() == {"0"}


def test_nothing_measured_raises(measurements):
    with pytest.raises(ValueError, match=r"no supernet in .* is measured in full yet"):
        write(measurements, [])
