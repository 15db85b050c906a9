"""The trial on images: its settings, its budget, its files, and the YAML files shipped."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nni.experiment.config import ExperimentConfig
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from PIL import Image
from training import QUIET, Watch, anchor_of

from nni_magic.children.samples import digest
from nni_magic.programs import proxyless, proxyless_search, strategy_trial
from nni_magic.programs.options import STRATEGIES
from nni_magic.programs.training import make_strategy, train_child
from nni_magic.search import Population
from nni_magic.tasks.vision.proxyless import Proxyless, check_settings, multiply_adds
from nni_magic.tasks.vision.sources import MemoryImages

ROOT = Path(__file__).parents[2]
SMALL = (
    "--epochs 1 --epoch-steps 2 --batch-size 16 --warmup-steps 1 "
    "--search-children 4 --population 2 --search-batches 1 --retrain-epochs 1"
)


def parsed(more="", strategy="spos"):
    return proxyless.parse_args([*SMALL.split(), "--strategy", strategy, *more.split()])


@pytest.fixture(scope="module")
def domain():
    return Proxyless(parsed())


def n_multiply_adds(space, sample):
    """Counted by watching every convolution and the classifier work."""
    counted = []

    def watch(module, args, output):
        counted.append(output.numel() * module.weight[0].numel())

    child = space.freeze(sample).eval()
    for module in child.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(watch)
    child(torch.zeros(1, space.in_channels, space.resolution, space.resolution))
    return sum(counted)


def test_search_stays_within_a_budget_between_the_smallest_and_largest_child(domain):
    space = domain.make_space()
    names = list(space.simplify())
    labels = {name: space.simplify()[name].values for name in names}
    smallest = {n: "zero" if "zero" in labels[n] else "mb3_3x3" for n in names}
    low = n_multiply_adds(space, smallest)
    high = n_multiply_adds(space, dict.fromkeys(names, "mb6_7x7"))
    assert domain.filter["max"] == pytest.approx(low + 0.6 * (high - low))
    children = Population(space, size=20, seed=0, filter=domain.filter).ask()
    counted = [domain.costs(child)["flops"] for child in children]
    assert counted[:2] == [n_multiply_adds(space, child) for child in children[:2]]
    assert max(counted) <= domain.filter["max"] < high


@pytest.mark.parametrize(
    ("text", "expected"),
    [("600M", 6e8), ("1.5G", 1.5e9), ("200k", 2e5), ("0%", 10), ("100%", 30), ("25%", 15)],
)
def test_budget_is_read(text, expected):
    assert multiply_adds(text, 10, 30) == pytest.approx(expected)


@pytest.mark.parametrize("budget", ["1M", "1k"])
def test_budget_outside_of_the_space_is_told_with_both_figures(budget, trial, tmp_path):
    chosen = parsed(f"--budget {budget} --output {tmp_path}")
    with pytest.raises(ValueError, match=r"budget.* smallest child has 94,688 .* largest 670,400"):
        strategy_trial.run(Proxyless(chosen), trial)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strategy": "darts"}, "strategy is 'darts'; accepted are spos, magic_t, magic_a, magic_"),
        ({"preset": "huge"}, "preset is 'huge'; accepted are imagenet, cifar, tiny"),
        ({"dataset": "mnist"}, "dataset is 'mnist'; accepted are digits, fashion_mnist, cifar10"),
        ({"budget": "some"}, "budget is 'some'; accepted are figures such as 600M, 1.5G and 60%"),
        ({"epochs": "many"}, "argument --epochs: invalid int value: 'many'"),
        ({"download": "no"}, "parameter 'download' is 'no'; accepted are true and false"),
    ],
)
def test_wrong_parameter_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        strategy_trial.apply_parameters(parsed(), parameters, proxyless.parse_args, check_settings)


@pytest.mark.parametrize("name", ["sync_batchnorm", "channels_last", "download", "skip_unreadable"])
def test_flag_is_a_parameter(name):
    chosen = parsed()
    strategy_trial.apply_parameters(chosen, {name: True}, proxyless.parse_args, check_settings)
    assert getattr(chosen, name) is True


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--epoch-steps 99", r"epoch_steps is 99, but the training data have 80 steps of 16 rows"),
        ("--resolution 3", "resolution is 3, too small for the strides, which reduce it by 4"),
        ("--held-out 2", r"held_out must be in \(0, 1\), got 2"),
        (
            "--epochs 5 --warmup-steps 9",
            r"warmup_steps is 9, but a child is trained in \d steps: retrain_epochs is 1",
        ),
    ],
)
def test_setting_that_does_not_fit_is_named(more, message, trial, tmp_path):
    with pytest.raises(ValueError, match=message):
        strategy_trial.run(Proxyless(parsed(f"{more} --output {tmp_path}")), trial)


def test_run_tests_the_best_child_once(trial, tmp_path, monkeypatch):
    finals = []
    monkeypatch.setattr(trial, "report_final", lambda *a, **k: finals.append((a, k)))
    chosen = parsed(f"--channels-last --output {tmp_path}")
    domain = Proxyless(chosen)
    read, real, source = [], MemoryImages.read, domain.data.test.source

    def watched(self, indices, transform):
        read.extend(indices.tolist() if self is source else [])
        return real(self, indices, transform)

    monkeypatch.setattr(MemoryImages, "read", watched)
    results = strategy_trial.run(domain, trial)
    assert sorted(read) == list(range(360))
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["images"] == {"train": 1293, "validation": 144, "test": 360}
    best, tested = results["best_child"], results["retrained"]
    assert best["digest"] == digest(best["sample"])
    assert best["flops"] == n_multiply_adds(domain.make_space(), best["sample"])
    assert best["flops"] <= domain.filter["max"]
    assert 0 <= tested["accuracy"] <= 1
    assert finals == [
        ((tested["loss"],),
         {"accuracy": tested["accuracy"], "val_loss": best["val_loss"], "params": best["params"],
          "flops": best["flops"], "random_children_loss": results["random_children_loss"]}),
    ]  # fmt: skip
    checkpoint = tmp_path / "retrained" / f"{best['digest']}.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    with torch.no_grad():
        child = domain.make_space().freeze(best["sample"]).eval()
        child.load_state_dict({k.removeprefix("_model."): v for k, v in weights.items()})
        images, labels = domain.data.test.__getitems__(range(360))
        hits = (child(images).argmax(1) == labels).float().mean().item()
    assert tested["accuracy"] == pytest.approx(hits)


# The data that a checkpoint was made with


@pytest.fixture
def folder(tmp_path):
    """Noise of two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(10):
                pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{number}.png")
    return tmp_path / "data"


