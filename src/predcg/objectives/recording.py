"""What an objective remembers of its evaluations."""

import torch
from torch import Tensor

from predcg.objectives.objective import Objective


class Recording(Objective):
    """An objective with buffers that grow from step to step, named in `recorded`, so that a checkpoint holds them at
    any length, and a round goes on with those of the last.

    A buffer is the used part of a longer tensor, which doubles where it is full: to append takes amortised constant
    time.
    """

    recorded: tuple[str, ...] = ()

    def __init__(self):
        super().__init__()
        self._whole: dict[str, Tensor] = {}
        for name in self.recorded:
            self.register_buffer(name, torch.zeros(0))

    def record(self, **more: Tensor) -> None:
        """Append to the buffers of these names, along the first axis; their type is that of the first that came."""
        for name, new in more.items():
            old, whole = getattr(self, name), self._whole.get(name)
            used, needed = len(old), len(old) + len(new)
            # A buffer that was set or loaded meanwhile is no part of the longer tensor.
            if whole is None or whole.data_ptr() != old.data_ptr() or needed > len(whole):
                whole = (old if used else new).new_empty(2 * needed, *new.shape[1:])
                whole[:used] = old if used else new[:0]
                self._whole[name] = whole
            whole[used:needed] = new
            setattr(self, name, whole[:needed])

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.recorded:  # What is saved of a part is the whole.
            destination[prefix + name] = getattr(self, name).detach().clone()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest) -> None:
        for name in self.recorded:
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
