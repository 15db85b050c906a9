"""Folders that trials share, on one machine and on several."""

import pytest

from nni_magic.manager.pipeline import Pipeline
from nni_magic.manager.shared_folder import experiment_folder, pipeline_folder


class FakeTrial:
    """The line to the manager, of which only the parameters are asked for."""

    is_first_rank = True

    def __init__(self, parameters):
        self.parameters = parameters


def test_folder_is_the_experiments_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_EXP_ID", "abc")
    output = tmp_path / "abc" / "environments" / "local-env" / "trials" / "xyz"
    monkeypatch.setenv("NNI_OUTPUT_DIR", str(output))
    assert experiment_folder() == tmp_path / "abc" / "pipeline"
    pipeline = Pipeline(FakeTrial({"stage": "supernet"}))
    assert pipeline.folder == pipeline_folder(None) == tmp_path / "abc" / "pipeline"
    assert pipeline.folder.is_dir()


def test_process_outside_an_experiment_needs_a_folder(monkeypatch):
    monkeypatch.delenv("NNI_EXP_ID", raising=False)
    monkeypatch.delenv("NNI_OUTPUT_DIR", raising=False)
    with pytest.raises(ValueError, match="not a trial of an nnictl experiment; give the pipeline"):
        experiment_folder()


def test_trial_that_may_run_on_any_machine_needs_a_folder_that_all_share(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_PLATFORM", "remote")
    with pytest.raises(ValueError, match=r"NNI's platform 'remote', whose .*share .shared_folder"):
        Pipeline(FakeTrial({"stage": "supernet"}))
    assert Pipeline(FakeTrial({"stage": "supernet"}), tmp_path).folder == tmp_path


def test_folder_that_only_one_machine_has_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_PLATFORM", "remote")
    search = {"stage": "search", "generation": 1}
    message = r"pipeline's folder '\S+' on \S+ holds no supernet.json, .*all machines share"
    for task in (search, {"stage": "retrain", "rank": 1}, {"stage": "retrain", "baseline": "bert"}):
        with pytest.raises(ValueError, match=message):
            Pipeline(FakeTrial(task), tmp_path).run(
                train_supernet=dict, population=dict, score=list, retrain=dict
            )
