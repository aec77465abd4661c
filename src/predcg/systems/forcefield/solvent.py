"""Generalised Born solvation: energies with analytic derivatives."""

import numpy as np
import torch
from torch import Tensor, nn

from predcg.systems.forcefield.born import BornParameters


class GeneralisedBorn(nn.Module):
    """E = Σ_ij s q_i q_j / (2 f_ij) + Σ_i a (ρ_i + 0.14)² (ρ_i/B_i)⁶, f² = r² + B_i B_j exp(-r²/(4 B_i B_j)).

    Still, Tempczyk, Hawley, Hendrickson 1990; Born radii B after Hawkins, Cramer, Truhlar 1995 (HCT), Onufriev,
    Bashford, Case 2004 (OBC), Mongan et al. 2007 (GBn), Nguyen, Roe, Simmerling 2013 (GBn2); surface after Schaefer,
    Bartels, Karplus 1998. Arrays have the shape (..., n, W) per atom and (..., n, n, W) per pair, W configurations side
    by side.
    """

    def __init__(self, parameters: BornParameters):
        super().__init__()
        charge, radius, n = parameters.charge, parameters.offset_radius, len(parameters.charge)
        full = radius + parameters.offset
        one, other = np.triu_indices(n, 1)
        tensors = {
            "inner": radius[None, :, None],
            "reach": parameters.scaled_radius[:, None, None],
            "others": (1 - np.eye(n))[:, :, None],
            "inverse": 1 / radius[:, None],
            "radius": full[:, None],
            "charges": parameters.scale * (charge[one] * charge[other])[:, None],
            "forth": one * n + other,
            "back": other * n + one,
            "own": 0.5 * parameters.scale * charge[:, None] ** 2,
            "surface": parameters.surface * (full[:, None] + 0.14) ** 2 * full[:, None] ** 6,
        }
        if parameters.tanh is not None:
            tensors["tanh"] = parameters.tanh[:, :, None]
        if parameters.neck is not None:
            (distance, height), cutoff = parameters.neck
            tensors |= {"neck": distance.T[:, :, None], "height": height.T[:, :, None] * (1 - np.eye(n))[:, :, None]}
            tensors["neck_end"] = (full[:, None] + full[None] + cutoff)[:, :, None]
        for name, value in tensors.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self.has_tanh, self.has_neck, self.engulfed = (
            parameters.tanh is not None,
            parameters.neck is not None,
            parameters.engulfed,
        )

    def forward(
        self, true_r2: Tensor, r: Tensor, inverse_r: Tensor, beyond: Tensor, one: Tensor, other: Tensor, index: Tensor
    ) -> tuple:
        """Energy of each configuration, dE/dr / r of each pair, and what should be stored."""
        screening, screening_slope = self._descreening(r[..., index, :], inverse_r[..., index, :])
        screening = screening + screening_slope * beyond[..., index, :]
        born, born_slope = self._born(screening.sum(-3))
        radius = 1 / born
        product = radius[..., one, :] * radius[..., other, :]
        damping = torch.exp(-0.25 * true_r2 * (born[..., one, :] * born[..., other, :]))
        f = (true_r2 + product * damping).rsqrt()
        pair = self.charges * f
        slope = -pair * f * f
        surface = self.surface * born**6
        # By d f² / dB_i = exp(...) (B_i B_j + r²/4) / B_i, and dB = -B² d(1/B).
        bend = -0.5 * slope * damping * (product + 0.25 * true_r2)
        by_born = (bend[..., index, :] * self.others).sum(-3) * radius + self.own + 6 * surface * radius
        by_screening = by_born * born_slope
        flat = screening_slope.flatten(-3, -2)
        slope = slope * (1 - 0.25 * damping)
        slope = (
            slope
            + by_screening[..., other, :] * flat[..., self.forth, :]
            + by_screening[..., one, :] * flat[..., self.back, :]
        )
        energy = pair.sum(-2) + (self.own * born + surface).sum(-2)
        return energy, slope, (screening, screening_slope, born, radius, bend)

    def _descreening(self, r: Tensor, inverse_r: Tensor) -> tuple[Tensor, Tensor]:
        """How much atom j screens atom i, I_ji, and dI_ji/dr / r, (..., n, n, W).

        The derivatives through L and U cancel, but for L = s_j - r, where atom i lies inside the sphere of j.
        """
        # The screening of sulphur in GBn2 is negative: what its sphere does not reach screens nothing, and has no
        # logarithm.
        far, near = torch.maximum(r + self.reach, self.inner), torch.maximum((r - self.reach).abs(), self.inner)
        product = 1 / (far * near)
        u, l = near * product, far * product
        log = 0.25 * torch.log(near * u) * inverse_r
        squares = 0.125 * (u * u - l * l)
        share = (self.reach * inverse_r) ** 2
        inside = torch.where(far > self.inner, self.others, 0.0)
        value = (0.5 * (l - u) + r * (1 - share) * squares + log) * inside
        slope = ((1 + share) * squares - log * inverse_r) * inverse_r * inside
        swallowed = torch.where(self.reach - r > self.inner, self.others, 0.0)
        if self.engulfed:
            value = value + swallowed * (1 / self.inner - l)
        else:
            slope = slope + swallowed * l * l * inverse_r
        if self.has_neck:
            gap = r - self.neck
            gap2 = gap * gap
            neck = torch.where(r < self.neck_end, self.height, 0.0) / (1 + 100 * gap2 + 3e5 * gap2**3)
            bent = torch.where(r < self.neck_end, self.height, 0.0) / (1 + 100 * gap2 + 3e5 * gap2**3) ** 2
            value, slope = value + neck, slope - bent * (200 * gap + 1.8e6 * gap2 * gap2 * gap) * inverse_r
        return value, slope

    def _born(self, screening: Tensor) -> tuple[Tensor, Tensor]:
        """1/B_i of I_i, and its derivative d(1/B)/dI, (..., n, W)."""
        # A collapsed molecule would have negative radii, whose f is not real: they end at one micrometre.
        if not self.has_tanh:
            born = self.inverse - screening
            return born.clamp(min=1e-3), -(born > 1e-3).to(born)
        psi = screening / self.inverse
        alpha, beta, gamma = self.tanh
        bend = torch.tanh(psi * (alpha - psi * (beta - gamma * psi)))
        slope = (1 - bend * bend) * (alpha - psi * (2 * beta - 3 * gamma * psi)) / self.inverse
        return self.inverse - bend / self.radius, -slope / self.radius
