"""Acquisitions: frames and their order, and files that are checked before anything is learnt from them."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

from predcg.acquisitions import Active, Exact, Grid, Load, NoData, Simulate
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.importance import Weighted
from predcg.samplers import Langevin, Sampler
from predcg.systems import DoubleWell, Harmonic, Molecule, Peptide, Regularised
from predcg.systems.chirality import census, centres


class Counter(Sampler):
    """Writes replica and time instead of coordinates."""

    def __init__(self):
        super().__init__(1.0, 1, 0, 0)

    def run(self, system, start, frames, bias=None, folder=None):
        return Batch.of(torch.cartesian_prod(torch.arange(len(start)), torch.arange(frames)).float())


def test_simulated_frames_are_split_in_blocks_of_every_trajectory():
    data = Simulate(frames=12, test_frames=24, replicas=2, blocks=3).acquire(None, Harmonic([1.0, 1.0]), Counter())
    assert data.train.x.shape == (12, 2) and data.test.x.shape == (24, 2)
    assert data.train.x[data.train.x[:, 0] == 1, 1].tolist() == [0, 6, 12, 1, 7, 13]
    together = torch.cat([data.train.x, data.test.x])
    assert len(together.unique(dim=0)) == 36


def test_smaller_training_sets_are_nested_and_keep_what_is_held_out():
    sizes = {
        n: Simulate(12, 24, replicas=2, blocks=3, first=n).acquire(None, Harmonic([1.0, 1.0]), Counter())
        for n in (4, 8, 12)
    }
    for n, data in sizes.items():
        assert torch.equal(data.train.x, sizes[12].train.x[:n]) and torch.equal(data.test.x, sizes[12].test.x)
    assert set(sizes[4].train.x[:, 0].tolist()) == {0, 1}
    with pytest.raises(InputError, match="acquisition.first: expected between 1 and frames = 12; found 13"):
        Simulate(12, 24, replicas=2, blocks=3, first=13)


def simulate(tmp_path, name, scales, **changes):
    """Acquire in a run folder of this name, with a sampler that counts its energies."""
    settings = {"timestep": 0.1, "friction": 1.0, "stride": 1, "burn_in": 3, "seed": 0} | changes
    system, folder = Harmonic(scales), tmp_path / name / "simulation"
    folder.parent.mkdir()
    torch.manual_seed(3)
    data = Simulate(4, 4, replicas=2, blocks=1, kept=str(tmp_path / "kept")).acquire(
        None, system, Langevin(**settings), folder=folder
    )
    return data, folder.resolve(), int(system.evaluations)


def test_a_simulation_is_made_once_and_shared(tmp_path, monkeypatch):
    first, kept, evaluations = simulate(tmp_path, "a", [1.0, 2.0])
    written = (kept / "frames.npz").stat().st_mtime_ns
    monkeypatch.setattr(Langevin, "advance", lambda *a: pytest.fail("simulated again"))
    second, same, counted = simulate(tmp_path, "b", [1.0, 2.0])
    assert same == kept and (kept / "frames.npz").stat().st_mtime_ns == written
    assert torch.equal(first.train.x, second.train.x) and torch.equal(first.test.x, second.test.x)
    assert counted == pytest.approx(evaluations, abs=2)  # but for the one of each start
    monkeypatch.undo()
    others = [
        simulate(tmp_path, "c", [1.0, 2.5])[1],
        simulate(tmp_path, "d", [1.0, 2.0], seed=1)[1],
        simulate(tmp_path, "e", [1.0, 2.0], stride=2)[1],
    ]
    assert len({kept, *others}) == 4


def test_of_two_runs_that_want_a_simulation_one_makes_it(tmp_path):
    """Both start at once, as a sweep on several cores does."""
    code = """
import sys
from pathlib import Path
import torch
from predcg.acquisitions import Simulate
from predcg.samplers import Langevin
from predcg.systems import Harmonic

class Slow(Langevin):
    def advance(self, *state):
        Path(f"advanced_{sys.argv[1]}").touch()
        super().advance(*state)

torch.manual_seed(0)
Path(sys.argv[1]).mkdir()
acquisition, slow = Simulate(200, 200, replicas=2, blocks=1, kept="kept"), Slow(0.1, 1.0, 5, 0, 0)
data = acquisition.acquire(None, Harmonic([1.0]), slow, folder=Path(sys.argv[1]) / "simulation")
print(data.train.x.double().sum().item())
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code, name], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    sums = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(sums) == 1
    assert len(list(tmp_path.glob("advanced_*"))) == 1 and len(list(tmp_path.glob("kept/*/frames.npz"))) == 1


