"""A trial of the pipeline that trains nothing, and fails, hangs or is late as a plan says.

``pipeline_trial.py FOLDER``: there lie ``plan.json``, which says what happens at the first start
of a task, and ``journal.txt``, which gets a line for every piece of work that was done.
"""

import json
import os
import sys
import time
from pathlib import Path

from nni.mutable import Categorical

from nni_magic.children.samples import digest
from nni_magic.manager.pipeline import Pipeline
from nni_magic.manager.trial import ManagedTrial
from nni_magic.search import Population
from nni_magic.support.errors import one_clear_message


class Work:
    """The stages; what they give is computed from the child alone."""

    def __init__(self, folder):
        self.journal = folder / "journal.txt"

    def done(self, line):
        with self.journal.open("a") as file:
            file.write(line + "\n")

    def train_supernet(self):
        self.done("supernet")
        return {"default": 9}

    def population(self):
        labels = [f"block_{n}" for n in range(1, 6)]
        return Population({x: Categorical(range(3), label=x) for x in labels}, size=4, seed=1)

    def score(self, samples):
        for sample in samples:
            self.done(f"score {digest(sample)}")
        return [loss(sample) for sample in samples]

    def retrain(self, child):
        self.done(f"retrain {digest(child)}")
        return {"default": loss(child) / 2, "params": 10}

    def train_baseline(self, name):
        self.done(f"baseline {name}")
        return {"default": 7}

    def run(self, pipeline):
        names = ("train_supernet", "population", "score", "retrain", "train_baseline")
        return pipeline.run(**{name: getattr(self, name) for name in names})


def loss(sample):
    return sum((n + 1) * choice for n, choice in enumerate(sample.values())) / 8


def main():
    folder = Path(sys.argv[1])
    plan = json.loads((folder / "plan.json").read_text())
    if int(os.environ["NNI_TRIAL_SEQ_ID"]) in plan.get("late", []):
        time.sleep(5)  # until another trial has asked the manager for its parameters
    with one_clear_message():
        pipeline = Pipeline(ManagedTrial())
    marker = folder / f"{pipeline.task}.started"
    act = None if marker.exists() else plan.get(str(pipeline.task))
    marker.touch()
    if act == "hang":
        time.sleep(600)
    if act == "fail":
        sys.exit("as planned")
    with one_clear_message():
        Work(folder).run(pipeline)


if __name__ == "__main__":
    main()
