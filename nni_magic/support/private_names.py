"""Names of torch, Lightning and NNI that are not theirs to promise, and that we use.

An underscore says so, or they belong to the inside of the trainer. Where a library has a public
way it is taken; what is left stands here, and a test looks each one up, so that after an upgrade
it is known which are gone. No other private name may be used. The upper bounds in ``setup.cfg``
are there because of this list.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PRIVATE_NAMES", "PrivateName"]


class PrivateName(NamedTuple):
    """One name, and why it is used.

    Parameters
    ----------
    owner
        Module or class that has it, by its path; after a class, attributes of an instance.
    name
        The name.
    rooms
        Rooms of ``nni_magic`` that use it.
    why
        What for.
    """

    owner: str
    name: str
    rooms: tuple[str, ...]
    why: str


_TRAINER = "pytorch_lightning.Trainer"
_LOOPS = [f"{_TRAINER}.{loop}" for loop in ("fit_loop", "validate_loop", "predict_loop")]
_ATTACHED = "is put back when a supernet was attached to the trainer for a while"

PRIVATE_NAMES = (
    # torch
    PrivateName("torch.utils._pytree", "tree_flatten",
                ("analysis", "search", "strategies"),
                "batches are nested lists and dicts; there is no public way to walk through them"),
    PrivateName("torch.utils._pytree", "tree_unflatten", ("strategies",), "likewise"),
    PrivateName("torch.utils._pytree", "tree_leaves", ("export",), "likewise"),
    PrivateName("torch.utils._pytree", "tree_structure", ("export",), "likewise"),
    PrivateName("torch.utils._pytree", "tree_map",
                ("analysis", "export", "search", "supernet"), "likewise"),
    PrivateName("torch.nn.modules.batchnorm", "_NormBase", ("supernet",),
                "what has running statistics: BatchNorm and InstanceNorm of every dimension"),
    PrivateName("torch.nn.modules.instancenorm", "_InstanceNorm", ("supernet",),
                "what has statistics of one row"),
    PrivateName("torch.nn.Module", "_buffers", ("supernet", "support"),
                "other statistics for a while, with the module's own tensors left alone"),
    PrivateName("torch.Tensor", "_version", ("search", "supernet", "support"),
                "tells whether a tensor was written to"),
    PrivateName("torch", "_amp_foreach_non_finite_check_and_unscale_", ("support",),
                "whether all gradients are finite, as GradScaler asks; norms take several times"),
    PrivateName("torch", "_foreach_norm", ("search",),
                "norms of all weights at once, to see that they have changed"),
    PrivateName("torch", "_weights_only_unpickler", ("supernet",),
                "which types a checkpoint may hold, asked when it is written; there is no public "
                "way to get the list"),
    PrivateName("torch._weights_only_unpickler", "_get_allowed_globals", ("supernet",),
                "likewise"),
    PrivateName("torch._weights_only_unpickler", "_get_user_allowed_globals", ("supernet",),
                "likewise"),
    PrivateName("torch.distributed.distributed_c10d", "_get_default_store", ("supernet",),
                "where ranks leave their errors when their collectives have failed"),
    # Lightning: what its trainer does before it calls a step
    PrivateName("pytorch_lightning.LightningModule", "_on_before_batch_transfer", ("supernet",),
                "a batch passes the module's hooks as in the trainer"),
    PrivateName("pytorch_lightning.LightningModule", "_trainer", ("scoring", "supernet"),
                _ATTACHED),
    PrivateName(_TRAINER, "_data_connector", ("supernet",), "attaches data without a fit"),
    PrivateName(f"{_TRAINER}._data_connector", "attach_data", ("supernet",), "likewise"),
    PrivateName(f"{_TRAINER}._data_connector", "_datahook_selector", ("supernet",), _ATTACHED),
    *(PrivateName(loop, "_combined_loader", ("supernet",), _ATTACHED) for loop in _LOOPS),
    *(PrivateName(loop, "_data_source", ("supernet",), _ATTACHED) for loop in _LOOPS),
    PrivateName(f"{_LOOPS[0]}._data_source", "instance", ("supernet",), _ATTACHED),
    PrivateName("pytorch_lightning.utilities.CombinedLoader", "_mode", ("supernet",),
                "whether loaders are read one after another"),
    PrivateName(_LOOPS[0], "epoch_loop", ("supernet",), "leads to the next two"),
    PrivateName(f"{_LOOPS[0]}.epoch_loop", "batch_progress", ("supernet",),
                "batches of the epoch that are done, to resume after them"),
    PrivateName(f"{_LOOPS[0]}.epoch_loop", "val_loop", ("supernet",),
                "holds the validation data in a fit"),
    PrivateName(f"{_LOOPS[0]}.epoch_loop.val_loop", "setup_data", ("supernet",),
                "loads them before the first validation"),
    PrivateName(f"{_TRAINER}.strategy", "connect", ("supernet",), "attaches a supernet"),
    PrivateName(f"{_TRAINER}.strategy", "_lightning_module", ("supernet",), _ATTACHED),
    PrivateName(f"{_TRAINER}.strategy", "_model", ("supernet",), _ATTACHED),
    PrivateName("pytorch_lightning.strategies.DDPStrategy", "_ddp_kwargs", ("supernet",),
                "whether DDP expects parameters without gradient, asked before it fails"),
    PrivateName("pytorch_lightning.strategies.launchers", "_MultiProcessingLauncher", ("supernet",),
                 "tells strategies that train in other processes"),
    # NNI
    PrivateName("nni.trial", "_intermediate_seq", ("scoring",),
                "the number of the next report, which a score does not use up"),
    PrivateName("nni.nas.evaluator.pytorch.lightning.SupervisedLearningModule",
                "_get_result_for_report", ("scoring",), "is asked for in hooks of validation"),
    PrivateName("nni.nas.evaluator.pytorch.LightningModule", "_model", ("supernet",),
                "the prefix of the supernet's weights in a checkpoint; also " + _ATTACHED),
    PrivateName("nni.nas.oneshot.pytorch.supermodule.sampling.PathSamplingLayer", "_sampled",
                ("analysis",), "the path that is set, to put it back"),
    PrivateName("nni.nas.oneshot.pytorch.supermodule.operation.MixedOperation", "sampling_policy",
                ("analysis",), "holds the path of a choice of value"),
    PrivateName("nni.nas.oneshot.pytorch.supermodule.differentiable.DifferentiableMixedLayer",
                "_arch_alpha", ("strategies",), "the architecture parameters, to train them"),
    PrivateName("nni.nas.oneshot.pytorch.supermodule.differentiable.DifferentiableMixedLayer",
                "_softmax", ("strategies",), "gives the weights of a cell's edges, too"),
    PrivateName("nni.runtime.tuner_command_channel.TunerCommandChannel", "_receive", ("manager",),
                "messages are read as plain JSON, because NNI unpickles what trials report"),
    # datasets
    PrivateName("datasets.Dataset", "_fingerprint", ("tasks",),
                "names the content of a corpus without reading all of it"),
)  # fmt: skip
"""All of them, library by library."""