def test_a_simulation_is_known_by_what_its_energy_depends_on(ala2):
    warmer = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 331.0)
    other_solvent = Molecule("ala2.pdb", ["amber96.xml", "implicit/hct.xml"], 330.0)
    unlabelled = Molecule("ala2.pdb", ["amber96.xml", "amber96_obc.xml"], 330.0)
    assert len({system.fingerprint() for system in (ala2, warmer, other_solvent, unlabelled)}) == 3
    assert Regularised(Harmonic([1.0]), 5.0).fingerprint() != Regularised(Harmonic([1.5]), 5.0).fingerprint()


def test_simulation_starts_from_every_basin(ala2):
    class Still(Counter):
        def run(self, system, start, frames, bias=None, folder=None):
            return Batch.of(start.repeat_interleave(frames, 0))

    data = Simulate(frames=3, test_frames=3, replicas=3, blocks=1).acquire(None, ala2, Still())
    assert set(ala2.label(data.train.x).tolist()) == {0, 1, 2}


def test_frames_fill_whole_blocks():
    with pytest.raises(InputError, match="multiple of replicas x blocks = 10; found 25"):
        Simulate(frames=25, test_frames=10, replicas=2, blocks=5)


def test_exact_draws_come_from_the_system():
    data = Exact(20_000, 10).acquire(None, Harmonic([3.0]), Counter())
    assert data.train.x.std().item() == pytest.approx(3, rel=0.05) and len(data.test.x) == 10


def test_molecules_have_no_exact_draws(ala2):
    with pytest.raises(InputError, match="no exact sampler"):
        Exact(1, 1).acquire(None, ala2, Counter())


def test_nothing_is_empty_but_shaped(ala2):
    assert NoData().acquire(None, ala2, Counter()).train.x.shape == (0, 66)


def load(path, system, **arguments):
    return Load(str(path), **arguments).acquire(None, system, Counter())


@pytest.fixture
def frames(ala2):
    return ala2.start(8) + 0.01 * torch.randn(8, 66)


@pytest.mark.parametrize("suffix", ["npy", "txt", "columns.txt", "npz", "dcd", "xtc", "pdb"])
def test_every_format_gives_the_same_frames_in_nm(suffix, frames, ala2, tmp_path):
    path, arguments = tmp_path / f"frames.{suffix}", {}
    if suffix in ("npy", "txt", "columns.txt"):
        arguments["unit"] = "angstrom"
        array = 10 * (frames.T if suffix == "columns.txt" else frames).numpy()
        np.save(path, array) if suffix == "npy" else np.savetxt(path, array)
    elif suffix == "npz":
        Batch.of(frames).save(path)
    else:
        mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology).save(str(path))
    data = load(path, ala2, **arguments)
    assert (len(data.train.x), len(data.test.x)) == (6, 2)
    assert torch.allclose(torch.cat([data.train.x, data.test.x]), frames, atol=6e-4)  # xtc keeps 0.001 nm


def test_what_the_program_wrote_comes_back_whole(frames, ala2, tmp_path):
    """Data of a run, weighted draws, and frames of a simulation: weights, energies, forces, β."""
    told = {"w": torch.rand(8), "u": torch.randn(8), "f": torch.randn(8, 66), "beta": torch.ones(8)}
    Data(Batch(frames, **told), Batch(frames[:3])).save(tmp_path)
    assert_parts(load(tmp_path / "train.npz", ala2), {"x": frames} | told)
    log_w = torch.randn(8)
    Weighted(frames, log_w).save(tmp_path, ala2)
    assert_parts(load(tmp_path / "draws.npz", ala2), {"x": frames, "w": 8 * log_w.softmax(0)})
    made = Langevin(0.001, 1.0, 1, 0, 0).run(ala2, ala2.start(2), 4, folder=tmp_path)
    assert {"u", "f"} <= made.columns().keys()
    assert_parts(load(tmp_path / "frames.npz", ala2), made.columns())


def assert_parts(data: Data, columns: dict[str, torch.Tensor]) -> None:
    """The first six and the last two rows of each."""
    for part, rows in zip(data, (slice(6), slice(6, 8)), strict=True):
        assert part.columns().keys() == columns.keys()
        for name, column in part.columns().items():
            assert torch.allclose(column, columns[name][rows], atol=1e-6), name


