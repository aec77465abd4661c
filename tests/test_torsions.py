"""Torsions of a molecule as its collective variables: their names, and a Z-matrix in which they are coordinates."""

import math
from functools import partial
from pathlib import Path

import mdtraj
import pytest
import torch

from predcg.batch import Batch
from predcg.config import compose
from predcg.densities import Completing, Flow, Observed, sample_with_log_prob
from predcg.errors import InputError
from predcg.files import read_json
from predcg.objectives import ConditionalKL
from predcg.observables import Dihedrals, Distances
from predcg.observables.observable import apart
from predcg.parts import build
from predcg.run import load, run
from predcg.systems import Peptide
from predcg.systems.chirality import census
from predcg.transforms import Harmonics, InternalCoordinates, RigidFrame

FIELD = ["amber14/protein.ff14SB.xml"]
# About bonds of the backbone, of side chains and of methyl groups; some from atoms that the tree would not choose, and
# in either order.
CHOSEN = {
    "ACE-A-NME": (["phi", "psi"], [[7, 6, 8, 9], [15, 14, 8, 10]], [[0, 1, 4, 5], [12, 10, 8, 14], "psi"]),
    "ACE-AAAAA-NME": (["psi:3", "phi:5", "phi", "psi:6", "phi:3"], ["phi:4", "psi:2"]),
    "ACE-S-NME": (["phi", "psi", "chi1"], [[14, 13, 10, 11], [11, 10, 8, 9]], ["chi1:2"]),
    "ACE-V-NME": (["phi", "psi"], ["chi1", [9, 8, 6, 7]], [[16, 10, 8, 20], [13, 12, 10, 11]]),
}
CASES = [(sequence, at) for sequence, chosen in CHOSEN.items() for at in range(len(chosen))]


@pytest.fixture(scope="module")
def made():
    return {sequence: Peptide(sequence, FIELD, 300.0) for sequence in CHOSEN}


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, made):
    """A peptide, four atoms of each torsion, its Z-matrix with these, and coordinates in it."""
    sequence, at = request.param
    peptide = made[sequence]
    torsions = peptide.torsion_atoms(CHOSEN[sequence][at])
    zmatrix = peptide.zmatrix_of(torsions)
    return peptide, torsions, zmatrix, InternalCoordinates(peptide.frame_atoms, zmatrix)


def scattered(internal: InternalCoordinates, n: int, size: int) -> torch.Tensor:
    """Any torsions, other coordinates near their centres."""
    y = 0.3 * torch.randn(n, size - 6, dtype=torch.float64)
    y[:, : internal.periodic] = math.pi * (2 * torch.rand(n, internal.periodic, dtype=torch.float64) - 1)
    return y


def test_given_torsions_are_coordinates(case):
    peptide, torsions, zmatrix, internal = case
    y = scattered(internal, 50, peptide.size)
    x = internal.inv(y)
    assert torch.allclose(internal(x), y, atol=1e-9)
    assert apart(Dihedrals(torsions)(x), y[:, zmatrix["given"]], 2 * math.pi).abs().max() < 1e-9
    frames = mdtraj.Trajectory(x.view(50, -1, 3).numpy(), peptide.topology)
    theirs = torch.from_numpy(mdtraj.compute_dihedrals(frames, torsions)).double()
    assert apart(theirs, y[:, zmatrix["given"]], 2 * math.pi).abs().max() < 1e-4
    assert census(peptide, x).all()  # the handedness of every centre, whatever the torsions


def test_there_and_back_from_the_peptide(case):
    peptide, _, _, internal = case
    x = peptide.models.double() + 0.005 * torch.randn(20, peptide.size, dtype=torch.float64)
    back, rigid = internal.inv(internal(x)), RigidFrame(peptide.frame_atoms)
    assert internal.call_and_ladj(x)[1].isfinite().all() and (rigid(back) - rigid(x)).abs().max() < 1e-8


def test_the_volume_element_agrees_with_autograd(case):
    peptide, _, _, internal = case
    rigid, y = RigidFrame(peptide.frame_atoms), scattered(internal, 1, peptide.size)[0]
    expected = torch.linalg.slogdet(torch.autograd.functional.jacobian(lambda y: rigid(internal.inv(y)), y)).logabsdet
    x, log_det = internal.back_and_ladj(y)
    assert (log_det - (expected - rigid.log_abs_det_jacobian(x, rigid(x)))).abs() < 1e-8


