"""Remember the buffers of a model, such as BatchNorm's running statistics, and put them back."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["KeptBuffers"]


class KeptBuffers:
    """Copies of all buffers of a model; only those of layers that have run are copied anew.

    Parameters
    ----------
    model
        The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._kept = [_Kept(part._buffers) for part in model.modules() if part._buffers]

    def keep(self) -> None:
        """Remember the buffers as they are now."""
        for kept in self._kept:
            kept.keep()

    def restore(self) -> None:
        """Put the buffers back to what :meth:`keep` has seen."""
        for kept in self._kept:
            kept.restore()


class _Kept:
    """The buffers of one layer."""

    def __init__(self, buffers: dict[str, Tensor | None]) -> None:
        self._buffers = buffers
        self._copies: dict[str, tuple[Tensor, int, Tensor]] = {}

    def keep(self) -> None:
        # BatchNorm counts its batches in a buffer, and writes into the others unseen by torch's
        # count of changes: where one buffer of a layer has changed, all are copied.
        if not self._copies or any(
            own is not self._buffers[name] or own._version != version
            for name, (own, version, _) in self._copies.items()
        ):
            self._copies = {
                name: (buffer, buffer._version, buffer.detach().clone())
                for name, buffer in self._buffers.items()
                if buffer is not None
            }

    def restore(self) -> None:
        for name, (own, _, copy) in self._copies.items():
            own.data.copy_(copy)
            self._buffers[name] = own
