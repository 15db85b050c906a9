"""The plan of a rank-correlation study: what it draws, in which order, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from studies import PLAN, plan_of, written

from experiments.studies.plan import Plan
from experiments.studies.records import child_settings
from nni_magic.strategies.registry import method
from nni_magic.support.files import read_json
from search_spaces import BertSpace

SPACE = BertSpace(**PLAN["space"])
SPOS = {"strategy": "spos", "steps": 4, "seeds": [0]}
MAGIC_A = {**SPOS, "strategy": "magic_a"}
PLANS_FOLDER = Path(__file__).parents[3] / "experiments" / "plans"
PLANS = sorted(PLANS_FOLDER.glob("*.yml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_shipped_plans_are_read(path, tmp_path):
    plan = Plan.read(path)
    assert plan.supernets or plan.children.n
    domain = plan.make_domain(tmp_path)
    domain.data = SimpleNamespace(
        vocab_size=8, channels=1, resolution=28, classes="0123456789", max_length=8
    )
    assert len(plan.children.draw(domain.make_space())) == plan.children.n
    for supernets in plan.supernets.values():
        strategy = supernets.make_strategy(seed=5)
        assert type(strategy) is method(supernets.strategy).load()
        assert strategy.seed == 5


@pytest.mark.parametrize("steps", [600, 6000])
def test_other_schedules_have_the_first_children_of_the_main_plan(tmp_path, steps):
    main = Plan.read(PLANS_FOLDER / "bert_8x4.yml")
    other = Plan.read(PLANS_FOLDER / f"bert_8x4_{steps}.yml")
    domain = main.make_domain(tmp_path)
    domain.data = SimpleNamespace(vocab_size=8, max_length=8)
    space = domain.make_space()
    assert other.children.draw(space) == main.children.draw(space)[: other.children.n]
    assert child_settings(other, {}) == {
        **child_settings(main, {}), "children": {"steps": steps}
    }  # fmt: skip


def test_main_plan_studies_settings_and_says_their_values_truly():
    plan = Plan.read(PLANS_FOLDER / "bert_8x4.yml")
    assert list(plan.supernets)[:4] == ["spos", "magic_t", "magic_a", "magic_at"]
    values = {}
    for name, supernets in plan.supernets.items():
        assert supernets.seeds[:3] == (0, 1, 2)
        assert supernets.steps == 3000 or not supernets.values
        for setting, value in supernets.values.items():
            if setting == "anchor_loss":  # see the next test
                continue
            values.setdefault(setting, {})[value] = name
            assert option_of(supernets, setting) == value, name
    assert {setting: sorted(one) for setting, one in values.items()} == {
        "k": [1, 2, 4, 6], "anchor_percentile": [0, 10, 30, 50, 90], "walks": [1, 4],
        "anchor_interval": [10, 100], "alignment_weight": [0.05, 0.5, 2], "align_every": [1, 4],
        "warmup_epochs": [0, 3, 6],
    }  # fmt: skip


def test_given_anchors_are_the_best_the_middle_and_the_worst_of_the_first_half():
    plan = Plan.read(PLANS_FOLDER / "bert_8x4.yml")
    folder = PLANS_FOLDER.parent / "records" / "bert_8x4" / "children"
    found = [read_json(folder / f"{number:03}_seed0.json") for number in range(0, 60, 2)]
    ranked = sorted(found, key=lambda one: one["val_loss"])
    for name, place in (("anchor_best", 0), ("anchor_middle", 15), ("anchor_worst", -1)):
        supernets = plan.supernets[name]
        assert supernets.options["anchor"] == ranked[place]["made_with"]["sample"]
        assert supernets.values == {"anchor_loss": round(ranked[place]["val_loss"], 3)}


def option_of(supernets, setting):
    """What the strategy is given, or its default; the best child is the anchor at percentile 0."""
    if setting == "align_every":
        return supernets.options["aligned_layers"][0]
    name = "percentile" if setting == "anchor_percentile" else setting
    default = 0 if setting == "anchor_percentile" else getattr(supernets.settings(0), setting)
    return supernets.options.get(name, default)


@pytest.mark.parametrize(("change", "message"), [
    ({"epochs": 3}, r"settings: a setting is 'epochs'; accepted are 'space', 'epoch_steps', 'scor"),
    ({"training": {"batch_size": 4}}, r"training: learning_rate is missing; accepted are va"),
    ({"training": None}, r"training: the settings are None; accepted are batch_size, learnin"),
    ({"children": {"n": 8, "steps": 2, "repeated": 9}},
     r"children: repeated is 9; accepted are numbers from 0 to 8"),
    ({"supernets": {}, "comparison": {"pairs": 4}},
     r"supernets is empty; accepted with comparison is at least one"),
    ({"search": {"population": 4}},
     r"search is given; accepted is it with comparison, which reports it"),
    ({"comparison": {}, "search": {"population": 0}}, r"search: population is 0"),
    ({"comparison": {"pairs": 0}}, r"comparison: pairs is 0"),
    ({"supernets": {"a": {"strategy": "darts", "steps": 4, "seeds": [0]}}},
     r"supernets: a: strategy is 'darts'; accepted are 'spos', 'magic_t'"),
    ({"supernets": {"a": {"strategy": "spos", "steps": 5, "seeds": [0]}}},
     r"supernets: a: steps is 5; accepted are multiples of epoch_steps, 2"),
    ({"domain": "audio"}, r"domain is 'audio'; accepted are 'bert', 'proxyless', 'nasbench201',"),
    ({"domain": "nasbench_macro", "children": {"n": 2, "seeds": [0, 3]}},
     r"children: seeds is \[0, 3\]; accepted are 0 to 2, as the ground truth of nasbench_macro is"),
    ({"domain": "nasbench201"}, r"children: steps is 2; accepted is 0, as nothing is trained: th"),
    ({"score_rows": 65}, r"score_rows is 65; accepted are multiples of 64 from 32, the 8 batches"),
    ({"training": {**PLAN["training"], "batch_size": 16}},
     r"score_rows is 64; accepted are multiples of 64 from 128, the 8 batches on which a supernet"),
    ({"supernets": {"a": {**SPOS, "values": {"k": "two"}}}},
     r"supernets: a: values is {'k': 'two'}; accepted are values of type Mapping"),
    ({"supernets": {"a": {**SPOS, "values": {"k": 2}}, "b": {**SPOS, "values": {"k": 2}}}},
     r"supernets: b: values: k is 2; accepted are others than those of a"),
    ({"supernets": {"a": {**SPOS, "seeds": []}}}, r"supernets: a: seeds is \[\]; accepted are "),
    ({"supernets": {"a": {**SPOS, "seeds": [1, 2, 1]}}}, r"supernets: a: seeds is .* none twice"),
    ({"children": {"n": 8, "steps": 2, "seeds": [0, 0]}}, r"children: seeds is .* none twice"),
    ({"children": {"n": 8, "steps": 2, "seeds": [-1]}}, r"children: seeds is \[-1\]; accepted"),
    ({"children": {"n": 8, "steps": 2, "seeds": 3}},
     r"children: seeds is 3; accepted are values of type tuple\[int, ...\]"),
    ({"children": {"n": 8, "steps": 0}}, r"children: steps is 0; accepted are whole numbers of "),
    ({"children": {"n": 8}}, r"children: steps is 0; accepted are whole numbers of at least 1"),
    ({"children": {"n": 8, "steps": -1}}, r"children: steps is -1; accepted are whole nu"),
    ({"children": {"n": -1, "steps": 2}}, r"children: n is -1; accepted are whole nu"),
    ({"epoch_steps": 0}, r"epoch_steps is 0; accepted are whole numbers of at least 1"),
    ({"training": {**PLAN["training"], "batch_size": 0}}, r"training: batch_size is 0; accepted a"),
    ({"training": {**PLAN["training"], "learning_rate": "fast"}},
     r"training: learning_rate is 'fast'; accepted are values of type float"),
    ({"training": {**PLAN["training"], "learning_rate": 0}},
     r"training: learning_rate is 0.0; accepted are finite numbers greater than 0"),
    ({"training": {**PLAN["training"], "warmup_steps": 3}},
     r"children: steps is 2; accepted are at least 3, the warmup_steps"),
    ({"supernets": {"a": {**SPOS, "learning_rate": -1.0}}},
     r"supernets: a: learning_rate is -1.0; accepted are finite numbers greater"),
    ({"supernets": {"a": {**SPOS, "steps": 0}}}, r"supernets: a: steps is 0; accepted are whole "),
    ({"supernets": {"a": {**SPOS, "options": {"warmup_epoch": 1}}}},
     r"supernets: a: options: a setting is 'warmup_epoch'; accepted are 'seed', .*'calibration_ba"),
    ({"supernets": {"a": {**MAGIC_A, "options": {"alignment_weight": "half"}}}},
     r"supernets: a: options: alignment_weight is 'half'; accepted are values of type float"),
    ({"supernets": {"a": {**MAGIC_A, "options": {"align_every": 0}}}},
     r"supernets: a: options: align_every is 0; accepted are whole numbers of at least 1"),
    ({"supernets": {"a": {**MAGIC_A, "options": {"warmup_epochs": 3}}}},
     r"supernets: a: warmup_epochs is 3; accepted are less than 2, the epochs of 2 steps"),
])  # fmt: skip
def test_bad_plan_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        plan_of(tmp_path, **change)


@pytest.mark.parametrize(("options", "message"), [
    ({"epsilon": 3}, "setting is 'epsilon'; accepted are accumulate, batch_size, "),
    ({"dropout": "much"}, "dropout is 'much'; accepted are finite numbers"),
])  # fmt: skip
def test_bad_option_is_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        plan_of(tmp_path, options=options).make_domain(tmp_path)


@pytest.mark.parametrize(("text", "message"), [
    ("", "is '.*bad.yml'; accepted is a YAML file of settings, and it holds None"),
    ("- space", r"is '.*bad.yml'; accepted is a YAML file of settings, and it holds \['space'\]"),
    ("space: [", "is '.*bad.yml'; accepted is a YAML file of settings, and it is none: while par"),
    ("space: {a: 1}\nspace: {a: 2}\n", "is '.*bad.yml'.*: key 'space' is there twice"),
    ("\xff", "is '.*bad.yml'; accepted is a YAML file of settings, and it is none: 'utf-8' codec"),
    ("supernets: [a]", r"'.*bad.yml': supernets is \['a'\]; accepted are settings by names"),
    ("supernets: {../a: {}}", "'.*bad.yml': a name of supernets is '../a'; accepted are letters"),
    ("epochs: 3", "'.*bad.yml': training: the settings are None; accepted are batch_size"),
])  # fmt: skip
def test_file_that_is_no_plan_is_named(text, message, tmp_path):
    (tmp_path / "bad.yml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"plan {message}"):
        Plan.read(tmp_path / "bad.yml")


def test_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"plan is '.*none.yml'; accepted is a YAML file"):
        Plan.read(tmp_path / "none.yml")


def test_plan_without_supernets_is_accepted(tmp_path):
    settings = {key: value for key, value in PLAN.items() if key != "supernets"}
    path = written(tmp_path, settings)
    assert path.read_text() == yaml.safe_dump(settings)
    assert Plan.read(path).supernets == {}
