"""What the encoder and the decoder of a planar system do: configurations to latent coordinates and back."""

import torch
from torch import Tensor

from predcg.results import Run


@torch.no_grad()
def encode(run: Run, draws: int) -> tuple[Tensor, Tensor, Tensor]:
    """Exact draws, (n, 2), and of the first latent coordinate the mean and a draw for each, (n,)."""
    torch.manual_seed(run.seed)
    x = run.system.sample(draws)
    return x, run.model.cv(x)[:, 0], run.model.encoder(x).sample()[:, 0]


@torch.no_grad()
def recall(run: Run, x: Tensor, z: Tensor) -> dict[str, float]:
    """Of configurations, (n, 2), the share of each basin's that are in it still after encoding and decoding; mean and
    sd of draws of their z1, (n,), exactly 0 and 1.
    """
    numbers = _standard("z1", z)
    label, found = run.system.label(x), run.system.label(run.model.decode(run.model.cv(x)))
    return numbers | {
        f"recall_{name}": (found[label == index] == index).double().mean().item()
        for index, name in enumerate(run.system.basins)
        if (label == index).any()  # of a rare one there may be no draw
    }


@torch.no_grad()
def round_trip(run: Run, draws: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Latent draws z1 and the decoded mean of x1, (n,), decoded draws, (n, 2), and of their z1 the encoder's mean and
    draw, (n,).
    """
    torch.manual_seed(run.seed)
    z = run.model.latent().sample((draws,))
    x = run.model.decoder(z).sample()
    return z[:, 0], run.model.decode(z)[:, 0], x, run.model.cv(x)[:, 0], run.model.encoder(x).sample()[:, 0]


def monotony(z: Tensor, mean: Tensor, again: Tensor) -> dict[str, float]:
    ranks = torch.stack([values.argsort().argsort().double() for values in (z, mean)])
    return {"monotony_x1": ranks.corrcoef()[0, 1].abs().item()} | _standard("z1_again", again)


def _standard(name: str, z: Tensor) -> dict[str, float]:
    """Mean and sd with standard errors, beside those of N(0, 1)."""
    error = len(z) ** -0.5
    found = {f"mean_{name}": z.mean().item(), f"mean_{name}_error": error, f"mean_{name}_exact": 0.0}
    return found | {f"sd_{name}": z.std().item(), f"sd_{name}_error": error / 2**0.5, f"sd_{name}_exact": 1.0}