def test_other_temperatures_weigh_as_the_target_has_them(tmp_path):
    """N(0, 1/β) of N(0, 1): the mean of x² is 1 under the weights, and the sizes are Kish's."""
    n, betas = 40_000, (1.0, 0.5)
    beta = torch.tensor(betas).repeat_interleave(n)
    x = torch.randn(2 * n, 1) * beta[:, None] ** -0.5
    shuffled = torch.randperm(2 * n)
    for u in (x[:, 0].square() / 2, None):  # as simulated, or evaluated
        batch = Batch(x, u=u, beta=beta).frames(shuffled)
        batch.save(tmp_path / "a.npz")
        data = load(tmp_path / "a.npz", Harmonic([1.0]))
        frames = Batch.join(data)
        for at in betas:  # the last of each temperature are held out
            known, found = batch.x[batch.beta == at], [part.x[part.beta == at] for part in data]
            assert torch.equal(torch.cat(found), known) and len(found[1]) == n // 4
        for at, size in ((1.0, n), (0.5, n * 3**0.5 / 2)):  # (E w)² / E w² = √(β (2 - β))
            here = frames.frames(frames.beta == at)
            assert here.mean(here.x[:, 0].square()).item() == pytest.approx(1, abs=0.04)
            assert here.w.sum().item() == pytest.approx(size, rel=0.02) == here.effective_size
    replace(batch, w=torch.rand(2 * n)).save(tmp_path / "a.npz")  # weights that differ already stand
    train, _ = load(tmp_path / "a.npz", Harmonic([1.0]))
    known = Batch.load(tmp_path / "a.npz")
    assert torch.equal(train.w[train.beta == 1], known.w[known.beta == 1][: 3 * n // 4])


def test_files_weigh_as_much_as_their_effective_sizes(tmp_path):
    system, x = Harmonic([1.0]), torch.randn(6, 1)
    Batch(x[:2], torch.tensor([30.0, 10.0])).save(tmp_path / "a.npz")
    Batch(x[2:]).save(tmp_path / "b.npz")
    data = Load([str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]).acquire(None, system, Counter())
    assert torch.allclose(Batch.join(data).w, torch.tensor([1.2, 0.4, 1, 1, 1, 1]))  # 40² / (30² + 10²) = 1.6


def test_frames_that_weigh_nothing_are_no_data(tmp_path):
    Batch(torch.randn(4, 1), torch.tensor([1.0, 2.0, 3.0, 0.0])).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="acquisition.path: expected held-out frames of .* that weigh something"):
        load(tmp_path / "a.npz", Harmonic([1.0]))


def test_bare_arrays_need_a_unit_and_others_refuse_one(frames, ala2, tmp_path):
    np.save(tmp_path / "a.npy", frames.numpy())
    with pytest.raises(
        InputError, match=r"acquisition.unit: .*expected one of \['nanometer', 'angstrom'\], found None"
    ):
        load(tmp_path / "a.npy", ala2)
    Batch.of(frames).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="carry their own unit"):
        load(tmp_path / "a.npz", ala2, unit="angstrom")


def test_a_smaller_training_set_leaves_what_is_held_out(frames, ala2, tmp_path):
    Batch.of(frames).save(tmp_path / "a.npz")
    data = load(tmp_path / "a.npz", ala2, first=2)
    assert torch.equal(data.train.x, frames[:2]) and torch.equal(data.test.x, frames[6:])
    with pytest.raises(InputError, match="acquisition.first: expected between 1 and 6, .*; found 7"):
        load(tmp_path / "a.npz", ala2, first=7)


def test_another_number_of_atoms_is_refused(frames, ala2, tmp_path):
    Batch.of(frames[:, :63]).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="expected 22 atoms as in the system; .* has 21 atoms"):
        load(tmp_path / "a.npz", ala2)
    smaller = mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology).atom_slice(range(10))
    smaller.save(str(tmp_path / "a.pdb"))
    with pytest.raises(InputError, match="has 10 atoms"):
        load(tmp_path / "a.pdb", ala2)
    smaller.save(str(tmp_path / "a.dcd"))
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "a.dcd", ala2)


def test_the_first_frame_that_is_not_finite_is_named(frames, ala2, tmp_path):
    frames[5, 7] = torch.nan
    Batch.of(frames).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="frame 5 of .* NaN or inf"):
        load(tmp_path / "a.npz", ala2)


