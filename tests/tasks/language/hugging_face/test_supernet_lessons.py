"""Children of supernets imitate a teacher, under every strategy that trains children."""

import hugging
import pytest
import teachers
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from torch import nn
from training import QUIET, Watch, make, train

from nni_magic.losses.imitation import logit_divergence, relation_divergence
from nni_magic.supernet.hidden_states import recorded as recording
from nni_magic.tasks.language.hugging_face.attention import attention_maps, last_attention
from nni_magic.tasks.language.hugging_face.supernet_lessons import supernet_lessons
from nni_magic.tasks.language.mlm_data import MlmData
from nni_magic.tasks.teaching import Teacher

MASK = 4


class Rows(LightningModule):
    """Predicts the tokens of two positions, and skips nothing."""

    def _loss(self, ids):
        mask = ids != 1
        positions = torch.zeros_like(mask)
        positions[:, 2:4] = True
        inputs = ids.masked_fill(positions, MASK)
        logits = self.model(inputs, attention_mask=mask, positions=positions)
        return nn.functional.cross_entropy(logits, ids[positions])

    def training_step(self, batch, batch_idx):
        return self._loss(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def rows():
    ids, mask = hugging.batch()
    return list(ids.masked_fill(mask == 0, 1).repeat(4, 1))


def data():
    own = hugging.tokenizer()
    return MlmData(None, None, own, None, own.get_vocab_size(), hugging.LENGTH, "", "")


def evaluator(watch, **trainer):
    options = {**QUIET, "max_epochs": 2, **trainer}
    return Lightning(
        Rows(), Trainer(callbacks=[watch], **options),
        train_dataloaders=DataLoader(rows(), batch_size=4, shuffle=True),
        val_dataloaders=DataLoader(rows(), batch_size=4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return {"alike": teachers.written(folder / "alike", alike=True),
            "other": teachers.written(folder / "other")}  # fmt: skip


def lessons(folder, space, **settings):
    return supernet_lessons(Teacher(teacher=folder, **settings), data(), space, seed=0)


def run(name, folder, watch=None, checkpoint=None, **settings):
    torch.manual_seed(5)
    space = hugging.space()
    found = lessons(folder, space, **settings)
    strategy = make(name, terms=found.terms)
    train(strategy, space, evaluator(watch or Watch()), checkpoint)
    return strategy, found


@pytest.fixture(scope="module")
def trained(folders):
    """Lightning's module of a supernet that was trained with a teacher of its vocabulary."""
    return run("spos", folders["alike"])[0].oneshot_module


@pytest.mark.parametrize("name", [
    "magic_at", *(pytest.param(name, marks=pytest.mark.slow) for name in
                  ("spos", "sandwich", "few_shot", "multi_architecture", "fairnas", "prenas")),
])  # fmt: skip
def test_children_of_any_strategy_imitate_a_teacher_of_another_tokenizer(name, folders):
    strategy, found = run(name, folders["other"])
    logged = strategy.oneshot_module.trainer.logged_metrics
    for what in ("hidden", "relations"):
        assert logged[f"supernet/teacher_{what}_loss"].isfinite()
    [hidden] = [term.weights for term in found.terms if term.name == "teacher_hidden_loss"]
    fresh = lessons(folders["other"], hugging.space()).terms[0].weights
    assert not hidden.project.weight.equal(fresh.project.weight)


def test_killed_run_with_a_teacher_goes_on_to_the_same_weights(folders, tmp_path):
    path, watches = tmp_path / "killed.ckpt", [Watch(), Watch(3, tmp_path / "killed.ckpt"), Watch()]
    whole, their_lessons = run("magic_t", folders["other"], watches[0])
    run("magic_t", folders["other"], watches[1])
    again, our_lessons = run("magic_t", folders["other"], watches[2], path)
    assert watches[1].steps + watches[2].steps == watches[0].steps
    pairs = [(again.supernet, whole.supernet),
             (our_lessons.terms[0].weights, their_lessons.terms[0].weights)]  # fmt: skip
    for one, other in pairs:
        ours, theirs = one.state_dict(), other.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(ours[name].equal(theirs[name]) for name in ours)


def recorded(module, folder, child, **settings):
    """The readings of a call of one child, and the call's inputs and output."""
    found = lessons(folder, hugging.space(), **settings)
    for term in found.terms:
        term.begin(module)
    module.router.set(child)
    module.model.eval()
    ids, mask = hugging.batch()
    positions = (torch.arange(hugging.LENGTH) == 0).expand_as(ids)
    layers = {name: one for term in found.terms for name, one in term.layers.items()}
    with recording(module.model, layers) as calls, torch.no_grad():
        module.model(ids, attention_mask=mask, positions=positions)
    return found, calls[0], ids, mask, positions


def test_logits_are_compared_at_the_predicted_tokens_with_transformers_own(folders, trained):
    found, call, ids, mask, positions = recorded(trained, folders["alike"], hugging.SAMPLE)
    [term] = found.terms
    student, teacher, real = term._readings(call)
    model = teachers.KINDS["masked"].from_pretrained(folders["alike"]).eval()
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits[positions]
    torch.testing.assert_close(teacher.logits, expected)
    ours = term._imitation(student, teacher, real)
    torch.testing.assert_close(ours, logit_divergence(call.output, expected).mean())


def test_child_without_attention_imitates_the_relations_of_its_last_states(folders, trained):
    for child in (hugging.SAMPLE, dict.fromkeys(hugging.SAMPLE, "conv3")):
        found, call, _, mask, _ = recorded(
            trained, folders["alike"], child, imitate=("relations",)
        )
        [term] = found.terms
        student, teacher, real = term._readings(call)
        own = last_attention(attention_maps(trained.model), call.states)
        assert len(own) == (3 if child is hugging.SAMPLE else 0)
        heads = term._imitation.heads
        pairs = zip(own, teacher.attention, strict=True) if len(own) else [
            (call.states["layers.3"], teacher.last)
        ]  # fmt: skip
        each = [relation_divergence(*pair, heads, mask != 0) for pair in pairs]
        torch.testing.assert_close(term._imitation(student, teacher, real), sum(each) / len(each))


def test_last_attention_is_that_of_the_child_not_of_another_layer(folders, trained):
    child = {"layer_1": "mha2", "layer_2": "mha2", "layer_3": "ffn24", "layer_4": "conv3"}
    found, call, *_ = recorded(trained, folders["alike"], child, imitate=("relations",))
    student, _, _ = found.terms[0]._readings(call)
    state = call.states["layers.1.operator.mha2.qkv"]
    assert student.attention[0].equal(state.chunk(3, -1)[0])
