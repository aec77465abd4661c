"""Bond lengths of frames against the force field's: hot and crystal-like ones pass, torn ones are made whole, the rest
is refused with a guess.
"""

import copy
import logging
from importlib.util import find_spec

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from predcg.acquisitions import Load
from predcg.batch import Batch
from predcg.errors import InputError
from predcg.systems import Molecule, Peptide
from predcg.systems.bonds import check_bonds, lengths
from predcg.systems.particles import bonds
from predcg.systems.trajectory import read_frames

FIELDS = [
    ["amber96.xml", "amber96_obc.xml"],
    ["amber14/protein.ff14SB.xml", "implicit/gbn2.xml"],
    ["amber99sbildn.xml", "amber99_obc.xml"],
]


def dynamics(molecule, kelvin, frames=20):
    """Frames of OpenMM's own Langevin dynamics, (frames, D), started after heating."""
    integrator = openmm.LangevinMiddleIntegrator(kelvin, 10.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(
        molecule.openmm_system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"}
    )
    context.setPositions(molecule.models[0].view(-1, 3).double().numpy())
    found = []
    for _ in range(frames):
        integrator.step(100)
        found.append(
            context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer).flatten()
        )
    return np.array(found, dtype=np.float32)


@pytest.mark.parametrize("kelvin", [300.0, 600.0, 1000.0])
def test_hot_frames_are_accepted(ala2, kelvin):
    x = dynamics(ala2, kelvin)
    check_bonds(ala2, x, "them", "frames")
    pairs, rest, far = lengths(ala2)
    r = x.reshape(len(x), -1, 3)
    off = np.abs(np.linalg.norm(r[:, pairs[:, 0]] - r[:, pairs[:, 1]], axis=-1) - rest) / far
    assert 0.05 < off.max() < 0.8  # far within, and the threshold is no formality


@pytest.mark.parametrize("files", FIELDS[1:])
def test_hot_frames_of_any_force_field_are_accepted(files):
    molecule = Peptide("ACE-AMK-NME", files, 300.0)
    check_bonds(molecule, dynamics(molecule, 700.0), "them", "frames")


def test_structures_of_crystals_are_accepted(ala2):
    """Heavy atoms 0.01 nm off in each coordinate, and bonds to hydrogen at 0.085 nm, where X-rays see the electrons."""
    r = ala2.models.view(-1, 22, 3).repeat(100, 1, 1)
    r += 0.01 * torch.randn_like(r)
    for one, other in ala2.topology.bonds:
        hydrogen, heavy = (one, other) if one.element.symbol == "H" else (other, one)
        if hydrogen.element.symbol == "H":
            bond = r[:, hydrogen.index] - r[:, heavy.index]
            r[:, hydrogen.index] = r[:, heavy.index] + 0.085 * bond / bond.norm(dim=-1, keepdim=True)
    check_bonds(ala2, r.flatten(1).numpy(), "them", "frames")


@pytest.fixture
def frames(ala2):
    return torch.from_numpy(dynamics(ala2, 330.0, 6))


def test_frames_torn_by_a_box_are_made_whole(frames, ala2, tmp_path, caplog):
    caplog.set_level(logging.INFO, "predcg")
    edge = 2.0
    r = frames.view(-1, 22, 3) - frames.view(-1, 22, 3).mean(1, keepdim=True)
    torn = r.clone()
    torn[2:] = (r[2:] + torch.tensor([0.05, 0.0, 0.0])) % edge  # its middle is on a corner of the box
    trajectory = mdtraj.Trajectory(
        torn.numpy(), ala2.topology, unitcell_lengths=np.full((6, 3), edge), unitcell_angles=np.full((6, 3), 90.0)
    )
    trajectory.save(str(tmp_path / "a.dcd"))
    x = read_frames(str(tmp_path / "a.dcd"), ala2).x
    assert torch.allclose(torch.cdist(x.view(-1, 22, 3), x.view(-1, 22, 3)), torch.cdist(r, r), atol=1e-3)
    assert "the periodic box had torn the molecule in 4 of 6 frames" in caplog.text
    # Not touched.
    assert torch.equal(
        x[:2], torch.from_numpy(mdtraj.load(str(tmp_path / "a.dcd"), top=ala2.topology).xyz[:2].reshape(2, -1))
    )
    trajectory.unitcell_vectors = None
    trajectory.save(str(tmp_path / "boxless.dcd"))
    with pytest.raises(
        InputError,
        match=(
            r"in frame 2 of .*boxless.dcd' \w+-\w+ to \w+-\w+ has .* nm where .* nm belong \(4 of 6 frames\); is it"
            r" torn by a periodic box"
        ),
    ):
        read_frames(str(tmp_path / "boxless.dcd"), ala2)