def test_files_that_are_missing_broken_or_ambiguous_are_refused(ala2, tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        load(tmp_path / "none.npz", ala2)
    (tmp_path / "broken.npz").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "broken.npz", ala2)
    np.savez(tmp_path / "foreign.npz", positions=np.zeros((3, 66)))
    with pytest.raises(InputError, match=r"expected an array named 'x' .* found \['positions'\]"):
        load(tmp_path / "foreign.npz", ala2)
    np.save(tmp_path / "square.npy", np.zeros((66, 66)))
    with pytest.raises(InputError, match="square"):
        load(tmp_path / "square.npy", ala2, unit="nanometer")
    Batch.of(ala2.start(1)).save(tmp_path / "one.npz")
    with pytest.raises(InputError, match="enough frames"):
        load(tmp_path / "one.npz", ala2)


@pytest.mark.parametrize("suffix", ["columns.txt", "npz", "dcd"])
def test_every_third_frame_is_read_of_any_format(suffix, frames, ala2, tmp_path):
    path, arguments = tmp_path / f"frames.{suffix}", {"stride": 3, "test_fraction": 0.4}
    if suffix == "columns.txt":
        np.savetxt(path, frames.T.numpy())
        arguments["unit"] = "nanometer"
    elif suffix == "npz":
        Batch.of(frames).save(path)
    else:
        mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology).save(str(path))
    data = load(path, ala2, **arguments)
    assert torch.allclose(torch.cat([data.train.x, data.test.x]), frames[[0, 3, 6]], atol=1e-6)
    assert len(data.train.x) == 2


def test_a_stride_counts_forwards_and_frames_are_named_as_in_the_file(frames, ala2, tmp_path):
    frames[6, 7] = torch.nan
    Batch.of(frames).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="acquisition.stride: expected at least 1; found 0"):
        load(tmp_path / "a.npz", ala2, stride=0)
    with pytest.raises(InputError, match="frame 6 of .* NaN or inf"):
        load(tmp_path / "a.npz", ala2, stride=3)


@pytest.fixture
def solvated(frames, ala2):
    """The frames behind two water molecules."""
    waters = mdtraj.Topology()
    chain = waters.add_chain()
    for _ in range(2):
        residue = waters.add_residue("HOH", chain)
        for name, element in (("O", "oxygen"), ("H1", "hydrogen"), ("H2", "hydrogen")):
            waters.add_atom(name, getattr(mdtraj.element, element), residue)
    xyz = torch.cat([torch.rand(8, 6, 3), frames.view(8, 22, 3)], 1)
    return mdtraj.Trajectory(xyz.numpy(), waters.join(ala2.topology))


@pytest.mark.parametrize("suffix", ["dcd", "pdb"])
def test_a_selection_finds_the_molecule_in_a_larger_system(suffix, solvated, frames, ala2, tmp_path):
    path, top = tmp_path / f"solvated.{suffix}", tmp_path / "solvated.pdb"
    solvated.save(str(path))
    if suffix == "dcd":
        solvated[0].save(str(top))
    data = load(path, ala2, topology=str(top), atoms="protein", stride=2)
    assert torch.allclose(torch.cat([data.train.x, data.test.x]), frames[::2], atol=6e-5)  # a PDB keeps 0.0001 nm
    with pytest.raises(
        InputError, match="acquisition.atoms: expected 22 atoms as in the system; 'water' of .* has 6 atoms"
    ):
        load(path, ala2, topology=str(top), atoms="water")
    with pytest.raises(InputError, match=r"atom 0 is HOH0-O \(O\) in .*, ACE1-H1 \(H\) in the system; select others"):
        load(path, ala2, topology=str(top), atoms="index < 22")
    with pytest.raises(
        InputError, match="acquisition.atoms: expected an mdtraj selection such as 'protein'; found 'resname and'"
    ):
        load(path, ala2, topology=str(top), atoms="resname and")
    with pytest.raises(InputError, match="acquisition.atoms: 'name XX' selects none of the file's 28 atoms"):
        load(path, ala2, topology=str(top), atoms="name XX")