def test_a_zmatrix_keeps_its_rows_and_folds_but_for_the_given(case):
    peptide, torsions, zmatrix, internal = case
    assert len(zmatrix["given"]) == len(torsions) == len(set(zmatrix["given"]))
    assert len(zmatrix["folds"]) == internal.periodic - len(torsions)
    rows = [row for row, bounds in zip(zmatrix["atoms"], zmatrix["ranges"], strict=True) if bounds is None]
    for place, torsion in zip(zmatrix["given"], torsions, strict=True):
        assert rows[place] in (torsion, torsion[::-1])
    # About every bond there is one periodic torsion, as without any given.
    plain = peptide.zmatrix
    before = [row for row, bounds in zip(plain["atoms"], plain["ranges"], strict=True) if bounds is None]
    assert sorted(sorted(row[1:3]) for row in rows) == sorted(sorted(row[1:3]) for row in before)
    assert plain["given"] == [] and len(plain["folds"]) == len(before)
    methyls = sum(fold == 3 for fold in plain["folds"])
    turned = sum(peptide.topology.atom(torsion[side]).element.symbol == "H" for torsion in torsions for side in (0, 3))
    assert methyls - turned <= sum(fold == 3 for fold in zmatrix["folds"]) <= methyls


@pytest.mark.parametrize("sequence", ["ACE-DGST-NME", "ACE-PHR-NME"])
def test_what_turns_does_not_depend_on_the_force_field(sequence):
    """Of every residue φ does: the terms of ff14SB about it add up to more than those of an aromatic bond."""
    rows = []
    for field in (["amber96.xml"], FIELD):
        zmatrix = Peptide(sequence, field, 300.0).zmatrix
        rows.append([row for row, bounds in zip(zmatrix["atoms"], zmatrix["ranges"], strict=True) if bounds is None])
    assert rows[0] == rows[1]


def test_each_torsion_turns_what_it_should(made):
    """A step in χ1 of valine moves the side chain beyond Cβ, both methyls and HB, and nothing else."""
    peptide = made["ACE-V-NME"]
    zmatrix = peptide.zmatrix_of(peptide.torsion_atoms(["chi1"]))
    internal = InternalCoordinates(peptide.frame_atoms, zmatrix)
    y = internal(peptide.models[0].double())
    turned = y.clone()
    turned[zmatrix["given"]] += 0.5
    moved = (internal.inv(turned) - internal.inv(y)).view(-1, 3).norm(dim=-1) > 1e-6
    names = {peptide.topology.atom(i).name for i in moved.nonzero().flatten().tolist()}
    assert names == {"HB", "CG1", "CG2", *(f"HG{i}{j}" for i in (1, 2) for j in (1, 2, 3))}
    pairs = Distances([[10, 12], [10, 16], [12, 16]])
    assert torch.allclose(pairs(internal.inv(turned)), pairs(internal.inv(y)), atol=1e-12)


def test_names_are_those_of_mdtraj(made):
    peptide = made["ACE-AAAAA-NME"]
    for name in ("phi", "psi"):
        theirs = getattr(mdtraj, f"compute_{name}")(mdtraj.Trajectory(peptide.models.view(1, -1, 3), peptide.topology))
        assert peptide.torsion_atoms([f"{name}:{i}" for i in range(2, 7)]) == theirs[0].tolist()
    assert peptide.torsion_atoms() == peptide.torsion_atoms(["phi:2", "psi:2"]) == peptide.phi_psi
    other = Peptide("ACE-AAAAA-NME", FIELD, 300.0, residue=4)
    assert other.torsion_atoms(["psi"]) == other.torsion_atoms(["psi:4"]) != peptide.torsion_atoms(["psi"])