@pytest.mark.parametrize("angles", [[90.0, 90.0, 90.0], [70.0, 65.0, 60.0]])
def test_molecules_in_different_images_are_put_together(angles, ala2, tmp_path, monkeypatch, caplog):
    """Energies are those before the box; and a torn molecule among several is made whole first."""
    caplog.set_level(logging.INFO, "predcg")
    monkeypatch.chdir(tmp_path)
    r = ala2.models[0].view(-1, 3)
    two = app.Modeller(ala2.topology.to_openmm(), r.numpy() * unit.nanometer)  # as large as each other: the first stays
    two.add(ala2.topology.to_openmm(), (r + torch.tensor([0.3, 0.9, 0.2])).numpy() * unit.nanometer)
    with open("two.pdb", "w") as file:
        app.PDBFile.writeFile(two.topology, two.positions, file)
    system = Molecule("two.pdb", ["amber96.xml"], 300.0)
    x = system.models[:1].repeat(5, 1) + 0.001 * torch.randn(5, 132)
    frames = mdtraj.Trajectory(
        x.view(5, -1, 3).numpy().copy(),
        system.topology,
        unitcell_lengths=np.full((5, 3), 3.0),
        unitcell_angles=np.full((5, 3), angles),
    )
    frames.xyz[1:, 22:] += (
        np.array([[1, 0, 0], [0, -1, 2], [-1, 1, 1], [3, 2, -1]])[:, None] @ frames.unitcell_vectors[1:]
    )
    frames.xyz[2, 30:] += frames.unitcell_vectors[2, 0]
    frames.save("parted.dcd")
    read = read_frames("parted.dcd", system).x
    assert torch.allclose(system(read), system(x), rtol=1e-3) and torch.allclose(
        torch.pdist(read.view(5, 44, 3)[2]), torch.pdist(x.view(5, 44, 3)[2]), atol=1e-4
    )
    assert (
        "torn the molecule in 1 of 5 frames" in caplog.text
        and "images: the periodic box had parted molecules in 4 of 5 frames" in caplog.text
    )
    frames.unitcell_lengths = np.full((5, 3), 0.1)  # no box
    frames[:2].save("dummy.dcd")
    assert torch.allclose(read_frames("dummy.dcd", system).x, torch.from_numpy(frames.xyz[:2].reshape(2, -1)))


@pytest.mark.parametrize(
    ("scale", "unit_said", "guess"),
    [
        (1.0, "angstrom", "10 times too small: is the unit nanometer"),
        (10.0, "nanometer", "too large: is the unit angstrom"),
    ],
)
def test_the_wrong_unit_is_guessed(scale, unit_said, guess, frames, ala2, tmp_path):
    np.save(tmp_path / "a.npy", scale * frames.numpy())
    with pytest.raises(InputError, match=rf"acquisition.path: .* in frame 0 of .*\(6 of 6 frames\); .*{guess}"):
        read_frames(str(tmp_path / "a.npy"), ala2, unit_said)


def test_another_order_of_atoms_is_guessed(frames, ala2, tmp_path):
    order = torch.arange(22)
    order[[8, 9, 10, 11]] = order[[11, 8, 9, 10]]
    Batch(frames.view(-1, 22, 3)[:, order].flatten(1)).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="are they in another order than in the system"):
        read_frames(str(tmp_path / "a.npz"), ala2)
    Batch(torch.randn(4, 66)).save(tmp_path / "b.npz")
    with pytest.raises(InputError, match="check order of atoms, unit and periodic box"):
        read_frames(str(tmp_path / "b.npz"), ala2)


def test_springs_across_angles_and_torsions_are_no_bonds(ala2):
    """As CHARMM's terms of Urey and Bradley, and its 1-4 Lennard-Jones."""
    sprung = copy.deepcopy(ala2.openmm_system)
    springs, custom = openmm.HarmonicBondForce(), openmm.CustomBondForce("r")
    for force in sprung.getForces():
        if isinstance(force, openmm.HarmonicAngleForce):
            for one, _, other, *_ in map(force.getAngleParameters, range(force.getNumAngles())):
                springs.addBond(one, other, 0.22, 5000.0)
        if isinstance(force, openmm.PeriodicTorsionForce):
            for one, _, _, other, *_ in map(force.getTorsionParameters, range(force.getNumTorsions())):
                custom.addBond(one, other)
    sprung.addForce(springs)
    sprung.addForce(custom)
    assert bonds(sprung) == bonds(ala2.openmm_system)
    theirs = type("Sprung", (), {"openmm_system": sprung, "kt": ala2.kt, "topology": ala2.topology})
    assert springs.getNumBonds() > 30
    for found, known in zip(lengths(theirs), lengths(ala2), strict=True):
        np.testing.assert_array_equal(found, known)


def test_what_stands_beside_frames_is_read_whole_or_refused(frames, ala2, tmp_path):
    path = str(tmp_path / "a.npz")
    told = {"w": torch.rand(6), "u": torch.randn(6), "f": torch.randn(6, 66), "beta": torch.rand(6)}
    Batch(frames, **told).save(tmp_path / "a.npz")
    found = read_frames(path, ala2, stride=2).columns()
    assert found.keys() == {"x", *told}
    assert all(torch.equal(found[name], column[::2]) for name, column in ({"x": frames} | told).items())
    for wrong, text in (
        ({"u": torch.randn(5)}, "expected as many rows of 'u' as frames, 6; .* has shape \\(5,\\)"),
        ({"f": torch.full((6, 66), torch.nan)}, "'f' of .* has NaN or inf"),
        ({"w": torch.tensor([1.0, -1, 1, 1, 1, 1])}, "expected weights 'w' of at least 0, .* from -1 to 1"),
        ({"w": torch.zeros(6)}, "expected weights 'w' of at least 0, some above; .* from 0 to 0"),
    ):
        Batch(frames, **wrong).save(tmp_path / "a.npz")
        with pytest.raises(InputError, match=f"acquisition.path: {text}"):
            read_frames(path, ala2)


