"""The numbers of figures, on models whose answer is known."""

import math
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch

from predcg import figures
from predcg.batch import Batch, Data
from predcg.densities import FreeScale, GaussianMLP, StandardNormal, TrunkScale
from predcg.errors import InputError
from predcg.figures.networks import layers
from predcg.figures.structures import methyl_hydrogens, posed
from predcg.model import Model
from predcg.observables.observable import atoms
from predcg.results import Run
from predcg.transforms import Chain, RigidFrame, Unit

# Of alanine dipeptide: φ turns all from the alanine's HA on about N-CA, ψ its O and the methylamide about CA-C.
N, CA, C = 6, 8, 14
BEYOND = {"phi": [9, 10, 11, 12, 13, *range(14, 22)], "psi": [*range(15, 22)]}
METHYL = [0, 2, 3, 11, 12, 13, 19, 20, 21]


def turn(r: torch.Tensor, start: int, end: int, moved: list[int], radians: torch.Tensor) -> torch.Tensor:
    """Rodrigues' rotation of some atoms about the axis from one atom to another, (n, atoms, 3) by (n,)."""
    origin = r[:, start : start + 1]
    axis = torch.nn.functional.normalize(r[:, end : end + 1] - origin, dim=-1)
    v, cos, sin = r[:, moved] - origin, radians.cos()[:, None, None], radians.sin()[:, None, None]
    turned = v * cos + torch.linalg.cross(axis.expand_as(v), v) * sin + axis * (axis * v).sum(-1, keepdim=True) * (1 - cos)
    return r.index_copy(1, torch.tensor(moved), turned + origin)


@pytest.fixture
def hinge(ala2):
    """z to alanine dipeptide with φ = -60° - 20° z2 and ψ = 150° + 50° z1, all else as in its PDB file."""
    start = mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology)
    phi, psi = (torch.tensor(compute(start)[1].item()) for compute in (mdtraj.compute_phi, mdtraj.compute_psi))

    def decode(z: torch.Tensor) -> torch.Tensor:
        flat = z.reshape(-1, z.shape[-1])
        r = atoms(ala2.start(1)).expand(len(flat), -1, -1)
        r = turn(r, N, CA, BEYOND["phi"], torch.deg2rad(-60 - 20 * flat[:, 1]) - phi)
        r = turn(r, CA, C, BEYOND["psi"], torch.deg2rad(150 + 50 * flat[:, 0]) - psi)
        return r.reshape(*z.shape[:-1], -1)

    return decode


def run_of(system, x=None, **parts) -> Run:
    """A run of which figures may ask the model's `parts` and the frames x, training and held out alike."""
    batch = Batch.of(system.start(3) if x is None else x)
    model = SimpleNamespace(latent=StandardNormal(2), **parts)
    return Run(**dict.fromkeys(Run._fields) | {"system": system, "model": model, "data": Data(batch, batch)})


def test_walk_counts_the_basins_on_its_paths(ala2, hinge):
    _, numbers = figures.decoder_walk([run_of(ala2, decode=hinge)])
    # Along z1, φ = -60° and ψ goes from -50° (α) over β-2; along z2, ψ = 150° and φ goes from 20° over β-2 to -140° (β-1).
    assert numbers == {"basins_on_z1_path": 2, "basins_on_all_paths": 3}


def test_agreement_is_the_cosine_of_the_error(ala2, hinge):
    z = torch.randn(50, 2)
    _, numbers = figures.dihedral_maps([run_of(ala2, hinge(z), decode=hinge, cv=lambda x: z + torch.tensor([0.6, 0.0]))])
    assert numbers["phi_agreement"] == pytest.approx(1.0, abs=1e-5)
    assert numbers["psi_agreement"] == pytest.approx(math.cos(math.radians(30)), abs=1e-4)