REFUSED = {
    "name": (["phy"], "expected names of phi, psi, .*; found 'phy'"),
    "residue": (["phi:9"], "which has phi:2; found phi of residue 9"),
    "not of it": (["chi1"], "no chi1 at all; found chi1 of residue 2"),
    "far": ([[4, 6, 8, 16]], r"each bonded to the next; found \[4, 6, 8, 16\], of which ALA2-CA and NME3-N"),
    "back": ([[4, 6, 8, 6]], "four different atoms of 0 to 21"),
    "three": ([[4, 6, 8]], r"four different atoms of 0 to 21; found \[4, 6, 8\]"),
    "none": ([[4, 6, 8, 99]], "four different atoms of 0 to 21"),
    "bond": (["phi", [7, 6, 8, 10]], r"found phi and \[7, 6, 8, 10\], both about ALA2-N to ALA2-CA; leave one out"),
    "twice": (["psi", "psi"], "found psi and psi"),
    "nothing": ([], "expected one torsion or more; found none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_torsions_that_cannot_be_are_refused_in_one_line(name, made):
    wanted, told = REFUSED[name]
    with pytest.raises(InputError, match=f"^z_torsions: .*{told}") as reason:
        made["ACE-A-NME"].torsion_atoms(wanted)
    assert "\n" not in str(reason.value)


@pytest.mark.parametrize(
    ("sequence", "wanted", "why"),
    [
        ("ACE-AA-NME", "omega", "keeps the isomer of the first model, as those of amides do"),
        ("ACE-P-NME", "chi1", "is in a ring"),
        ("ACE-P-NME", "phi", "is in a ring"),
        ("ACE-F-NME", [22, 13, 14, 16], "is in a ring"),
    ],
)
def test_torsions_that_do_not_turn_are_refused(sequence, wanted, why):
    peptide = Peptide(sequence, FIELD, 300.0)
    with pytest.raises(InputError, match=f"^z_torsions: expected torsions that turn freely; .* {why}; choose another"):
        peptide.zmatrix_of(peptide.torsion_atoms([wanted]))


MOLECULE = ["experiment=ala2/forward_kl", "encoder=torsions", "decoder=completion", "figures=[]"]
BOX = ["latent=free_energy", "latent.low=[-3.14159265,-3.14159265]", "latent.high=[3.14159265,3.14159265]"]


def shipped(*overrides: str):
    return build(compose([*MOLECULE, *overrides]))


@pytest.mark.parametrize(
    ("system", "torsions"),
    [("sequence=ACE-A-NME", "null"), ("sequence=ACE-S-NME", "[phi,chi1]"), ("sequence=ACE-V-NME", "[psi,[12,10,8,6]]")],
)
def test_the_shipped_decoder_makes_configurations_with_these_torsions(system, torsions):
    parts = shipped("system=peptide", f"system.{system}", f"z_torsions={torsions}", "z=2")
    model, z = parts.model, 12 * torch.rand(40, 2) - 6  # some turns away, too
    x, log_q = sample_with_log_prob(model.decoder(z))
    assert apart(model.cv(x), z, 2 * math.pi).abs().max() < 1e-4
    assert (model.encoder(x).log_prob(z) == 0).all() and (model.encoder(x).log_prob(z + 0.01) == -math.inf).all()
    assert torch.allclose(model.decoder(z).log_prob(x), log_q, atol=0.05)
    assert model.decoder.rest.folds.shape == (sum(fold > 0 for fold in model.decoder.rest.folds),)


def test_torsions_are_equal_up_to_whole_turns(ala2):
    encoder, x = Observed(Dihedrals(ala2.phi_psi)), ala2.start(1)
    z = encoder.location(x)
    for turns in (-1, 0, 2):
        assert encoder(x).log_prob(z + 2 * math.pi * turns).tolist() == [0.0]
    assert encoder(x).log_prob(z + math.pi).tolist() == [-math.inf]
    assert Observed(Distances([[0, 1]]))(x).log_prob(Distances([[0, 1]])(x) + 2 * math.pi).tolist() == [-math.inf]


def test_the_conditional_objective_takes_torsions_in_a_whole_circle():
    z = torch.tensor([[3.14159, -3.14159], [0.3, 2.0]])
    parts = shipped("z=2", *BOX, "latent.periodic=[true,true]", "latent.intervals=[8,8]", "latent.members=2")
    ConditionalKL().eval()(parts.model, parts.system, Batch(parts.system.start(2), z=z))
    for wrong in (["latent.periodic=[true,false]"], ["latent.periodic=[true,true]", "latent.high=[3.1416,3.0]"]):
        other = shipped("z=2", *BOX, "latent.intervals=[8,8]", "latent.members=2", *wrong)
        with pytest.raises(InputError, match="^latent.low, high, periodic: expected a whole circle for each torsion"):
            ConditionalKL().eval()(other.model, other.system, Batch(other.system.start(2), z=z))


ONE_LINE = {
    "z=1": "z: expected 2, one for each of z_torsions; found 1; set z=2",
    "z=3 z_torsions=[phi]": "z: expected 1, one for each of z_torsions; found 3; set z=1",
    "z=2 z_torsions=[phi,chi7]": "z_torsions: expected names of .*; found 'chi7'",
    "z=2 z_torsions=[phi,1.5]": "z_torsions: expected a list of .*; found",
    "z=2 decoder=internal_flow z_torsions=[phi,psi] encoder=internal": "z_torsions: expected an encoder that takes",
    "z=2 encoder=internal": "encoder: expected encoder=torsions decoder=completion together",
    "z=2 experiment=double_well/forward_kl": "encoder: expected a system with torsions, .*; found system DoubleWell; .*"
    "encoder=observed decoder=linear_completion",
    "z=2 encoder=gaussian experiment=double_well/forward_kl": "decoder: expected a system with torsions",
}


@pytest.mark.parametrize("overrides", ONE_LINE)
def test_what_does_not_go_together_is_refused_in_one_line(overrides):
    with pytest.raises(InputError, match=f"^{ONE_LINE[overrides]}") as told:
        build(compose([*MOLECULE, *overrides.split()]))
    assert "\n" not in str(told.value)


def test_all_torsions_alike_stay_so_beside_torsions_as_variables():
    """decoder=internal_flow has φ and ψ among its own coordinates, whatever the encoder is."""
    parts = build(compose(["experiment=ala2/forward_kl", "decoder=internal_flow", "encoder=torsions", "z=2"]))
    assert parts.model.decoder.folds.tolist() == parts.system.zmatrix["folds"]


def test_a_completing_flow_of_what_is_left_knows_every_branch(made):
    """Given torsions are not folded, and the density of each of the branches of the others is the same."""
    peptide = made["ACE-A-NME"]
    zmatrix = peptide.zmatrix_of(peptide.torsion_atoms([[0, 1, 4, 5], "psi"]))
    rest = partial(Flow, folds=zmatrix["folds"], bins=4, rounds=1, couplings=1, hidden=[8], features=Harmonics())
    internal = InternalCoordinates(peptide.frame_atoms, zmatrix)
    decoder = Completing(2, peptide.size, rest, internal, zmatrix["given"]).double()
    z = torch.tensor([[0.3, -2.0]], dtype=torch.float64)
    y = internal(decoder(z).sample())
    methyl = [at for at in range(internal.periodic) if at not in zmatrix["given"]][zmatrix["folds"].index(3)]
    turned = y.clone()
    turned[:, methyl] += 2 * math.pi / 3
    one, other = (decoder.rest(z).log_prob(where[:, decoder.open]) for where in (y, turned))
    assert (one - other).abs() < 1.0 and not torch.allclose(internal.inv(y), internal.inv(turned))


FREE_ENERGY = [
    *BOX,
    "experiment=ala2/forward_kl",
    "encoder=torsions",
    "decoder=completion",
    "z=2",
    "latent.periodic=[true,true]",
    "latent.intervals=[6,6]",
    "latent.members=3",
    "objective=conditional",
    "objective.terms.decoder.every=2",
    "objective.terms.free_energy.steps=4",
    "acquisition=grid",
    "acquisition.queries=64",
    "checkpoint=last",
    "steps=8",
    "epoch_steps=8",
    "batch_size=16",
    "figures=[]",
    "logger=none",
    "folder=made",
]


@pytest.mark.parametrize(
    ("sequence", "torsions", "wanted"),
    [
        ("ACE-S-NME", ["z_torsions=[[7,6,8,15],chi1:2]"], [[7, 6, 8, 15], "chi1"]),
        pytest.param("ACE-V-NME", [], ["phi", "psi"], marks=pytest.mark.slow),
    ],
)
def test_a_free_energy_of_torsions_of_a_second_molecule(sequence, torsions, wanted, made, tmp_path, monkeypatch):
    """From its PDB file to the end of a run, which is loaded and called again."""
    monkeypatch.chdir(tmp_path)
    peptide = made[sequence]
    mdtraj.Trajectory(peptide.models.view(1, -1, 3).numpy(), peptide.topology).save_pdb("mine.pdb")
    molecule = ["system=molecule", "system.pdb=mine.pdb", "system.forcefield=amber14/protein.ff14SB.xml"]
    run(compose([*FREE_ENERGY, *molecule, *torsions]))
    found, z = load("made"), 6 * torch.rand(20, 2) - 3
    observed = Dihedrals(peptide.torsion_atoms(wanted))(found.model.decoder(z).sample())
    assert apart(observed, z, 2 * math.pi).abs().max() < 1e-4
    assert found.model.latent.potential(z).isfinite().all()
    assert read_json(Path("made/summary.json"))["energy_evaluations"] >= 4 * 16
    run(compose([*FREE_ENERGY, *molecule, *torsions]))  # It has finished already.
    with pytest.raises(InputError, match="holds a run of another configuration"):
        run(compose([*FREE_ENERGY, *molecule, "z_torsions=[psi,phi]"]))
