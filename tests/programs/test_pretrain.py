"""``nni-magic pretrain`` trains, and goes on where it was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hugging
import pytest
import teachers
from safetensors.torch import load_file
from transformers import AutoTokenizer

import nni_magic
from nni_magic.programs.main import main
from nni_magic.tasks.language.hugging_face import MagicBertForPreTraining, write_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    model = write_folder(hugging.exported(folder / "children"), folder / "model")
    (folder / "text").mkdir()
    for number in range(12):
        (folder / f"text/{number}.txt").write_text(f"cat {number} sat on the mat. " * 20)
    return ["--model", model, "--corpus", folder / "text", "--cache", folder / "cache",
            "--warmup-steps", 1, "--batch-size", 4, "--accumulate", 2]  # fmt: skip


def words(given, output, steps=3, **more):
    options = {"save-every": 2, "evaluate-every": 2, "steps": steps, **more}
    pairs = [word for name, value in options.items() for word in (f"--{name}", value)]
    return ["pretrain", *map(str, [*given, "--output", output, *pairs])]


def test_discriminator_is_written_with_its_tokenizer(given, tmp_path, capsys):
    main(words(given, tmp_path, objective="electra"))
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / 'model'}"
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["perplexity"] > 1
    assert results["sequences_per_second"] > 0
    assert results["settings"]["objective"] == "electra"
    loaded = nni_magic.load(tmp_path / "model")
    assert isinstance(loaded.model, MagicBertForPreTraining)
    assert loaded.record["sample"] == hugging.SAMPLE
    assert '"objective": "electra"' in (tmp_path / "model/README.md").read_text()
    assert AutoTokenizer.from_pretrained(tmp_path / "model").mask_token == "<mask>"
    rates = [row["learning_rate"] for row in json.loads((tmp_path / "log.json").read_text())
             if "learning_rate" in row]  # fmt: skip
    assert rates == sorted(rates, reverse=True)
    with pytest.raises(SystemExit):
        main(words(given, tmp_path, objective="mlm"))
    assert "objective is 'electra' there, and 'mlm' here" in capsys.readouterr().out


def test_training_that_diverges_is_told(given, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(words(given, tmp_path, **{"learning-rate": 1e30}))
    assert "the training has diverged; learning_rate is 1e+30" in capsys.readouterr().out


def test_child_imitates_a_teacher_and_goes_on_from_a_checkpoint(given, tmp_path):
    teacher = teachers.written(tmp_path / "teacher")
    whole, again = tmp_path / "whole", tmp_path / "again"
    main(words(given, whole, steps=4, teacher=teacher))
    settings = json.loads((whole / "results.json").read_text())["settings"]
    assert settings["imitate"] == ["hidden", "relations"]
    assert len(settings["teacher"]) == 64
    again.mkdir()
    shutil.copytree(whole / "checkpoint-2", again / "checkpoint-2")
    shutil.copy(whole / "made_with.json", again)
    main(words(given, again, steps=4, teacher=teacher))
    last = [load_file(each / "checkpoint-4/model.safetensors") for each in (whole, again)]
    assert {"imitations.hidden.project.weight", "child.mlm_head.bias"} < last[0].keys()
    assert all(last[0][name].equal(last[1][name]) for name in last[0])
    model = load_file(whole / "model/model.safetensors")
    assert "mlm_head.bias" in model and not any("imitations" in name for name in model)


def test_teacher_of_another_vocabulary_is_refused_for_logits(given, tmp_path, capsys):
    teacher = teachers.written(tmp_path / "teacher")
    with pytest.raises(SystemExit):
        main(words(given, tmp_path / "out", teacher=teacher, imitate="logits"))
    assert "imitate has 'logits', and teacher is" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(words(given, tmp_path / "out", teacher=tmp_path))
    assert f"teacher is '{tmp_path}', without config.json" in capsys.readouterr().out
    assert not (tmp_path / "out/made_with.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("objective", "processes"), [("mlm", 1), ("electra", 1), ("mlm", 2), ("taught", 2)]
)
def test_killed_run_ends_as_an_undisturbed_one(objective, processes, given, tmp_path):
    more = {"objective": objective, "whole-words": str(objective == "mlm").lower()}
    if objective == "taught":
        more = {"teacher": teachers.written(tmp_path / "teacher")}
    command = [sys.executable, "-m", "nni_magic.programs"]
    if processes > 1:
        several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command[1:2] = ["-m", *several, "-m"]

    def start(output):
        return subprocess.Popen(
            [*command, *words(given, output, steps=30, **more)], cwd=ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    assert start(tmp_path / "whole").wait() == 0
    run = start(tmp_path / "killed")
    while not list((tmp_path / "killed").glob("checkpoint-*/complete.json")):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/model").exists()
    assert start(tmp_path / "killed").wait() == 0
    one, other = (load_file(tmp_path / name / "model/model.safetensors")
                  for name in ("whole", "killed"))  # fmt: skip
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    results = [json.loads((tmp_path / name / "results.json").read_text())
               for name in ("whole", "killed")]  # fmt: skip
    assert results[0]["perplexity"] == results[1]["perplexity"]
