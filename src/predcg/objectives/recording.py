"""What an objective remembers of its evaluations."""

import torch
from torch import Tensor

from predcg.objectives.objective import Objective


class Recording(Objective):
    """An objective with buffers that grow from step to step, named in `recorded`, so that a checkpoint holds them at
    any length, and a round goes on with those of the last.
    """

    recorded: tuple[str, ...] = ()

    def __init__(self):
        super().__init__()
        for name in self.recorded:
            self.register_buffer(name, torch.zeros(0))

    def record(self, **more: Tensor) -> None:
        """Append to the buffers of these names, along the first axis."""
        for name, new in more.items():
            old = getattr(self, name)
            setattr(self, name, torch.cat([old, new]) if len(old) else new)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest) -> None:
        for name in self.recorded:
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
