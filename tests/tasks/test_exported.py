"""Exported children of text and of images are read back."""

import subprocess
import sys
from pathlib import Path

import hugging
import pytest
import torch
from images import exported as exported_image

import nni_magic
from nni_magic.support.files import write_json
from nni_magic.tasks.exported import read_preprocessing
from nni_magic.tasks.vision.preprocessing import ImagePreprocessing

ROOT = Path(__file__).parents[2]


def test_a_child_of_text_comes_with_weights_and_tokenizer(tmp_path):
    folder = hugging.exported(tmp_path)
    state = torch.get_rng_state()
    loaded = nni_magic.load(str(folder))
    assert torch.equal(torch.get_rng_state(), state)
    ids, mask = hugging.batch()
    assert torch.equal(loaded.model(ids, mask), hugging.child()(ids, mask))
    assert not loaded.model.training
    assert loaded.model(**loaded.preprocess(["the cat", "a dog ran"])).shape == (2, 5, 281)
    assert loaded.record["score"] == 2.5


def test_a_child_of_images_comes_with_weights_transforms_and_classes(tmp_path):
    child, folder = exported_image(tmp_path)
    loaded = nni_magic.load(folder)
    assert isinstance(loaded.preprocess, ImagePreprocessing)
    assert loaded.preprocess.num_classes == 10
    batch = loaded.preprocess([torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)] * 2)
    assert torch.equal(loaded.model(batch), child(batch))


def test_a_child_whose_inputs_nobody_described_has_no_preprocessing(tmp_path):
    folder = hugging.exported(tmp_path, beside=None)
    assert nni_magic.load(folder).preprocess is None


def test_what_is_no_folder_of_a_child_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder is '.*no', without child.json; accepted"):
        nni_magic.load(tmp_path / "no")
    write_json(tmp_path / "preprocessing.json", {"kind": "sound"})
    message = "kind of preprocessing is 'sound'; accepted are 'images', 'text'"
    with pytest.raises(ValueError, match=message):
        read_preprocessing(tmp_path)


def test_loading_is_the_first_thing_that_loads_torch(tmp_path):
    folder = hugging.exported(tmp_path)
    program = f"""if True:
        import sys, nni_magic
        heavy = {{"torch", "nni", "transformers"}}
        print(heavy & sys.modules.keys())
        print(type(nni_magic.load({str(folder)!r}).model).__name__)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=ROOT, timeout=120)  # fmt: skip
    assert done.stdout.split() == ["set()", "BertSpace"], done.stderr