def of_folder(folder, resolution, more=""):
    """Images of a folder, as a trial has them."""
    words = f"--dataset imagefolder --data {folder} --held-out 0.2 --resolution {resolution}"
    return Proxyless(parsed(f"{words} --batch-size 8 --skip-unreadable {more}"))


def blacken(image):
    Image.new("RGB", (20, 20)).save(image)


@pytest.fixture
def train(trial, tmp_path):
    """Trains a child of a domain, or continues it."""

    def child(domain):
        sample = dict.fromkeys(domain.make_space().simplify(), "mb3_3x3")
        checkpoint = tmp_path / "child" / "child.ckpt"
        return train_child(domain, sample, trial, checkpoint, checkpoint.parent, devices=1)

    return child


@pytest.mark.parametrize("resolution", [8, 65])  # in memory, and from files
@pytest.mark.parametrize("changed", ["train/a/3.png", "test/b/0.png"])
def test_checkpoint_is_not_continued_on_other_images_of_equal_counts(
    resolution, changed, train, folder
):
    train(of_folder(folder, resolution))
    blacken(folder / changed)
    with pytest.raises(ValueError, match=r"child.ckpt' was made with .*: data.images_digest is '"):
        train(of_folder(folder, resolution))


@pytest.mark.parametrize("resolution", [8, 65])
def test_checkpoint_is_continued_when_its_images_have_moved(resolution, train, folder):
    _, before = train(of_folder(folder, resolution))
    _, after = train(of_folder(folder.rename(folder.with_name("moved")), resolution))
    assert after == before


