"""Markov chains of any system in torch, all replicas at once."""

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.progress import progress
from predcg.samplers.recorder import Recorder
from predcg.samplers.sampler import Bias, Sampler
from predcg.systems import System


class MarkovChain(Sampler):
    """A sampler whose state is a dictionary of tensors and numbers, with x, u and, where there is one, slope (∇u), one
    row for each replica.

    Running is final; a subclass writes `begin` and `advance`. Noise comes from a generator of its own, whose state is
    saved too.
    """

    evaluations_per_step = 1
    evaluations_to_begin = 1

    @abstractmethod
    def begin(self, system: System, start: Tensor, bias: Bias | None, noise: torch.Generator) -> dict:
        """The state before the first step."""

    @abstractmethod
    def advance(self, system: System, state: dict, steps: int, bias: Bias | None, noise: torch.Generator) -> None:
        """Change the state by some steps."""

    def report(self, state: dict) -> None:
        """Say what the user should know of a finished simulation."""

    def run(
        self, system: System, start: Tensor, frames: int, bias: Bias | None = None, folder: Path | None = None
    ) -> Batch:
        recorder = Recorder(folder)
        total = self.burn_in + frames * self.stride
        if (finished := recorder.finished()) is not None:
            system.evaluations += self._cost(total) * self.replicas(len(start))  # This is what these data have cost.
            return finished
        # This is not the stream that torch.manual_seed of the same number gives to everything else.
        noise = torch.Generator(start.device).manual_seed(self.seed + 2**32)
        system.expect(total * self.evaluations_per_step * self.replicas(len(start)))
        state = recorder.resume()
        if state is None:
            state = self.begin(system, start, bias, noise) | {"step": 0}
        else:
            state = {
                key: value.to(start.device) if isinstance(value, Tensor) and key != "noise" else value
                for key, value in state.items()
            }
            noise.set_state(state.pop("noise"))
            system.evaluations += self._cost(state["step"]) * len(state["x"])
        with progress(total, f"{type(self).__name__}, {len(state['x'])} replicas", state["step"]) as bar:
            while state["step"] < total:
                burning = state["step"] < self.burn_in
                steps = min(self.stride, self.burn_in - state["step"]) if burning else self.stride
                self.advance(system, state, steps, bias, noise)
                state["step"] += steps
                bar.update(steps)
                if not burning:
                    recorder.record(
                        Batch.of(
                            state["x"], state["u"], -state["slope"] if "slope" in state else None, state.get("beta")
                        )
                    )
                recorder.save(state | {"noise": noise.get_state()})
        self.report(state)
        return recorder.finish(system, len(state["x"]))

    def _cost(self, steps: int) -> int:
        """Energy evaluations of one replica from the beginning."""
        return self.evaluations_to_begin + steps * self.evaluations_per_step

    def replicas(self, starts: int) -> int:
        """How many configurations are evaluated at each step."""
        return starts


def slope(system: System, x: Tensor, bias: Bias | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """u (R,) and ∇u (R, D) of the system, and both with the bias added."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        u = system(x)
        (gradient,) = torch.autograd.grad(u.sum(), x)
        if bias is None:
            return u.detach(), gradient, u.detach(), gradient
        b = bias(x)
        (further,) = torch.autograd.grad(b.sum(), x)
    return u.detach(), gradient, (u + b).detach(), gradient + further