def test_several_trajectories_are_joined_and_cut_between_files_where_an_end_is_near(frames, ala2, tmp_path):
    paths = [str(tmp_path / f"{name}.npz") for name in "abc"]
    for path, part in zip(paths, frames.split(2), strict=True):
        Batch(part).save(path)
    data = Load(paths, test_fraction=0.4).acquire(None, ala2, None)
    # At the end of b, where one file alone would be cut at 4 of 6 too.
    assert torch.equal(data.train.x, frames[:4]) and torch.equal(data.test.x, frames[4:])
    data = Load(paths, test_fraction=0.5).acquire(None, ala2, None)
    assert len(data.test.x) in (2, 4)  # not 3, in the middle of b
    data = Load(paths, test_fraction=0.15).acquire(None, ala2, None)
    assert torch.equal(data.test.x, frames[5:])  # no end is near: within c
    np.save(tmp_path / "d.npy", frames.numpy())
    with pytest.raises(InputError, match="acquisition.unit: a bare array such as 'd.npy'"):
        Load([paths[0], str(tmp_path / "d.npy")]).acquire(None, ala2, None)


@pytest.mark.parametrize("suffix", ["gro", "rst7", "inpcrd", "cif", "mmcif", "h5", "nc", "trr"])
def test_formats_of_other_programs_are_read(suffix, frames, ala2, tmp_path):
    trajectory = mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology)
    path = tmp_path / f"a.{suffix}"
    if suffix == "h5" and find_spec("tables") is None:
        path.touch()
        with pytest.raises(
            InputError, match=r'.h5 files are read with PyTables, which is not installed; pip install -e ".\[h5\]"'
        ):
            read_frames(str(path), ala2)
        return
    several = suffix in ("gro", "h5", "nc", "trr")
    if suffix in ("cif", "mmcif"):
        with path.open("w") as file:
            app.PDBxFile.writeFile(ala2.topology.to_openmm(), frames[0].view(-1, 3).numpy() * unit.nanometer, file)
    elif suffix in ("rst7", "inpcrd"):
        trajectory[0].save_amberrst7(str(path))
    else:
        trajectory.save(str(path))
    x = read_frames(str(path), ala2).x
    assert torch.allclose(x, frames if several else frames[:1], atol=1e-3)


def test_other_files_are_refused_with_the_way_to_convert_them(ala2, tmp_path):
    for name, cure in (
        ("state.xml", "save the positions of an OpenMM State with app.PDBFile.writeFile"),
        ("a.tng", "convert it with mdconvert"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=f"acquisition.path: expected one of .*{cure}"):
            read_frames(str(tmp_path / name), ala2)
    lines = [f"ATOM  {i:5d}  C   ALA A   1    {i:8.3f}   0.000   0.000  1.00  0.00           C" for i in range(1, 4)]
    (tmp_path / "a.pdb").write_text(
        "\n".join(["MODEL        1", *lines, "ENDMDL", "MODEL        2", *lines[:2], "ENDMDL", "END", ""])
    )
    with pytest.raises(InputError, match="must contain the same number of ATOMs"):
        read_frames(str(tmp_path / "a.pdb"), ala2)


def test_missing_hydrogens_and_boxes_of_water_get_a_short_line_with_the_cure(ala2, tmp_path):
    heavy = mdtraj.Trajectory(ala2.models[:1].view(1, -1, 3).numpy(), ala2.topology)
    heavy.atom_slice(heavy.topology.select("element != H")).save(str(tmp_path / "heavy.pdb"))
    with pytest.raises(
        InputError, match="it has no hydrogens: add them with PDBFixer or OpenMM's app.Modeller.addHydrogens"
    ):
        Molecule(str(tmp_path / "heavy.pdb"), FIELDS[0], 300.0)
    waters, r = mdtraj.Topology(), []
    chain = waters.add_chain()
    for number in range(500):
        residue = waters.add_residue("HOH", chain)
        for atom, element, place in (("O", "O", 0.0), ("H1", "H", 0.1), ("H2", "H", -0.1)):
            waters.add_atom(atom, mdtraj.element.get_by_symbol(element), residue)
            r.append([place, 0.1 * (element == "H"), 0.3 * (number % 300)])
    mdtraj.Trajectory(np.array([r]), waters).save(str(tmp_path / "water.pdb"))
    with pytest.raises(InputError, match="and 497 more; take water and ions out") as refusal:
        Molecule(str(tmp_path / "water.pdb"), FIELDS[0], 300.0)
    assert len(str(refusal.value)) < 500