def test_a_selection_needs_the_topology_of_its_file(solvated, ala2, tmp_path):
    solvated.save(str(tmp_path / "a.dcd"))
    with pytest.raises(InputError, match="acquisition.topology: .dcd files have none of their own"):
        load(tmp_path / "a.dcd", ala2, atoms="protein")
    solvated[0].atom_slice(range(3, 28)).save(str(tmp_path / "smaller.pdb"))
    with pytest.raises(
        InputError, match="cannot be read: The topology and the trajectory files might not contain the same atoms"
    ):
        load(tmp_path / "a.dcd", ala2, topology=str(tmp_path / "smaller.pdb"), atoms="protein")
    for suffix, unit in ((".npy", "nanometer"), (".txt", "nanometer"), (".npz", None)):
        (tmp_path / f"a{suffix}").touch()
        with pytest.raises(
            InputError, match=f"acquisition.atoms: {suffix} files have no topology to select from; found 'protein'"
        ):
            load(tmp_path / f"a{suffix}", ala2, unit=unit, atoms="protein")


def test_atoms_in_another_order_are_refused(frames, ala2, tmp_path):
    trajectory = mdtraj.Trajectory(frames.view(-1, 22, 3).numpy(), ala2.topology)
    trajectory.save(str(tmp_path / "a.dcd"))
    trajectory[0].save(str(tmp_path / "a.pdb"))
    lines = (tmp_path / "a.pdb").read_text().splitlines()
    alpha = next(i for i, line in enumerate(lines) if line[12:16] == " HA ")
    lines[alpha], lines[alpha + 1] = lines[alpha + 1], lines[alpha]
    (tmp_path / "other.pdb").write_text("\n".join(lines))
    load(tmp_path / "a.dcd", ala2, topology=str(tmp_path / "a.pdb"))
    with pytest.raises(InputError, match=r"atom 9 is ALA2-CB \(C\) in .*, ALA2-HA \(H\) in the system"):
        load(tmp_path / "a.dcd", ala2, topology=str(tmp_path / "other.pdb"))
    with pytest.raises(InputError, match=r"atom 9 is ALA2-CB \(C\) in .*, ALA2-HA \(H\) in the system"):
        load(tmp_path / "other.pdb", ala2)


def test_mirrored_frames_are_refused(frames, ala2, tmp_path, caplog):
    caplog.set_level(logging.INFO, "predcg")
    Batch.of(frames).save(tmp_path / "a.npz")
    load(tmp_path / "a.npz", ala2)
    assert caplog.messages == ["chirality: ALA2 L in all 8 frames"]
    frames[[3, 5, 6]] *= -1
    Batch.of(frames).save(tmp_path / "a.npz")
    with pytest.raises(
        InputError,
        match=(
            "expected ALA2 L as in the system's first model; 3 of 8 frames .* the first is frame 3; look for mirrored"
        ),
    ):
        load(tmp_path / "a.npz", ala2)
    with pytest.raises(InputError, match="1 of 4 frames .* the first is frame 6; look for mirrored"):
        load(tmp_path / "a.npz", ala2, stride=2)


def test_the_census_sees_every_centre_of_every_frame():
    peptide = Peptide("ACE-GIT-NME", ["amber96.xml", "amber96_obc.xml"], 300.0)
    assert list(centres(peptide)) == ["ILE3 L", "ILE3-CB S", "THR4 L", "THR4-CB R"]  # as in nature; glycine has none
    model = peptide.models[0].view(-1, 3)
    # Turned, mirrored, and three permuted.
    x = torch.stack([model, model.roll(1, -1) + 0.3, model * torch.tensor([-1.0, 1.0, 1.0]), *[model] * 3])
    for frame, (residue, one, other) in enumerate([(2, "CG1", "CG2"), (3, "N", "C"), (3, "OG1", "CG2")], start=3):
        index = {atom.name: atom.index for atom in peptide.topology.residue(residue).atoms}
        x[frame, [index[one], index[other]]] = x[frame, [index[other], index[one]]]
    expected = [
        [True] * 4,
        [True] * 4,
        [False] * 4,
        [True, False, True, True],
        [True, True, False, True],
        [True, True, True, False],
    ]
    assert census(peptide, x.flatten(1)).tolist() == expected
    assert torch.equal(census(peptide, x.view(2, 3, -1)), torch.tensor(expected).view(2, 3, 4))


def test_frames_of_a_plane_have_no_handedness(tmp_path, caplog):
    caplog.set_level(logging.INFO, "predcg")
    plane = Harmonic([1.0, 1.0])
    Batch.of(plane.sample(8)).save(tmp_path / "a.npz")
    load(tmp_path / "a.npz", plane)
    assert census(plane, plane.sample(8)).shape == (8, 0) and caplog.messages == []


