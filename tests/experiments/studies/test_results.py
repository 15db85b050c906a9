"""The files of a study, without training any."""

import pytest
from studies import made_up, plan_of

from experiments.studies.results import Results
from nni_magic.support.files import read_json, write_json


@pytest.fixture
def results(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    return Results(study.plan, study.output, corpus / "cache")


def test_files_are_named_by_number_or_name_and_seed(results):
    output = results.output
    assert results.child_file(7, 2) == output / "children" / "007_seed2.json"
    assert results.supernet_file("spos", 1) == output / "supernets" / "spos_seed1.json"
    assert results.checkpoint("spos", 1) == output / "supernets" / "spos_seed1.ckpt"


def test_what_is_there_is_read(results):
    assert results.read_child(5, 0) == read_json(results.child_file(5, 0))
    assert results.read_child(1, 2) is None  # trained with the first seed alone
    assert results.trained("spos", 1) == read_json(results.supernet_file("spos", 1))


def test_missing_supernet_is_named_only_where_it_has_to_be_there(results):
    results.supernet_file("spos", 1).unlink()
    assert results.read_supernet("spos", 1) is None
    with pytest.raises(ValueError, match="supernet 'spos' of seed 1 is not trained yet"):
        results.trained("spos", 1)


def test_weights_are_asked_for_by_name(results):
    with pytest.raises(ValueError, match="supernet 'spos' of seed 1 came without its weights, "):
        results.weights("spos", 1)
    results.checkpoint("spos", 1).write_bytes(b"")
    assert results.weights("spos", 1) == results.checkpoint("spos", 1)
    results.supernet_file("spos", 1).unlink()
    with pytest.raises(ValueError, match="supernet 'spos' of seed 1 is not trained yet"):
        results.weights("spos", 1)


def test_child_of_another_sample_is_refused(results):
    path = results.child_file(5, 0)
    write_json(path, read_json(results.child_file(4, 0)))
    with pytest.raises(ValueError, match=r"005_seed0.json' was made .*: sample.layer_. is '"):
        results.read_child(5, 0)


def test_result_that_lacks_what_is_asked_of_it_is_named(results):
    for path, key in (results.child_file(5, 0), "val_loss"), (
        results.supernet_file("spos", 1), "scores"
    ):  # fmt: skip
        record = read_json(path)
        del record[key]
        write_json(path, record)
    with pytest.raises(ValueError, match=r"005_seed0.json' is damaged: it lacks 'val_loss"):
        results.read_child(5, 0)
    with pytest.raises(ValueError, match=r"spos_seed1.json' is damaged: it lacks 'scores"):
        results.trained("spos", 1)


def test_data_of_ones_own_are_part_of_what_results_depend_on(tmp_path, corpus):
    results = Results(plan_of(tmp_path), tmp_path, corpus / "cache", corpus)
    digest = results.domain.data_settings()
    assert results.made_child(results.children[0])["data"] == digest
    assert results.made_supernet("spos")["data"] == digest
