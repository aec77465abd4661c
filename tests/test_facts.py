"""Facts of a system in a configuration: named anywhere, filled in from the system, refused in one line where there is
none.
"""

import mdtraj
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from predcg.config import compose
from predcg.errors import InputError
from predcg.facts import fill
from predcg.parts import build
from predcg.systems import DoubleWell, Molecule

MOLECULE = ["experiment=ala2/forward_kl", "figures=[]"]
# Two torsions of the molecule, by the name of their atoms, as the collective variables.
TORSIONS = [
    *MOLECULE,
    "encoder=observed",
    "encoder.observable._target_=predcg.observables.Dihedrals",
    "~encoder.observable.weights",
    "+encoder.observable.indices=${fact:phi_psi}",
]


def test_collective_variables_of_named_atoms():
    cfg = compose(TORSIONS)
    parts = build(cfg)
    x = parts.system.start(2)
    frames = mdtraj.Trajectory(x.view(2, -1, 3).numpy(), parts.system.topology)
    expected = [mdtraj.compute_phi(frames)[1][:, 0], mdtraj.compute_psi(frames)[1][:, 0]]
    assert torch.allclose(parts.model.cv(x), torch.from_numpy(np.stack(expected, 1)), atol=1e-5)
    # What is kept of the run is what it was made of, and made again it is the same.
    again = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert again.encoder.observable.indices == [[4, 6, 8, 14], [6, 8, 14, 16]]
    assert torch.equal(build(again).model.cv(x), parts.model.cv(x))


def test_torsions_become_their_atoms():
    cfg = compose([*MOLECULE, "encoder=torsions", "decoder=completion", "z_torsions=[psi,phi:2]", "z=2"])
    assert cfg.z_torsions == ["psi", "phi:2"] and cfg.zmatrix is None
    parts = build(cfg)
    assert cfg.z_torsions == cfg.encoder.observable.indices == parts.system.phi_psi[::-1]
    assert cfg.decoder.kept == cfg.zmatrix.given == [1, 0] and cfg.decoder.rest.folds == [3, 3, 3]
    again = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    x = parts.system.start(2)
    assert torch.equal(build(again).model.cv(x), parts.model.cv(x)) and again == OmegaConf.create(
        OmegaConf.to_container(cfg, resolve=True)
    )


def test_every_fact_of_every_system_can_be_named(system):
    named = OmegaConf.create({f"key_{name}": f"${{fact:{name}}}" for name in system.facts})
    roles = {role: {} for role in ("latent", "decoder", "encoder")} | {"frame": None, "zmatrix": None}
    cfg = OmegaConf.merge(named, roles)
    fill(cfg, system)
    for name in system.facts:
        value = getattr(system, name)
        plain = value.tolist() if isinstance(value, torch.Tensor) else value
        found = cfg[f"key_{name}"]
        assert (OmegaConf.to_container(found) if OmegaConf.is_config(found) else found) == plain
    assert cfg.frame is None and cfg.zmatrix is None  # which no role refers to


def test_facts_of_a_molecule(ala2):
    """By the names in its topology."""
    atoms = list(ala2.topology.atoms)
    assert [str(atoms[i]) for i in ala2.alpha_carbons] == ["ALA2-CA"]
    assert len(ala2.heavy_atoms) == 10 and all(atoms[i].element.mass > 2 for i in ala2.heavy_atoms)
    assert ala2.atom_masses.tolist() == pytest.approx([atom.element.mass for atom in atoms], rel=1e-3)
    assert torch.equal(ala2.reference, ala2.start(1)[0])
    assert set(ala2.facts) > set(DoubleWell.facts)


def test_a_key_of_a_fact():
    cfg = compose(["experiment=ala2/latent", "decoder.folds=${fact:zmatrix.folds}"])
    folds = build(cfg).system.zmatrix["folds"]
    assert cfg.decoder.folds == folds == cfg.zmatrix.folds


REFUSED = {
    "encoder.features.transforms.0.atoms=${fact:frame}": "encoder.features.transforms.0..atoms: expected one of"
    " alpha_carbons, .*; found 'frame'; .*the facts of Molecule",
    "encoder.hidden=${fact:phi_psi}": "encoder.hidden: expected a list of .a whole number >= 1.; found",
    "encoder.context=${fact:zmatrix.fold}": "encoder.context: expected one of the keys of zmatrix, .*; found 'fold'",
    "encoder.context=a${fact:size}": "encoder.context: expected .*<name>. alone, .*; found",
    "system.temperature_kelvin=${fact:size}": "system: .* outside of system, a fact of the system",
    "encoder.hidden=${fat:size}": "encoder: .*found ..fat:",
    "encoder.context=${fact:models}": "encoder.context: expected one of .*; found 'models'",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_is_no_fact_is_refused_in_one_line(override):
    with pytest.raises(InputError, match=REFUSED[override]) as refused:
        build(compose([*MOLECULE, "encoder=molecule", override]))
    assert "\n" not in str(refused.value)


def test_a_fact_that_this_system_lacks():
    with pytest.raises(InputError, match="found 'phi_psi'; these are the facts of DoubleWell"):
        build(compose(["experiment=double_well/forward_kl", "encoder.hidden=${fact:phi_psi}"]))
    water = Molecule.__new__(Molecule)
    torch.nn.Module.__init__(water)
    water.backbone = None
    cfg = OmegaConf.create({"encoder": {"indices": "${fact:phi_psi}"}, "latent": {}, "decoder": {}})
    with pytest.raises(InputError, match="encoder.indices: expected a system that has phi_psi; this Molecule has none"):
        fill(cfg, water)