def test_a_map_of_one_variable_is_refused(ala2):
    run = run_of(ala2)
    run.model.latent = StandardNormal(1)
    with pytest.raises(InputError, match="z >= 2"):
        figures.dihedral_maps([run])


def test_strip_measures_its_bonds_and_basins(ala2, hinge):
    _, numbers = figures.structure_strip([run_of(ala2, ala2.start(1), decode=lambda z: 1.01 * hinge(z))])
    bonds = [[a.index, b.index] for a, b in ala2.topology.bonds if a.name[0] != "H" and b.name[0] != "H"]
    longest = mdtraj.compute_distances(mdtraj.Trajectory(ala2.start(1).view(1, -1, 3).numpy(), ala2.topology), bonds).max()
    assert numbers["strip_heavy_bond_error_nm"] == pytest.approx(0.01 * longest, rel=1e-3)
    assert numbers["basins_in_strip"] == 1  # φ = -60°, ψ = -25°, 25°, ... 125° and 175° (both β-2), ... 325°


def test_posed_structures_are_superposed_and_none_is_a_mirror_image(ala2, hinge):
    rotation = torch.linalg.qr(torch.randn(5, 3, 3)).Q
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    x = (atoms(hinge(torch.zeros(5, 2))) @ rotation + torch.randn(5, 1, 3)).flatten(1)
    r = posed(x, ala2, list(range(22)))
    assert torch.allclose(r, r[:1].expand_as(r), atol=1e-5)
    extent = r[0].var(0)
    assert extent[1] > extent[0] > extent[2]
    assert ala2.backbone(r.flatten(1)).rad2deg().numpy() == pytest.approx(np.tile([-60, 150], (5, 1)), abs=1e-2)


def test_methyl_hydrogens_are_told_from_the_others(ala2):
    assert np.flatnonzero(methyl_hydrogens(ala2)).tolist() == METHYL


def test_spread_is_that_of_the_decoder_in_nm(ala2):
    transform = Chain([RigidFrame([N, CA, C]), Unit(0.1)])
    decoder = GaussianMLP(2, 66, hidden=[4], activations=["Tanh"], scale=FreeScale, transform=transform)
    angstrom = torch.full((22, 3), 0.1)
    angstrom[METHYL] = 0.5
    free = [i for i in range(66) if i not in (18, 19, 20, 24, 25, 43)]
    decoder.scale.log_variance.data = 2 * angstrom.flatten()[free].log()
    run = run_of(ala2)._replace(model=Model(StandardNormal(2), decoder, None))
    _, numbers = figures.atom_spread([run])
    expected = {"spread_methyl_hydrogens_nm": 0.05, "spread_others_nm": 0.01, "spread_ratio_methyl_hydrogens": 5.0}
    assert numbers == pytest.approx(expected, rel=0.02)


def test_networks_of_the_source_have_its_numbers(ala2):
    decoder = GaussianMLP(2, 66, [100, 100, 50], ["Tanh"] * 3, FreeScale)
    encoder = GaussianMLP(66, 2, [50, 100, 100], ["SELU", "SELU", "LogSigmoid"], TrunkScale)
    _, numbers = figures.networks([run_of(ala2)._replace(model=Model(StandardNormal(2), decoder, encoder))])
    weights = 2 * 100 + 100 * 100 + 100 * 50 + 50 * 66
    assert numbers["decoder_weights"] == weights
    assert numbers["decoder_parameters"] == weights + 100 + 100 + 50 + 66 + 66
    assert numbers["encoder_parameters"] == 66 * 50 + 50 + 50 * 100 + 100 + 100 * 100 + 100 + 2 * (100 * 2 + 2)
    assert [row.activation for row in layers(encoder, 66, 2)] == ["SELU", "SELU", "LogSigmoid", "", ""]


def test_every_parameter_of_every_density_is_in_its_table(conditional):
    density = conditional(context=2, size=3)
    assert sum(row.parameters for row in layers(density, 2, 3)) == sum(p.numel() for p in density.parameters())
