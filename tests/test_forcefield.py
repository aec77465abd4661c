"""The batched force field: OpenMM's own energies and forces, term by term, for any batch, and finite where OpenMM has
none.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from conftest import GROUPS, approach, batched, check, reference
from openmm import app, unit
from openmm.app.internal import customgbforces

from predcg.errors import InputError
from predcg.systems import Harmonic, Molecule, Peptide, Regularised
from predcg.systems.forcefield import Batched
from predcg.systems.forcefield.batched import ARRAYS, MEMORY_BYTES
from predcg.systems.structure import SHIPPED

SHARED = Path(__file__).parents[2] / "shared" / "data"
STRUCTURE = app.PDBFile(str(SHIPPED / "ala2.pdb"))
SOLVENTS = ("hct", "obc1", "obc2", "gbn", "gbn2")
CASES = {
    f"{solvent} {surface}": (["amber96.xml", f"implicit/{solvent}.xml"], {"sasaMethod": surface})
    for solvent in SOLVENTS
    for surface in ("ACE", None)
}
CASES |= {
    "own obc2": (["amber96.xml", "amber96_obc.xml"], {}),
    "vacuum": (["amber96.xml"], {}),
    "ff14SB": (["amber14/protein.ff14SB.xml", "implicit/obc2.xml"], {}),
    "ff19SB": (["amber19/protein.ff19SB.xml", "implicit/gbn2.xml"], {}),
}


def dipeptide(files: list[str], **settings) -> openmm.System:
    settings = {"nonbondedMethod": app.NoCutoff, "rigidWater": False} | settings
    return app.ForceField(*files).createSystem(STRUCTURE.topology, **settings)


def created(*names: str) -> list:
    return [getattr(openmm, name)() for name in names]


@pytest.fixture(scope="module")
def frames() -> dict[str, np.ndarray]:
    """Alanine dipeptide, (n, 66): of dynamics at 300 K, at 600 and 1000 K, shaken by 0.01 and 0.02 nm, two atoms 0.025
    to 0.05 nm apart.
    """
    system, random = dipeptide(CASES["own obc2"][0]), np.random.default_rng(0)

    def dynamics(kelvin: float, n: int) -> np.ndarray:
        integrator = openmm.LangevinMiddleIntegrator(kelvin, 5.0, 0.0005)
        integrator.setRandomNumberSeed(1)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(STRUCTURE.positions)
        context.setVelocitiesToTemperature(kelvin, 1)
        found = []
        for _ in range(n):
            integrator.step(200)
            found.append(
                context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer).reshape(-1)
            )
        return np.array(found)

    thermal = dynamics(300.0, 6)
    shaken = thermal + np.repeat([0.01, 0.02], 3)[:, None] * random.standard_normal(thermal.shape)
    near = [
        approach(frame, *pair, distance)
        for frame, *pair, distance in zip(
            thermal, (0, 3, 1, 5, 7), (21, 12, 18, 10, 19), (0.05, 0.04, 0.03, 0.025, 0.03), strict=False
        )
    ]
    return {
        "thermal": thermal,
        "hot": np.concatenate([dynamics(600.0, 3), dynamics(1000.0, 3)]),
        "shaken": shaken,
        "near": np.array(near),
    }


@pytest.mark.parametrize("case", CASES)
def test_every_term_and_the_forces_are_those_of_openmm(case, frames):
    files, settings = CASES[case]
    check(dipeptide(files, **settings), np.concatenate(list(frames.values())))


def test_a_protein_has_the_terms_of_openmm():
    chignolin = Peptide("ACE-YYDPETGTWY-NME", ["amber14/protein.ff14SB.xml", "implicit/obc2.xml"], 300.0)
    start = chignolin.start(2).double().numpy()
    assert start.shape == (2, 3 * 175)
    check(
        chignolin.openmm_system,
        start + np.array([[0.0], [0.01]]) * np.random.default_rng(0).standard_normal(start.shape),
    )


def test_parameters_of_any_value_have_the_terms_of_openmm():
    """Force fields have phases of 0 and π, maps of one size and alike torsions; here all numbers are random."""
    n, random = 10, np.random.default_rng(0)
    kinds = "HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "CMAPTorsionForce", "NonbondedForce"
    system, bonds, angles, torsions, maps, pairs = created("System", *kinds)
    for size in (5, 8):
        maps.addMap(size, random.normal(0, 10, size * size))
    for i in range(n):
        system.addParticle(1.0)
        pairs.addParticle(random.normal(), *random.uniform(0.1, 0.3, 2))
        one, two = random.permutation(n), random.permutation(n)
        bonds.addBond(*one[:2], *random.uniform(0.1, 100, 2))
        angles.addAngle(*one[:3], *random.uniform(0, 3, 2))
        for _ in range(2):
            torsions.addTorsion(*one[:4], int(random.integers(1, 7)), random.uniform(-4, 4), random.normal(0, 10))
        maps.addTorsion(i % 2, *one[:4], *two[:4])
        if i:
            pairs.addException(0, i, random.normal(), *random.uniform(0.1, 0.3, 2))
    for force in (bonds, angles, torsions, maps, pairs):
        system.addForce(force)
    check(system, random.normal(0, 0.3, (20, 3 * n)))


@pytest.mark.parametrize(
    "model", ["own", "GBSAHCTForce", "GBSAOBC1Force", "GBSAOBC2Force", "GBSAGBnForce", "GBSAGBn2Force"]
)
def test_a_sphere_inside_another_is_screened_as_in_openmm(model):
    """Every branch of the screening: apart, overlapping, one centre inside the other sphere, one sphere inside the
    other.
    """
    system, neck = openmm.System(), "GBn" in model  # whose necks are tabulated for radii up to 0.2 nm
    force = openmm.GBSAOBCForce() if model == "own" else getattr(customgbforces, model)(SA="ACE")
    for sphere in ((0.6, 0.2, 1.4) if neck else (0.6, 0.35, 0.9), (-0.4, 0.12, 0.8)):
        system.addParticle(1.0)
        (
            force.addParticle(*sphere)
            if model == "own"
            else force.addParticle([*sphere, *(1.0, 0.8, 4.85) * ("GBn2" in model)])
        )
    if model != "own":
        force.finalize()
    system.addForce(force)
    x = np.zeros((200, 6))
    x[:, 3:] = np.linspace(0.0205, 0.7, 200)[:, None] * np.array([2.0, -1.0, 2.0]) / 3
    check(system, x)


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    """32 frames of alanine dipeptide (ff96, OBC1) with OpenMM's energies by kind and forces, in kJ/mol and nm."""
    path = SHARED / "aldp_ref_energies.json"
    if not path.exists():
        pytest.skip(
            f"the reference energies are not here ({path.name}); test_every_term_and_the_forces_are_those_of_openmm"
            " needs nothing"
        )
    content = json.loads(path.read_text())
    names = {"x": "x_nm", "energies": "comp_bond_angle_tors_nb_gb", "forces": "F"}
    return {name: np.array([frame[key] for frame in content]).reshape(len(content), -1) for name, key in names.items()}


