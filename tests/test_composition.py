"""Every option of every group with every experiment: it is built, or refused in one line that names what does not go
together.
"""

import logging
import re

import pytest

from predcg.catalogue import groups, listing, shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.messages import LONGEST
from predcg.parts import build
from predcg.rounds import rehearse

EXPERIMENTS = listing(shipped("conf") / "experiment")
OPTIONS = [(group, option) for group, options in groups().items() for option in options]
PAIRS = [(experiment, *option) for experiment in EXPERIMENTS for option in OPTIONS]
BOX = ["latent.low=[-2.0]", "latent.high=[2.0]"]
NEEDED = {
    "system=molecule": ["system.pdb=ala2.pdb"],
    "acquisition=load": ["acquisition.path=x.npz"],
    "acquisition=active": ["acquisition.start=[0.0]"],
    "latent=free_energy": BOX,
    "latent=free_energy_networks": BOX,
}


def check(experiment, group, option):
    choice = f"{group}={option}"
    try:
        parts = build(compose([f"experiment={experiment}", choice, *NEEDED.get(choice, [])]))
        rehearse(parts)
    except InputError as reason:
        text = str(reason)
        assert "\n" not in text and len(text) <= LONGEST, text
        assert "keyword" not in text and "Error" not in text, text  # said in the user's words
        named = {word for word in (*groups(), "figures") if re.search(rf"\b{word}\b", text)}
        assert len(named) >= 2 or re.search(rf"{group}\.\w+: expected .* found", text), f"{experiment} {choice}: {text}"


@pytest.mark.parametrize(("experiment", "group", "option"), PAIRS[::97])
def test_an_option_goes_with_an_experiment_or_is_refused_in_one_line(experiment, group, option):
    check(experiment, group, option)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_option_goes_with_an_experiment_or_is_refused_in_one_line(experiment):
    for group, option in OPTIONS:
        check(experiment, group, option)


DROPPED = {
    "decoder": (
        ["experiment=schoberl2019/ala2", "decoder=internal_flow"],
        "decoder=internal_flow does not take decoder.scale of the experiment",
    ),
    "nested": (
        ["experiment=schoberl2019/ala2", "decoder=gaussian"],
        "decoder=gaussian does not take decoder.scale.init of the experiment",
    ),
    "acquisition": (
        ["experiment=schoberl2015/em", "acquisition=load", "acquisition.path=x.npz"],
        "acquisition=load does not take acquisition.frames, acquisition.test_frames of the experiment",
    ),
    "objective": (
        ["experiment=schoberl2015/long_range", "objective=exact_em"],
        "objective=exact_em does not take objective.samples of the experiment",
    ),
    "sampler": (["experiment=ala2/replica_exchange", "sampler=hmc", "+sampler.mass=1"], None),
    "callbacks": (
        ["experiment=double_well/reverse_kl", "callbacks=[tempering,bounds]"],
        "callbacks=[tempering,bounds] does not take callbacks.average of the experiment",
    ),
    "no callbacks": (
        ["experiment=schoberl2015/long_range", "callbacks=none"],
        "callbacks=none does not take callbacks.converged of the experiment",
    ),
    "another tempering": (
        ["experiment=double_well/reverse_kl", "callbacks=adaptive_tempering", "callbacks.tempering.start=0.1"],
        "callbacks=adaptive_tempering does not take callbacks.tempering.first_steps, callbacks.average of the"
        " experiment",
    ),
    "its own": (["experiment=schoberl2019/ala2", "decoder=molecule"], None),
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_an_experiment_sets_for_its_own_option_does_not_outlive_another_choice(name, caplog):
    overrides, told = DROPPED[name]
    with caplog.at_level(logging.INFO):
        cfg = compose(overrides)
    assert [record.getMessage() for record in caplog.records] == ([f"{told}: left out"] if told else [])
    if name == "its own":
        assert cfg.decoder.scale.init == -2.0


def test_an_option_that_takes_any_keyword_keeps_all_of_its_own():
    """As that of the experiment, but for its logger."""
    chosen, given = (compose(["experiment=double_well/mixed", *more]).logger for more in (["logger=wandb"], []))
    assert dict(chosen) | {"name": None} == dict(given) | {"name": None} and chosen.project == "predcg"


def test_callbacks_are_those_chosen_and_what_the_experiment_says_of_them():
    cfg = compose(["experiment=double_well/reverse_kl", "callbacks=[bounds,tempering]"])
    assert list(cfg.callbacks) == ["bounds", "tempering"] and cfg.callbacks.tempering.growth == 1.2
    assert compose(["experiment=double_well/reverse_kl", "scheduler=none"]).scheduler is None
    assert compose(["experiment=double_well/forward_kl", "scheduler=cosine", "steps=30"]).scheduler.T_max == 30


def test_what_the_new_option_takes_too_stays():
    assert compose(["experiment=ala2/latent", "objective=mixed_replay"]).objective.alpha == 0.5
    assert compose(["experiment=ala2/openmm", "sampler=md"]).sampler.stride == 500


@pytest.mark.parametrize("key", ["decoder.scale.init=3", "++decoder.scale.init=3", "+decoder.depth=2"])
def test_what_the_user_sets_is_refused_where_it_is_not_taken(key):
    with pytest.raises(InputError, match=f"^decoder: .*{key.split('.')[1].split('=')[0]}"):
        build(compose(["experiment=schoberl2019/ala2", "decoder=flow", key]))
