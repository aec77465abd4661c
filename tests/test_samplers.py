"""Samplers: one contract for all, and averages that statistical mechanics knows."""

import pytest
import torch

from predcg.errors import InputError
from predcg.samplers import Langevin, OpenMMLangevin
from predcg.systems import Harmonic, Molecule

WATER = """ATOM      1  O   HOH A   1       0.000   0.000   0.000  1.00  0.00           O
ATOM      2  H1  HOH A   1       0.957   0.000   0.000  1.00  0.00           H
ATOM      3  H2  HOH A   1      -0.240   0.927   0.000  1.00  0.00           H
END
"""


@pytest.fixture(scope="module")
def water(tmp_path_factory):
    pdb = tmp_path_factory.mktemp("water") / "water.pdb"
    pdb.write_text(WATER)
    return Molecule(str(pdb), ["tip3p.xml"], 300.0)


@pytest.fixture(params=["torch", "openmm"])
def sampler(request):
    """Every sampler, with the settings that suit a water molecule."""
    return {
        "torch": Langevin(timestep=0.0005, friction=50.0, stride=10, burn_in=500),
        "openmm": OpenMMLangevin(timestep_ps=0.0005, friction_per_ps=50.0, stride=10, burn_in=500, seed=0),
    }[request.param]


def test_flexible_water_has_half_a_kt_for_each_of_its_three_springs(sampler, water):
    """Two bonds and one angle, all harmonic and stiff: ⟨u⟩ = 3/2 kT; the bond length varies by kT / k."""
    batch = sampler.run(water, water.start(4), 1000)
    blocks = batch.u.view(4, 10, 100).mean(-1).flatten()
    assert batch.u.mean().item() == pytest.approx(1.5, abs=5 * blocks.std().item() / len(blocks) ** 0.5)
    assert blocks.std().item() / len(blocks) ** 0.5 < 0.06


def test_frames_come_replica_after_replica_with_their_energies(sampler, water):
    start = torch.cat([water.start(1), water.start(1) + 1.0])  # the second replica far away
    before = int(water.evaluations)
    batch = sampler.run(water, start, 5)
    assert batch.x.shape == (10, 9) and batch.u.shape == batch.w.shape == (10,)
    assert batch.x[:5].mean() < 0.5 < batch.x[5:].mean()
    assert int(water.evaluations) - before >= 2 * (500 + 5 * 10)
    assert torch.allclose(water(batch.x), batch.u, atol=1e-3)


def test_the_seed_decides_the_trajectory(water):
    def run(seed):
        return OpenMMLangevin(0.0005, 5.0, 10, 0, seed).run(water, water.start(3), 4).x

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    assert not torch.equal(run(1)[:4], run(1)[4:8])  # replicas have noise of their own


def test_langevin_samples_harmonic_wells_exactly():
    """BAOAB is exact in the positions of harmonic wells for any stable step."""
    system = Harmonic([0.5, 1.0, 2.0])
    batch = Langevin(timestep=0.3, friction=1.0, stride=20, burn_in=200).run(system, system.sample(500), 40)
    variance = batch.x.var(0)
    assert (variance / torch.tensor([0.25, 1.0, 4.0])).tolist() == pytest.approx([1.0] * 3, rel=0.06)
    assert batch.x.mean(0).abs().max() < 0.1


def test_langevin_obeys_a_bias():
    system = Harmonic([1.0])
    batch = Langevin(0.2, 1.0, 20, 200).run(system, system.sample(500), 40, bias=lambda x: 1.5 * x[..., 0] ** 2)
    assert batch.x.var().item() == pytest.approx(0.25, rel=0.06)


def test_openmm_refuses_what_it_cannot_do(water):
    sampler = OpenMMLangevin(0.0005, 5.0, 10, 0, 0)
    with pytest.raises(InputError, match="simulates molecules"):
        sampler.run(Harmonic([1.0]), torch.zeros(1, 1), 1)
    with pytest.raises(InputError, match="without a bias"):
        sampler.run(water, water.start(1), 1, bias=lambda x: x.sum(-1))


def test_a_simulation_that_blows_up_says_what_to_change(water):
    with pytest.raises(InputError, match="replica 0 blew up .* shorten sampler.timestep_ps = 0.5"):
        OpenMMLangevin(0.5, 1.0, 100, 0, 0).run(water, water.start(1), 20)


@pytest.mark.parametrize("wrong", [{"timestep": 0.0}, {"friction": -1.0}, {"stride": 0}, {"burn_in": -1}])
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match=f"sampler.{next(iter(wrong))}"):
        Langevin(**{"timestep": 0.1, "friction": 1.0, "stride": 1, "burn_in": 0} | wrong)