# OpenMM's amber96.xml has angles of degrees, AMBER's files the same ones with its π of 3.141594: up to 7e-4 kJ/mol in
# all.
@pytest.mark.parametrize(("source", "tolerance"), [("xml", 1e-3), ("prmtop", 1e-8)])
def test_published_energies_are_reproduced(source, tolerance, published):
    files, solvent = (
        (["amber96.xml", "implicit/obc1.xml"], None)
        if source == "xml"
        else ([str(SHARED / "aldp_implicit.prmtop")], "OBC1")
    )
    system = Molecule("ala2.pdb", files, 300.0, implicit_solvent=solvent)
    other = app.PDBFile(str(SHARED / "aldp_implicit.pdb")).topology
    assert [atom.element for atom in other.atoms()] == [atom.element for atom in STRUCTURE.topology.atoms()]
    assert [(a.index, b.index) for a, b in other.bonds()] == [(a.index, b.index) for a, b in STRUCTURE.topology.bonds()]
    energies, forces = batched(system.openmm_system, published["x"])
    np.testing.assert_allclose(energies, published["energies"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(forces, published["forces"], rtol=0, atol=20 * tolerance + 1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # about radii other than the model's usual ones
@pytest.mark.parametrize("solvent", ["HCT", "OBC1", "OBC2", "GBn", "GBn2"])
def test_an_amber_topology_has_the_terms_of_openmm(solvent, frames, published):
    path = str(SHARED / "aldp_implicit.prmtop")
    system = Molecule(str(SHARED / "aldp_implicit.pdb"), [path], 300.0, implicit_solvent=solvent)
    expected = app.AmberPrmtopFile(path).createSystem(
        implicitSolvent=getattr(app, solvent), gbsaModel="ACE", rigidWater=False
    )
    x = np.concatenate([frames["thermal"], frames["shaken"], published["x"][:4]])
    (energies, forces), (found, pulls) = reference(expected, x), batched(system.openmm_system, x)
    np.testing.assert_allclose(found, energies, rtol=0, atol=1e-8)
    np.testing.assert_allclose(pulls, forces, rtol=0, atol=1e-8)


@pytest.mark.parametrize("case", ["hct ACE", "gbn2 ACE", "own obc2", "ff19SB"])
def test_single_precision_is_double_precision_within_1e_5(case, frames):
    files, settings = CASES[case]
    x = np.concatenate(list(frames.values()))
    (energies, forces), (found, pulls) = (
        batched(dipeptide(files, **settings), x, dtype) for dtype in (torch.double, torch.float)
    )
    assert (abs(found - energies).sum(1) < 1e-5 * abs(energies).sum(1)).all()
    assert (abs(pulls - forces) < 2e-5 * abs(forces).max(1, keepdims=True)).all()


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_a_configuration_knows_nothing_of_its_batch(dtype, ala2):
    x = ala2.start(700).to(dtype) + 0.01 * torch.randn(700, 66, dtype=dtype)
    x[5], x[600] = 0.0, 1e3 * x[600]  # neighbours with energies of 1e17 kT, and with atoms far apart
    energies, gradients = ala2.evaluate(x)
    close = {"rtol": 1e-4, "atol": 1e-2} if dtype == torch.float else {"rtol": 1e-10, "atol": 1e-9}
    for n in (1, 3, 16, 33, 512, 513):
        u, gradient = ala2.evaluate(x[-n:])
        torch.testing.assert_close(u, energies[-n:], **close)
        torch.testing.assert_close(gradient, gradients[-n:], **close)
    assert (
        torch.equal(ala2(x[:24].view(2, 3, 4, 66)).flatten(), ala2(x[:24]))
        and ala2(x[0]).shape == ()
        and ala2(x[:0]).shape == (0,)
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("atoms", [22, 175, 1000])
def test_memory_does_not_grow_with_the_batch(device, atoms):
    system = openmm.System()
    for _ in range(atoms):
        system.addParticle(1.0)
    engine = Batched(system)
    x = torch.empty(1, 3 * atoms, device=device).expand(65_536, -1)
    chunk = engine.chunk(x)
    assert chunk.bit_count() == 1 and 16 <= chunk and ARRAYS * 4 * chunk * atoms**2 <= MEMORY_BYTES
    assert engine.chunk(x[:20]) <= 32


# Bonded to one another, to one third, far apart in the chain.
PAIRS = [(0, 1), (0, 2), (4, 6), (3, 12), (7, 15), (1, 18), (0, 21)]


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
@pytest.mark.parametrize(
    "case", ["hct ACE", "obc1 ACE", "obc2 None", "gbn ACE", "gbn2 ACE", "own obc2", "vacuum", "ff19SB"]
)
def test_energies_and_gradients_are_finite_whatever_touches(case, dtype, frames):
    files, settings = CASES[case]
    thermal = frames["thermal"][0]
    touching = [approach(thermal, *pair, distance) for distance in (0.0, 1e-3, 1e-9) for pair in PAIRS]
    # All atoms at one point, or on a line.
    heaps = [np.zeros(66), np.full(66, 0.3), np.repeat(np.linspace(0, 1, 22), 3)]
    heaps += [
        width * np.random.default_rng(seed).standard_normal(66)
        for width in (1e-3, 0.01, 0.03, 0.1, 1.0)
        for seed in range(5)
    ]
    x = torch.tensor(np.array([thermal, *touching, *heaps]), dtype=dtype)
    energies, gradients = Batched(dipeptide(files, **settings)).evaluate(x)
    assert energies.isfinite().all() and gradients.isfinite().all()
    assert (energies[1 + len(touching) :][:2] > 1e10).all()


@pytest.mark.parametrize("case", ["hct ACE", "obc1 ACE", "gbn2 ACE", "own obc2", "nonbonded"])
def test_the_gradient_of_atoms_that_touch_is_that_of_the_energy(case, frames):
    """Of solvation alone, and of nonbonded energies alone, whose 1e13 kJ/mol would drown it."""
    files, settings = CASES.get(case, CASES["vacuum"])
    system = dipeptide(files, **settings)
    wanted = GROUPS["NonbondedForce"] if case == "nonbonded" else GROUPS["CustomGBForce"]
    for index in reversed(range(system.getNumForces())):
        if GROUPS.get(system.getForce(index).getName()) != wanted:
            system.removeForce(index)
    engine, step = Batched(system), 1e-6 * torch.eye(66, dtype=torch.double)
    for pair, distance in zip(PAIRS, (0.005, 0.007, 0.009, 0.012, 0.014, 0.016, 0.018), strict=True):
        x = torch.tensor(approach(frames["thermal"][0], *pair, distance))
        gradient = engine.evaluate(x[None])[1][0]
        slope = (engine.evaluate(x + step)[0] - engine.evaluate(x - step)[0]) / 2e-6
        torch.testing.assert_close(slope, gradient, rtol=0, atol=1e-6 * gradient.abs().max().item())


def test_the_gradient_of_the_system_is_minus_the_force_in_kt(frames):
    system = Molecule("ala2.pdb", *CASES["ff14SB"][:1], 310.0)
    energies, forces = reference(system.openmm_system, frames["shaken"])
    x, kt = torch.tensor(frames["shaken"]).view(2, 3, 66).requires_grad_(), 8.314462618e-3 * 310.0
    weights = torch.randn(2, 3, dtype=torch.double)
    u = system(x)
    (gradient,) = torch.autograd.grad((weights * u).sum(), x)
    np.testing.assert_allclose(u.detach().numpy(), energies.sum(1).reshape(2, 3) / kt, rtol=1e-9)
    np.testing.assert_allclose(
        gradient.numpy(), -weights[..., None].numpy() * forces.reshape(2, 3, 66) / kt, rtol=1e-9, atol=1e-8
    )


@pytest.mark.parametrize(
    ("kind", "name", "files"),
    [
        (Molecule, "ala2.pdb", ["amber96.xml", "implicit/obc1.xml"]),
        (Peptide, "ACE-G-NME", ["amber14/protein.ff14SB.xml", "implicit/gbn2.xml"]),
    ],
)
def test_openmm_in_a_worker_and_the_batched_form_agree(kind, name, files):
    batch, bridge = kind(name, files, 300.0), kind(name, files, 300.0, workers=1)
    bridge._engine.platform = "Reference"  # the fastest one may compute in single precision
    x = batch.start(3).double() + 0.01 * torch.randn(3, batch.size, dtype=torch.double)
    (u, gradient), (expected, slope) = batch.evaluate(x), bridge.evaluate(x)
    torch.testing.assert_close(u, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=1e-6 * slope.abs().max().item())
    torch.testing.assert_close(sum(batch.terms(x.view(3, 1, -1)).values()), u[:, None])
    bridge._engine.close()
    with pytest.raises(InputError, match="energies by kind come from the batched form"):
        bridge.terms(x)


def altered(name: str, change: Callable, *solvent: str) -> openmm.System:
    """Alanine dipeptide, with OBC1 unless said, after the change of one force."""
    system = dipeptide(["amber96.xml", *(solvent or ["implicit/obc1.xml"])])
    change(next(force for force in system.getForces() if force.getName() == name))
    return system


def added(force: openmm.Force) -> openmm.System:
    system = dipeptide(CASES["own obc2"][0])
    system.addForce(force)
    return system


def rewritten(kind: str, index: int, old: str, new: str) -> openmm.System:
    """Alanine dipeptide with OBC1 after a change in one expression of it."""

    def change(force: openmm.CustomGBForce) -> None:
        *name, expression, way = getattr(force, f"get{kind}Parameters")(index)
        assert old in expression
        getattr(force, f"set{kind}Parameters")(index, *name, expression.replace(old, new), way)

    return altered("CustomGBForce", change)


REFUSED = {
    "no CustomBondForce": lambda: added(openmm.CustomBondForce("r")),
    "no RBTorsionForce": lambda: added(openmm.RBTorsionForce()),
    "no GBSAOBCForce": lambda: added(openmm.GBSAOBCForce()),  # beside another one
    "CustomGBForce .* energy term charge": lambda: altered(
        "CustomGBForce", lambda force: force.addEnergyTerm("charge", force.SingleParticle)
    ),
    "CustomGBForce .* energy term -0.6": lambda: rewritten("EnergyTerm", 0, "-0.5*", "-0.6*"),
    "CustomGBForce .* other constants": lambda: rewritten("EnergyTerm", 2, "-138.9", "-139.9"),
    "CustomGBForce .* value I": lambda: rewritten("ComputedValue", 0, "0.25*", "0.26*"),
    "CustomGBForce .* value B": lambda: rewritten("ComputedValue", 1, "psi^3", "psi^4"),
    "CustomGBForce .* values or parameters": lambda: altered("CustomGBForce", lambda force: force.addExclusion(0, 1)),
    "CustomGBForce .* without salt": lambda: dipeptide(["amber96.xml", "implicit/gbn2.xml"], implicitSolventKappa=1.0),
    "CustomGBForce without a cut-off": lambda: altered(
        "CustomGBForce", lambda force: force.setNonbondedMethod(force.CutoffNonPeriodic)
    ),
    "GBSAOBCForce without a cut-off": lambda: altered(
        "GBSAOBCForce", lambda force: force.setNonbondedMethod(force.CutoffNonPeriodic), "amber96_obc.xml"
    ),
    "NonbondedForce without cut-off": lambda: altered(
        "NonbondedForce", lambda force: force.setNonbondedMethod(force.CutoffNonPeriodic)
    ),
    "NonbondedForce has them": lambda: altered("NonbondedForce", lambda force: force.setNonbondedMethod(force.PME)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_force_without_translation_is_named_and_the_way_out_shown(message):
    with pytest.raises(
        InputError, match=f"^system.forcefield: .*{message}.*; use OpenMM itself with system.workers=2$"
    ):
        Batched(REFUSED[message]())


def test_barostat_and_removal_of_motion_have_no_energy(frames):
    system = added(openmm.MonteCarloBarostat(1.0, 300.0))
    system.addForce(openmm.CMMotionRemover())
    expected = batched(dipeptide(["amber96.xml", "amber96_obc.xml"]), frames["thermal"])
    for found, known in zip(batched(system, frames["thermal"]), expected, strict=True):
        assert np.array_equal(found, known)


@pytest.fixture
def water() -> Batched:
    """Three charged atoms with two springs and an angle in a solvent."""
    system, bonds, angles, pairs, solvent = created(
        "System", "HarmonicBondForce", "HarmonicAngleForce", "NonbondedForce", "GBSAOBCForce"
    )
    for charge, radius in ((-0.8, 0.15), (0.4, 0.12), (0.4, 0.12)):
        system.addParticle(1.0)
        pairs.addParticle(charge, 0.2, 0.6)
        solvent.addParticle(charge, radius, 0.8)
    bonds.addBond(0, 1, 0.1, 5e5)
    bonds.addBond(0, 2, 0.1, 5e5)
    angles.addAngle(1, 0, 2, 1.8, 800.0)
    for force in (bonds, angles, pairs, solvent):
        system.addForce(force)
    return Batched(system)


WATER = torch.tensor([0.0, 0.0, 0.0, 0.1, 0.0, 0.0, -0.02, 0.09, 0.0])


def strained(start: torch.Tensor, n: int) -> torch.Tensor:
    return start + torch.linspace(0.02, 0.05, n)[:, None] * torch.randn(n, len(start))


def check_compiled(engine: Batched, x: torch.Tensor, caplog) -> None:
    """What is compiled has the energies and gradients of the interpreter, and nothing is warned of."""
    energies, gradients = engine.evaluate(x)
    engine.expect(10**9)
    with caplog.at_level(logging.INFO, "predcg"):
        found, slopes = engine.evaluate(x)
    assert [record.levelname for record in caplog.records] == ["INFO"] and "compiling the force field" in caplog.text
    assert ((found - energies).abs() <= 1e-4 * energies.abs() + 1e-2).all()
    assert ((slopes - gradients).abs() <= 1e-3 * gradients.abs().amax(1, keepdim=True)).all()


@pytest.fixture
def compiler(monkeypatch, request):
    """Keeps what it compiled in pytest's own cache."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(request.config.cache.mkdir("torch")))


def test_the_compiled_gradient_is_that_of_the_interpreter(water, caplog, compiler):
    check_compiled(water, strained(WATER, 16), caplog)


@pytest.mark.slow
def test_the_compiled_gradient_of_a_molecule_is_that_of_the_interpreter(ala2, caplog, compiler):
    check_compiled(Batched(dipeptide(["amber96.xml", "implicit/obc1.xml"])), strained(ala2.start(1)[0], 60), caplog)


def drop(module, **_):
    """A compiler that loses the force on the last atom."""

    def function(x):
        terms, gradient, *stored = module(x)
        return terms, gradient * (torch.arange(gradient.shape[-2]) < gradient.shape[-2] - 1)[:, None], *stored

    return function


def spoil(module, **_):
    return lambda x: (module(x)[0], module(x)[1] * torch.nan)


@pytest.mark.parametrize("failure", [pytest.param("missing", marks=pytest.mark.slow), "folder", drop, spoil])
def test_where_compiling_fails_one_warning_says_so_and_the_interpreter_goes_on(
    failure, water, caplog, monkeypatch, tmp_path
):
    torch._dynamo.reset()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / ("file" if failure == "folder" else "") / "torch"))
    if failure == "missing":
        monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    elif callable(failure):
        monkeypatch.setattr(torch, "compile", failure)
    batches = [strained(WATER, n) for n in (40, 40, 10)]
    expected = [water.evaluate(x) for x in batches]
    water.expect(10**9)
    for x, known in zip(batches, expected, strict=True):
        assert all(map(torch.equal, water.evaluate(x), known))
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("the force field runs without compilation") and (
        "changed its gradient" in warning
    ) == callable(failure)


def test_nothing_is_compiled_before_it_pays(water, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    water.expect(10_000)
    assert water.evaluate(strained(WATER, 20))[0].isfinite().all()


def test_few_evaluations_after_many_are_not_compiled(water, monkeypatch):
    """A training after a simulation has the bits of one whose data were there already."""
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    water.expect(10**9)
    water.expect(10_000)
    assert water.evaluate(strained(WATER, 20))[0].isfinite().all()


def test_a_regularised_system_is_its_own_below_the_threshold_and_a_logarithm_above():
    """u = x²/2 and t = 8: at x = 2, 4, 6 and 1e15 by hand."""
    system = Harmonic([1.0])
    tamed = Regularised(system, 8.0)
    x = torch.tensor([[2.0], [4.0], [6.0], [1e15]], dtype=torch.double, requires_grad=True)
    u = tamed(x)
    (gradient,) = torch.autograd.grad(u.sum(), x)
    assert u.tolist() == pytest.approx([2.0, 8.0, 8.0 + np.log(11.0), 8.0 + np.log(0.5e30)], rel=1e-12)
    assert gradient.flatten().tolist() == pytest.approx([2.0, 4.0, 6.0 / 11.0, 2e-15], rel=1e-12)
    assert int(tamed.evaluations) == int(system.evaluations) == 4


def test_a_regularised_molecule_starts_labels_and_moves_as_the_molecule(ala2, monkeypatch):
    tamed, told = Regularised(ala2, 100.0), []
    assert torch.equal(tamed.start(5), ala2.start(5)) and torch.equal(
        tamed.label(tamed.start(3)), ala2.label(ala2.start(3))
    )
    assert (tamed.size, tamed.kt, tamed.basins) == (ala2.size, ala2.kt, ala2.basins) and torch.equal(
        tamed.masses, ala2.masses
    )
    monkeypatch.setattr(Molecule, "expect", lambda _, evaluations: told.append(evaluations))
    tamed.expect(7)
    assert told == [7]
    collapsed = torch.zeros(2, 66).requires_grad_()
    u = tamed(collapsed)
    assert 100.0 < u[0] < 150.0 and torch.autograd.grad(u.sum(), collapsed)[0].isfinite().all()