def test_checkpoint_is_continued_when_other_images_were_found_unreadable(train, folder):
    (folder / "train" / "a" / "3.png").write_text("no image")
    (folder / "test" / "a" / "3.png").unlink()
    (folder / "test" / "a" / "3.png").symlink_to("nowhere.png")
    domain = of_folder(folder, 65)
    domain.data.train.source.read(range(20), domain.data.train.transform)
    assert len(domain.describe()["unreadable"]) == 1
    train(domain)
    train(of_folder(folder, 65))


def test_data_sets_in_memory_have_a_digest_of_their_pixels():
    digests = [Proxyless(parsed(more)).describe()["images_digest"] for more in ("", "--seed 1")]
    assert digests[0] == digests[1]
    assert digests[0] != Proxyless(parsed("--resolution 16")).describe()["images_digest"]


# The YAML files


def config_of(name):
    path = ROOT / "experiments" / name
    ExperimentConfig.load(path).validate()
    return yaml.safe_load(path.read_text())


def test_digits_experiment_compares_all_four_methods_one_at_a_time():
    config = config_of("proxyless_digits.yml")
    words = shlex.split(config["trialCommand"])
    assert words[:3] == ["python", "-m", "nni_magic.programs.proxyless"]
    chosen = config["searchSpace"]["strategy"]["_value"]
    assert chosen == list(STRATEGIES)
    assert (config["maxTrialNumber"], config["trialConcurrency"]) == (4, 1)
    for strategy in chosen:
        settings = proxyless.parse_args(words[3:])
        strategy_trial.apply_parameters(
            settings, {"strategy": strategy}, proxyless.parse_args, check_settings
        )
    assert (settings.dataset, settings.preset, settings.budget) == ("digits", "tiny", "60%")


def imagenet():
    config = config_of("proxyless_imagenet.yml")
    words = shlex.split(config["trialCommand"])
    assert words[:3] == ["python", "-m", "nni_magic.programs.proxyless_search"]
    return config, proxyless_search.parse_args(words[3:])


def test_imagenet_experiment_has_the_papers_settings():
    config, chosen = imagenet()
    assert (chosen.strategy, chosen.preset, chosen.budget) == ("magic_at", "imagenet", "600M")
    assert (chosen.learning_rate, chosen.warmup_steps, chosen.epochs) == (0.4, 0, 150)
    batch = chosen.batch_size * chosen.accumulate * int(chosen.devices)
    assert batch == 512
    images = round(1_281_167 * (1 - chosen.held_out))
    assert chosen.epoch_steps == images // batch
    # ProxylessNAS: 300 epochs with 0.05 for a batch of 256.
    assert chosen.retrain_epochs == 300
    assert chosen.retrain_learning_rate == pytest.approx(0.05 * batch / 256)
    assert (chosen.weight_decay, chosen.label_smoothing) == (4e-5, 0.1)
    given = config["tuner"]["classArgs"]
    needed = 1 + given["generations"] + given["top_k"] + len(given["baselines"])
    assert config["maxTrialNumber"] >= 2 * needed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_imagenet_preset_takes_real_steps_on_images_of_full_resolution(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog", "eel"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (250, 240, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.jpg")
    _, chosen = imagenet()
    chosen.data, chosen.held_out, chosen.warmup_epochs = tmp_path, 0.25, 0
    chosen.search_batches = 1
    domain = Proxyless(chosen)
    space = domain.make_space()
    before = {name: value.clone() for name, value in space.named_parameters()}
    watch = Watch()
    evaluator = domain.evaluator(
        total_steps=2, batch_size=2, learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        trainer_kwargs={**QUIET, "limit_val_batches": 1, "callbacks": [watch],
                        "precision": chosen.precision},
    )  # fmt: skip
    strategy = make_strategy(chosen, domain.filter)
    strategy.scoring["validation_children"] = 2
    strategy.alignment["anchor_candidates"] = 2
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())

    assert len(watch.steps) == 2
    assert all(0 < loss < 1000 for _, loss in watch.steps)
    module = strategy.oneshot_module
    assert anchor_of(module).sample is not None
    assert len(module.terms[0].layers) == 5  # of 21, every fourth
    for child, _ in watch.steps:
        assert len(child) == 21
        assert domain.costs(child)["flops"] <= 600e6
    moved = [n for n, v in space.named_parameters() if not torch.equal(v, before[n])]
    assert any(name.startswith("layers.20.") for name in moved)
    assert any(name.startswith("stem.") for name in moved)
