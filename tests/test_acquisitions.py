"""Acquisitions: frames and their order, and files that are checked before anything is learnt from them."""

import mdtraj
import numpy as np
import pytest
import torch

from predcg.acquisitions import Exact, Load, Nothing, Simulate
from predcg.batch import Batch, Data
from predcg.errors import InputError
from predcg.samplers import Sampler
from predcg.systems import Harmonic


class Counter(Sampler):
    """Writes replica and time instead of coordinates."""

    def __init__(self):
        super().__init__(1.0, 1, 0, 0)

    def run(self, system, start, frames, bias=None, folder=None):
        return Batch.of(torch.cartesian_prod(torch.arange(len(start)), torch.arange(frames)).float())


def test_simulated_frames_are_split_in_blocks_of_every_trajectory():
    data = Simulate(frames=12, test_frames=24, replicas=2, blocks=3).acquire(None, Harmonic([1.0, 1.0]), Counter())
    assert data.train.x.shape == (12, 2) and data.test.x.shape == (24, 2)
    assert data.train.x[data.train.x[:, 0] == 1, 1].tolist() == [0, 1, 6, 7, 12, 13]
    together = torch.cat([data.train.x, data.test.x])
    assert len(together.unique(dim=0)) == 36


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
    assert Nothing().acquire(None, ala2, Counter()).train.x.shape == (0, 66)


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


def test_bare_arrays_need_a_unit_and_others_refuse_one(frames, ala2, tmp_path):
    np.save(tmp_path / "a.npy", frames.numpy())
    with pytest.raises(InputError, match=r"acquisition.unit: .*expected one of \['nanometer', 'angstrom'\], found None"):
        load(tmp_path / "a.npy", ala2)
    Batch.of(frames).save(tmp_path / "a.npz")
    with pytest.raises(InputError, match="carry their own unit"):
        load(tmp_path / "a.npz", ala2, unit="angstrom")


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


def test_data_survive_the_disk(tmp_path):
    batch = Batch(torch.randn(4, 2), torch.rand(4), None, torch.randn(4))
    assert Data.load(tmp_path) is None
    Data(batch, batch.frames(slice(0, 2))).save(tmp_path)
    loaded = Data.load(tmp_path)
    for field in ("x", "w", "u"):
        assert torch.equal(getattr(loaded.train, field), getattr(batch, field))
    assert loaded.train.z is None and len(loaded.test.x) == 2
