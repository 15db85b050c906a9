"""A small plan of a rank-correlation study, and results of it that were made up."""

import numpy as np
import yaml

from experiments.studies.plan import Plan
from experiments.studies.records import child_settings, supernet_settings
from experiments.studies.study import Study
from nni_magic.support.files import write_json

PLAN = {
    "space": {
        "n_layers": 4, "hidden": 8, "vocab_size": 300, "max_length": 8, "dropout": 0.0,
        "candidates": ["ffn", "conv3"],
    },
    "training": {"batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 1},
    "children": {"n": 8, "steps": 2, "repeated": 3, "seeds": [0, 1, 2]},
    "epoch_steps": 2,
    "score_rows": 64,
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0, 1]},
        "magic_t": {"strategy": "magic_t", "steps": 4, "seeds": [0, 1]},
    },
}  # fmt: skip


def written(folder, settings):
    path = folder / "plan.yml"
    path.write_text(yaml.safe_dump(settings))
    return path


def plan_of(folder, corpus="sotu", **changes):
    options = {"corpus": [str(corpus)]}
    return Plan.read(written(folder, {**PLAN, "options": options, **changes}))


def made_up(folder, corpus, **changes):
    """A finished study: supernet ``spos`` ranks at random, any other as the ground truth does."""
    plan = plan_of(folder, corpus, **changes)
    study = Study(plan, folder / "runs", corpus / "cache")
    rng = np.random.default_rng(0)
    truth = 4 + rng.normal(size=len(study.children))
    for child, seed in study.plan.children.trainings():
        n_ffn = sum(choice == "ffn" for choice in study.children[child].values())
        write_json(study.child_file(child, seed), {
            "made_with": child_settings(plan, study.children[child]), "seed": seed,
            "val_accuracy": 0.1,
            "val_loss": truth[child] + 0.01 * seed * rng.normal(),
            "params": 1000 + 100 * n_ffn, "flops": 5000 - 10 * n_ffn, "cpu_seconds": 1.0,
        })  # fmt: skip
    for name, supernets in study.plan.supernets.items():
        for seed in supernets.seeds:
            noise = 5.0 if name == "spos" else 1e-6
            scores = truth + noise * rng.normal(size=len(truth))
            write_json(study.supernet_file(name, seed), {
                "made_with": supernet_settings(plan, name), "supernets": name, "seed": seed,
                "scores": scores.tolist(),
                "last_child": study.children[0], "cpu_seconds": 2.0,
            })  # fmt: skip
    return study, truth
