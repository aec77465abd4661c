"""Langevin dynamics of any system, all replicas at once."""

import math

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.progress import progress
from predcg.samplers.sampler import Bias, Sampler
from predcg.systems import System


class Langevin(Sampler):
    """BAOAB splitting of m dv = -kT ∇u dt - γ m v dt + √(2 γ m kT) dW (Leimkuhler and Matthews 2013).

    Random numbers come from torch's global generator, so the run's seed decides the trajectory.

    Args:
        timestep, friction, stride, burn_in: see Sampler; in reduced units masses and kT are 1.

    >>> from predcg.systems import Harmonic
    >>> Langevin(timestep=0.1, friction=1.0, stride=5, burn_in=0).run(Harmonic([1.0]), torch.zeros(4, 1), 10).x.shape
    torch.Size([40, 1])
    """

    def run(self, system: System, start: Tensor, frames: int, bias: Bias | None = None) -> Batch:
        masses = system.masses.to(start)
        decay = math.exp(-self.friction * self.timestep)
        thermal = (system.kt / masses).sqrt()

        def force(x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                u = system(x)
                total = u if bias is None else u + bias(x)
                (gradient,) = torch.autograd.grad(total.sum(), x)
            return -system.kt * gradient / masses, u.detach()

        x, v = start.clone(), thermal * torch.randn_like(start)
        acceleration, u = force(x)
        recorded_x, recorded_u = [], []
        total = self.burn_in + frames * self.stride
        with progress(total, f"Langevin, {len(start)} replicas") as bar:
            for step in range(1, total + 1):
                bar.update()
                v = v + 0.5 * self.timestep * acceleration
                x = x + 0.5 * self.timestep * v
                v = decay * v + math.sqrt(1 - decay**2) * thermal * torch.randn_like(v)
                x = x + 0.5 * self.timestep * v
                acceleration, u = force(x)
                v = v + 0.5 * self.timestep * acceleration
                if step > self.burn_in and (step - self.burn_in) % self.stride == 0:
                    recorded_x.append(x)
                    recorded_u.append(u)
        return Batch.of(torch.stack(recorded_x, 1).flatten(0, 1), torch.stack(recorded_u, 1).flatten())
