"""Rounds: what goes on from one to the next, what begins anew, and that a killed run does not show."""

import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from test_resume import content

from predcg import acquisitions, rounds, run, stops
from predcg.acquisitions import Acquisition
from predcg.batch import Batch, Data
from predcg.config import compose
from predcg.errors import InputError
from predcg.rounds import Round, learnt
from predcg.samplers import Langevin
from predcg.stops import Stop
from predcg.training import Later, Training, read_checkpoint

QUICK = [
    "experiment=double_well/forward_kl",
    "acquisition=simulate",
    "acquisition.frames=20",
    "acquisition.test_frames=20",
    "acquisition.replicas=4",
    "sampler.stride=2",
    "sampler.burn_in=4",
    "steps=8",
    "epoch_steps=4",
    "logger=none",
    "figures=[]",
    "+callbacks.bounds.draws=50",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def three(folder: str, *more: str):
    return compose([*QUICK, "rounds=3", f"folder={folder}", f"acquisition.kept={folder}-kept", *more])


class Killed(pl.Callback):
    """Stops the training of a round in the middle of its second epoch."""

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 6:
            raise KeyboardInterrupt


def kill_in_simulation(monkeypatch):
    original, calls = Langevin.advance, iter(range(1000))

    def advance(*arguments):
        if Path("parts/checkpoints/last.ckpt").exists() and next(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr("predcg.samplers.recorder.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(Langevin, "advance", advance)


def kill_in_training(monkeypatch):
    fit = rounds.fit

    def killed(module, data, trainer, callbacks, loggers, folder, *rest):
        second = [Killed()] if folder == Path("parts/rounds/2") else []
        fit(module, data, trainer, [*callbacks, *second], loggers, folder, *rest)

    monkeypatch.setattr(rounds, "fit", killed)


def kill_between(monkeypatch):
    acquire = run.acquire

    def killed(cfg, here, *rest):
        if here.number == 2:
            raise KeyboardInterrupt
        return acquire(cfg, here, *rest)

    monkeypatch.setattr(run, "acquire", killed)


@pytest.mark.parametrize("kill", [kill_in_simulation, kill_in_training, kill_between])
def test_a_run_killed_in_its_second_round_goes_on_bit_by_bit(kill, monkeypatch):
    run.run(three("whole", "past=0.5"))
    with monkeypatch.context() as killing:
        kill(killing)
        with pytest.raises(KeyboardInterrupt):
            run.run(three("parts", "past=0.5"))
    assert not Path("parts/rounds/3").exists()
    run.run(three("parts", "past=0.5"))
    whole, parts = content(Path("whole")), content(Path("parts"))
    assert [name for name in whole | parts if whole.get(name) != parts.get(name)] == []
    assert {"rounds/2/metrics.csv", "rounds/3/data/train.npz x"} <= whole.keys()
    # Every round's own noise: neither its simulation nor its training is that of the round before.
    assert len({whole[f"{name}data/train.npz x"] for name in ("", "rounds/2/", "rounds/3/")}) == 3


DECAY = ["scheduler=cosine_rounds", "trainer.log_every_n_steps=1", "optimizer.lr=0.1"]


def test_a_rate_that_decays_over_all_rounds_goes_on_after_a_kill(monkeypatch):
    used, step = [], torch.optim.Adam.step

    def noted(self, *rest, **more):
        if len(self.param_groups[0]["params"]) > 1:  # The rehearsal has one.
            used.append(self.param_groups[0]["lr"])
        return step(self, *rest, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    run.run(three("whole", *DECAY))
    whole = list(used)
    assert len(whole) == 24 and whole[0] == 0.1 and max(whole[1:]) < 0.1 and whole == sorted(whole, reverse=True)
    assert whole[12] == pytest.approx(0.1 * 0.51, abs=0.005) and whole[-1] < 0.004
    with monkeypatch.context() as killing:
        kill_in_training(killing)
        with pytest.raises(KeyboardInterrupt):
            run.run(three("parts", *DECAY))
    run.run(three("parts", *DECAY))
    assert used[-10:] == whole[-10:]
    whole, parts = content(Path("whole")), content(Path("parts"))
    assert [name for name in whole | parts if whole.get(name) != parts.get(name)] == []
    with pytest.raises(InputError, match="another configuration .*scheduler"):
        run.run(compose([*QUICK, *DECAY, "rounds=4", "folder=whole", "acquisition.kept=whole-kept"]))


def test_the_present_round_is_filled_in():
    with pytest.raises(InputError, match="^round: is filled in, and every run begins with 1; found 2; leave it out"):
        run.run(three("mine", "round=2"))
    assert not Path("mine").exists()


def test_more_rounds_of_a_finished_run_go_on_and_are_those_of_one_that_had_them_from_the_start():
    run.run(compose([*QUICK, "folder=more", "acquisition.kept=more-kept"]))
    first = Path("more/summary.json").read_bytes()
    run.run(three("more"))
    run.run(three("whole"))
    more, whole = content(Path("more")), content(Path("whole"))
    assert [name for name in whole | more if whole.get(name) != more.get(name)] == []
    assert Path("more/summary.json").read_bytes() != first
    finished = Path("more/finished").stat().st_mtime_ns
    run.run(three("more"))
    assert Path("more/finished").stat().st_mtime_ns == finished
    for _ in ("finished", "not"):
        with pytest.raises(InputError, match="rounds: expected at least 3, which more has; found 2"):
            run.run(compose([*QUICK, "rounds=2", "folder=more", "acquisition.kept=more-kept"]))
        Path("more/finished").unlink(missing_ok=True)


def test_one_round_is_as_it_was_and_asks_for_no_more():
    run.run(compose([*QUICK, "folder=one"]))
    assert not Path("one/rounds").exists() and "rounds" not in content(Path("one"))["summary"]
    loaded = run.load("one")
    assert loaded.number == 1 and loaded.rounds == [loaded]


def test_each_round_is_there_with_its_data_model_and_history():
    run.run(three("mine"))
    finished = run.load("mine")
    first, second, third = finished.rounds
    assert third is finished and [one.number for one in finished.rounds] == [1, 2, 3]
    assert [len(one.data.train) for one in finished.rounds] == [20, 40, 60]
    assert [len(one.acquired.train) for one in finished.rounds] == [20, 20, 20]
    assert torch.equal(second.data.train.x, torch.cat([second.acquired.train.x, first.acquired.train.x]))
    last = read_checkpoint(Path("mine/rounds/2/checkpoints/last.ckpt"))["state_dict"]
    assert all(torch.equal(value, last[f"model.{name}"]) for name, value in second.model.state_dict().items())
    assert [row["step"] for row in first.history] == [row["step"] for row in third.history]
    counts = [
        read_checkpoint(one.folder / "checkpoints/last.ckpt")["state_dict"]["system.evaluations"]
        for one in finished.rounds
    ]
    assert counts[0] * 3 == counts[1] * 1.5 == counts[2]  # all energies, those of earlier rounds too
    with pytest.raises(InputError, match="round: expected one of 1 to 3 in mine; found 4"):
        run.load("mine", round=4)


@pytest.mark.parametrize("reset", [[], ["encoder"]])
def test_roles_go_on_unless_they_are_reset(reset, monkeypatch):
    states, fit = [], rounds.fit

    def noted(module: Training, *rest):
        states.append({name: value.clone() for name, value in module.model.state_dict().items()})
        fit(module, *rest)
        states.append({name: value.clone() for name, value in module.model.state_dict().items()})

    monkeypatch.setattr(rounds, "fit", noted)
    run.run(compose([*QUICK, "rounds=2", "folder=mine", f"reset={reset}"]))
    _, ended, begun, _ = states
    changed = {name.split(".")[0] for name in ended if not torch.equal(ended[name], begun[name])}
    assert changed == set(reset)


def test_the_prior_and_the_schedule_of_every_round_are_its_own():
    """N of the prior is that of all frames learnt from; a cosine schedule is at its start again."""
    cosine = ["+scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR", "+scheduler._partial_=true"]
    run.run(three("mine", "prior=gaussian", *cosine, "+scheduler.T_max=8"))
    finished = run.load("mine")
    weights = [1 / one.prior.weight for one in finished.rounds]
    assert weights == pytest.approx([20, 40, 60])
    rates = [
        read_checkpoint(one.folder / "checkpoints/last.ckpt")["lr_schedulers"][0]["last_epoch"]
        for one in finished.rounds
    ]
    assert rates == [8, 8, 8]


def test_what_a_round_learns_from():
    one, two, none = (Data(Batch(torch.full((n, 1), float(n))), Batch(torch.zeros(1, 1))) for n in (4, 2, 0))
    assert learnt([one], 0.5) is not None and torch.equal(learnt([one], 0.5).train.x, one.train.x)
    assert torch.equal(learnt([one, two], None).train.w, torch.ones(6))
    assert torch.equal(learnt([one, two], 0.0).train.x, two.train.x)
    shared = learnt([one, two], 0.25).train
    assert shared.w[:2].sum() == pytest.approx(0.75 * 6) and shared.w[2:].sum() == pytest.approx(0.25 * 6)
    assert torch.equal(learnt([one, none], 0.25).train.x, one.train.x)
    assert len(learnt([one, two], None).test) == 2


def test_seeds_of_rounds_are_their_own():
    of = [[Round.of(Path("mine"), number).seed(seed) for number in (1, 2, 3)] for seed in range(100)]
    assert [row[0] for row in of] == list(range(100))
    assert len({seed for row in of for seed in row[1:]}) == 200 and max(max(row) for row in of) < 2**31


class After(Stop):
    """Stops after so many rounds."""

    def __init__(self, rounds: int):
        self.rounds = rounds

    def check(self, model, evaluations):
        if self.rounds > 9:
            raise InputError("stop: expected fewer")

    def __call__(self, model, past):
        return len(past) == self.rounds


def ours(monkeypatch, package, kind):
    """Put a class where a configuration may name it, as a later version of the program would."""
    monkeypatch.setattr(kind, "__module__", package.__name__)
    monkeypatch.setattr(package, kind.__name__, kind, raising=False)
    return f"{package.__name__}.{kind.__name__}"


def test_a_rule_ends_the_rounds(monkeypatch):
    rule = [f"+stop._target_={ours(monkeypatch, stops, After)}", "+stop.rounds=2"]
    run.run(three("mine", *rule))
    assert run.load("mine").number == 2 and not Path("mine/rounds/3").exists()
    finished = Path("mine/finished").stat().st_mtime_ns
    for asked in (3, 5):  # it ended by itself
        run.run(compose([*QUICK, f"rounds={asked}", "folder=mine", "acquisition.kept=mine-kept", *rule]))
        assert Path("mine/finished").stat().st_mtime_ns == finished
    with pytest.raises(InputError, match="stop: expected fewer"):
        run.run(three("other", rule[0], "+stop.rounds=10"))
    assert not Path("other").exists()


class Hot(Acquisition):
    """What somebody else's acquisition looks like: exact draws at β = 0.5, weighted towards the target."""

    def acquire(self, model, system, sampler, past=(), folder=None):
        x = system.sample(500) * 2**0.5
        log_w = -0.5 * system(x)
        return Data(Batch(x, w=log_w.exp()), Batch(x[:0]))


def test_an_acquisition_of_somebody_else_brings_weights_that_the_mean_honours(monkeypatch):
    """Two rounds; ⟨x²⟩ of the harmonic system is its squared width."""
    hot = [f"acquisition._target_={ours(monkeypatch, acquisitions, Hot)}", "rounds=2", "steps=4", "epoch_steps=4"]
    settings = ["experiment=double_well/forward_kl", "system=harmonic", "~acquisition", "logger=none", "figures=[]"]
    run.run(compose([*settings, *[f"+{hot[0]}"], *hot[1:], "folder=mine"]))
    found = run.load("mine")
    data = found.data.train
    assert len(data) == 1000
    square = data.x[:, 0].square()
    mean = data.mean(square).item()
    error = (data.w * (square - mean)).square().sum().sqrt() / data.w.sum()
    assert abs(mean - found.system.exact()["sd_x1"] ** 2) < 3 * error


def test_the_dashboard_has_rounds_on_one_axis():
    rows = []

    class Notes(pl.loggers.logger.DummyLogger):
        def log_metrics(self, metrics, step=None):
            rows.append((step, metrics))

    Later(Notes(), 16, 3).log_metrics({"a": 1.0}, 4)
    assert rows == [(20, {"a": 1.0, "round": 3})]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=0", "rounds: expected a whole number >= 1; found 0"),
        ("past=1.5", "past: expected a number >= 0 and <= 1"),
        ("reset=[prior]", "reset: expected a list of"),
    ],
)
def test_bad_values_are_refused(override, message):
    with pytest.raises(InputError, match=message):
        compose([*QUICK, override])


def test_histories_of_rounds_are_files_of_their_own():
    run.run(three("mine"))
    for folder in ("mine", "mine/rounds/2", "mine/rounds/3"):
        with Path(folder, "metrics.csv").open(newline="") as file:
            assert max(int(row["step"]) for row in csv.DictReader(file)) == 8
