"""Images as a classifier takes them: chosen, normalised in batches, in three parts."""

import pytest
import torch
from torchvision.transforms import v2

from nni_magic.tasks.vision import images
from nni_magic.tasks.vision.parts import ImageData, Images, Statistics, as_it_is
from nni_magic.tasks.vision.sources import FolderImages, MemoryImages


@pytest.fixture(scope="module")
def digits():
    return images.prepare("digits", held_out=0.1)


def test_batch_is_that_of_single_images(digits):
    batch, labels = digits.validation.__getitems__([3, 0])
    for row, position in enumerate((3, 0)):
        image, label = digits.validation[position]
        assert torch.equal(batch[row], image)
        assert labels[row] == label
    expected = digits.validation.source.images[digits.validation.indices[3], 0] / 255
    assert torch.allclose(batch[0, 0], (expected - 0.3053) / 0.3763)


def test_augmentation_follows_torchs_generator(digits):
    batches = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        batches.append(digits.train.__getitems__(range(32))[0])
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_indices_choose_and_order():
    source = MemoryImages(torch.arange(4, dtype=torch.uint8)[:, None, None, None], torch.arange(4))
    part = Images(source, [2, 0], v2.Identity(), Statistics((0.0,), (1.0,)))
    batch, labels = part.__getitems__([0, 1])
    assert labels.tolist() == part.labels.tolist() == [2, 0]
    assert (batch.flatten() * 255).tolist() == [2, 0]
    assert part.unreadable == []


def test_normalisation_is_by_channel():
    source = MemoryImages(torch.tensor([[[[255]], [[51]]]], dtype=torch.uint8), torch.tensor([3]))
    part = Images(source, [0], v2.Identity(), Statistics((0.5, 0.1), (0.25, 0.2)))
    image, label = part[0]
    assert image.flatten().tolist() == pytest.approx([2.0, 0.5])
    assert (image.dtype, label.item(), len(part)) == (torch.float32, 3, 1)


def test_unreadable_images_of_all_parts_are_told_once_and_in_order():
    sources = [FolderImages([(f"{n}{k}", 0) for k in range(3)], skip_unreadable=True) for n in "ba"]
    for source, which in zip(sources, (2, 1), strict=True):
        source.unreadable[which] = True
    train, validation, test = (
        Images(source, [0, 1], v2.Identity(), Statistics((0.5,), (0.5,)))
        for source in (sources[0], sources[0], sources[1])
    )
    data = ImageData("imagefolder", ("x",), 3, 96, train, validation, test, ("c0", "b2"))
    assert data.unreadable == ["a1", "b2", "c0"]


def test_loader_gives_a_batch_as_it_is(digits):
    batch = digits.test.__getitems__([0, 1])
    assert as_it_is(batch) is batch


def test_import_paths_of_data_sets_have_the_parts_too():
    for kind in (ImageData, Images, Statistics, as_it_is):
        assert getattr(images, kind.__name__) is kind
        assert kind.__name__ in images.__all__