def test_frames_that_occur_twice_are_reported(frames, ala2, tmp_path, caplog):
    frames[[4, 6, 7]] = frames[[2, 0, 2]]
    Batch.of(frames).save(tmp_path / "a.npz")
    data = load(tmp_path / "a.npz", ala2)
    assert torch.equal(torch.cat([data.train.x, data.test.x]), frames)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "3 of 8 frames repeat an earlier one exactly, frame 6 that of 0;" in caplog.text
    load(tmp_path / "a.npz", ala2, stride=2)
    assert "2 of 4 frames repeat an earlier one exactly, frame 6 that of 0;" in caplog.text


def test_frames_of_the_publication_are_read_as_published(ala2, caplog):
    authors = Path(__file__).parents[2] / "shared" / "data" / "schoberl_ala2_500.txt"
    if not authors.exists():
        pytest.skip("the authors' 500 frames are not here; the other tests of this file need nothing")
    caplog.set_level(logging.INFO, "predcg")
    data = load(authors, ala2, unit="angstrom", test_fraction=0.9)
    x = torch.cat([data.train.x, data.test.x])
    assert (len(data.train.x), len(data.test.x)) == (50, 450)
    assert caplog.messages == ["chirality: ALA2 L in all 500 frames"]  # and none twice
    r, mass = x.view(500, 22, 3).double().numpy(), ala2.masses[::3].double().numpy()
    assert np.linalg.norm(r[:, 7] - r[:, 6], axis=-1) == pytest.approx(0.101, abs=1e-5)  # N-H is constrained
    centred = r - np.average(r, axis=1, weights=mass)[:, None]
    rg = np.sqrt(np.average((centred**2).sum(-1), axis=1, weights=mass))
    assert (rg.mean(), rg.std()) == (pytest.approx(0.24446, abs=1e-5), pytest.approx(0.00874, abs=1e-5))
    label = ala2.label(x)
    assert [(label == basin).sum().item() for basin in (0, 1, 2)] == [12, 256, 142]


def test_data_survive_the_disk(tmp_path):
    batch = Batch(torch.randn(4, 2), torch.rand(4), None, torch.randn(4))
    assert Data.load(tmp_path) is None
    Data(batch, batch.frames(slice(0, 2))).save(tmp_path)
    loaded = Data.load(tmp_path)
    for field in ("x", "w", "u"):
        assert torch.equal(getattr(loaded.train, field), getattr(batch, field))
    assert loaded.train.z is None and len(loaded.test.x) == 2


def test_exact_draws_of_one_basin_are_those_of_the_system_within_it():
    data = Exact(5_000, 10, basin="left").acquire(None, DoubleWell(), Counter())
    system, exact = DoubleWell(), DoubleWell().probabilities()
    inside = system.label(system.grid) == 0
    mean = (exact[inside] @ system.grid[inside, 0] / exact[inside].sum()).item()
    assert data.train.x.shape == (5_000, 2) and data.test.x.shape == (10, 2)
    assert not system.label(torch.cat([data.train.x, data.test.x])).any()
    assert data.train.x[:, 0].mean().item() == pytest.approx(mean, abs=0.02)


def test_exact_draws_of_a_rare_basin_are_as_many_as_asked_for():
    system = DoubleWell()
    data = Exact(60, 1, basin="right").acquire(None, system, Counter())
    assert data.train.x.shape == (60, 2) and system.label(data.train.x).all()


@pytest.mark.parametrize(("system", "known"), [(DoubleWell(), "left, right"), (Harmonic([1.0]), "none")])
def test_a_basin_that_the_system_lacks_is_refused(system, known):
    with pytest.raises(InputError, match=f"acquisition.basin: expected one of {known}; found 'middle'"):
        Exact(10, 10, basin="middle").acquire(None, system, Counter())


ABSURD = {
    "frames": Exact(10**12, 1),
    "test_frames": Simulate(10, 10**12, 1, 1),
    "queries": Active([0.0], queries=10**12),
    "queries of a grid": Grid(queries=10**12),
    "spread": Active([0.0], spread=10**12),
}


@pytest.mark.parametrize("name", ABSURD)
def test_more_frames_than_memory_holds_are_refused_before_any_is_made(name, ala2, tmp_path):
    with pytest.raises(
        InputError, match=rf"^acquisition.{name.split()[0]}: expected configurations that fit into .* GB of memory"
    ):
        ABSURD[name].acquire(None, ala2, Langevin(0.001, 1.0, 1, 0), folder=tmp_path)
    assert not list(tmp_path.iterdir())
