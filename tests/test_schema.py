"""Values of a configuration are of the types and in the ranges that constructors are annotated with."""

import importlib.util

import pytest

from predcg.catalogue import shipped
from predcg.config import compose
from predcg.errors import InputError
from predcg.parts import build

REFUSED = {
    "steps=abc": "steps: expected a whole number >= 0; found 'abc'",
    "steps=1e4": "steps: expected a whole number >= 0; found 10000.0; write 10000",
    "seed=1.5": "seed: expected a whole number >= 0 and <= 2147483647; found 1.5",
    "seed=99999999999": "seed: .* found 99999999999",
    "seed=-1": "seed: .* found -1",
    "batch_size=null": "batch_size: .* found None",
    "epoch_steps=[1,2]": r"epoch_steps: .* found \[1, 2\]",
    "threads=true": "threads: .* found True",
    "figures=5": "figures: expected a list of .text.; found 5",
    "scheduler=abc": "scheduler: expected one of cosine, .*, none, .*; found 'abc'",
    "scheduler=null": "scheduler: expected one of cosine, .*, none, .*; found 'null'",
    "prior=[ard]": r"prior: expected one of .*; found '\[ard\]'; the nearest is ard",
    "callbacks=[tempering,bonds]": "callbacks: expected one of .*; found 'bonds'; the nearest is bounds",
    "callbacks=[bounds,3]": "callbacks: expected one of .*; found '.bounds,3.'",
    "logger={a: 1}": "logger: expected one of none, wandb",
    "callbacks.x=5": "callbacks.x: expected a node",
    "+nothing=5": "nothing: expected a node",
    "optimizer.lr=nan": "optimizer.lr: expected a finite number, .* found nan",
    "optimizer.lr=abc": "optimizer.lr: expected a number",
    "objective.alpha=2": "objective.alpha: expected a number >= 0 and <= 1; found 2",
    "objective.forward.samples=0": "objective.forward.samples: expected a whole number >= 1; found 0",
    "objective.reverse.dropped=[0.1]": "objective.reverse.dropped",
    "acquisition.frames=1e300": "acquisition.frames: expected a finite number",
    "decoder.hidden=[8,-8]": r"decoder.hidden: expected a list of .a whole number >= 1.; found \[8, -8\] \(at \[1\]\)",
    "decoder.hidden=8": "decoder.hidden: expected a list",
    "trainer.gradient_clip_val=abc": "trainer.gradient_clip_val: expected a number",
    "logger.tags=1.5": "logger.tags: expected a list of .text. or null; found 1.5",
    "logger.group=[a]": r"logger.group: expected text or null; found \['a'\]",
    "latent.size=0": "latent.size: expected z = 1; found 0; leave it out, or set z",
    "decoder.context=7": "decoder.context: expected z = 1; found 7",
    "threads=1025": "threads: expected a whole number >= 1 and <= 1024",
    "prior=null": "prior: expected one of .*; found 'null'",
    "prior=1.5": "prior: expected one of .*; found '1.5'",
    "posterior={a: 1}": "posterior: expected one of .*none",
    "figures={a: 1}": "figures: expected a list; found {a: 1}",
    "experiment=null": "experiment: expected one of .*; found 'null'",
}


@pytest.mark.parametrize("override", REFUSED)
def test_wrong_values_are_refused_when_a_configuration_is_composed(override):
    with pytest.raises(InputError, match=REFUSED[override]):
        compose(
            [
                "experiment=double_well/mixed",
                "callbacks={}" if override.startswith("callbacks") else "z=1",
                override.replace("callbacks.x", "+callbacks.x"),
            ]
        )


@pytest.mark.parametrize(
    ("key", "value"), [("widest", 0), ("widest", 1.5), ("widest", "abc"), ("gain", 0), ("bins", -1)]
)
def test_values_beside_those_that_the_system_fills_in_are_checked_as_well(key, value):
    with pytest.raises(InputError, match=f"decoder.{key}: expected a .*; found {value!r}"):
        compose(["experiment=ala2/latent", f"decoder.{key}={value}"])


@pytest.mark.parametrize(
    ("steps", "epoch_steps", "fitted"), [(300, 500, 300), (1200, 500, 600), (15, 10, 15), (0, 7, 7), (1000, 500, 500)]
)
def test_epoch_steps_are_fitted_to_steps(steps, epoch_steps, fitted):
    assert (
        compose(["experiment=double_well/mixed", f"steps={steps}", f"epoch_steps={epoch_steps}"]).epoch_steps == fitted
    )


def test_a_callback_can_be_taken_away_by_null():
    assert not build(compose(["experiment=double_well/mixed", "callbacks.bounds=null"])).callbacks


def test_wrong_values_of_every_key_are_refused_in_one_line_or_rightly_accepted():
    """A sample; the script itself tries all."""
    spec = importlib.util.spec_from_file_location("bad_values", shipped("experiments") / "reliability/bad_values.py")
    spec.loader.exec_module(script := importlib.util.module_from_spec(spec))
    wrong = list(script.bad_values())
    assert len(wrong) >= 1200
    ends = [(one, script.outcome(one)) for one in wrong[::227]]
    assert sum(end == "refused" for _, end in ends) > len(ends) / 2
    assert not [one for one, end in ends if end == "accepted" and not script.may_be_accepted(one)]
    # The rule does not call everything wrong, nor does the program.
    right = next(one for one in wrong if (one.path, one.text) == ("system.c", "1.5"))
    assert script.may_be_accepted(right) and script.outcome(right) == "accepted"


LATE = {
    "scheduler={_target_: torch.optim.lr_scheduler.CosineAnnealingLR, _partial_: true, T_max: -1}": (
        "scheduler.T_max: expected a number >= 0; found -1"
    ),
    "optimizer.lr=0": "optimizer.lr: expected a learning rate > 0 at some step; found 0 at all",
    "scheduler={_target_: torch.optim.lr_scheduler.LambdaLR, _partial_: true}": "scheduler: .*lr_lambda",
    "decoder.hidden=[1000000,1000000]": "decoder: asks for more memory than there is; choose smaller",
}


@pytest.mark.parametrize("override", LATE)
def test_values_that_only_a_constructor_can_refuse(override):
    with pytest.raises(InputError, match=LATE[override]):
        build(
            compose(
                ["experiment=double_well/mixed", *(["decoder=gaussian"] if "decoder" in override else []), override]
            )
        )


def test_the_script_of_what_goes_wrong_finds_what_it_tries_and_tells_one_line_from_others():
    """It takes most of an hour; what can be known of it at once is that its experiments compose."""
    spec = importlib.util.spec_from_file_location("trials", shipped("experiments") / "reliability/trials.py")
    spec.loader.exec_module(script := importlib.util.module_from_spec(spec))
    for experiment, sizes in script.SMALL.items():
        assert compose(script.overrides(experiment, "mine", *sizes)).folder == "mine"
    bar = "training:  50%|     | 20/40 [00:02<00:02, 9.27step/s]\r"
    assert script.Ended(2, "", f"{bar}\npredcg: no space\n").told
    for code, errors in ((1, "predcg: no space\n"), (2, "predcg: a\npredcg: b\n"), (2, "Traceback\n"), (2, "")):
        assert not script.Ended(code, "", errors).told
