"""From the words of a command line to a verb; its flags are made from dataclasses."""

import ast
import dataclasses
from collections.abc import Callable
from functools import partial

import tyro

from msk_jax import experiment as catalogue
from msk_jax.dotted import changed
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.flags import plain, study
from msk_jax.methods.network import Network


def dispatch(args: list[str]) -> None:
    """Read the flags of one verb and run it.

    Raises:
        UserError: no such verb or experiment, or what the verb refuses.
    """
    parse(args)()


def parse(args: list[str]) -> Callable[[], None]:
    """The verb that a command line asks for, its flags read, ready to run.

    Raises:
        UserError: no such verb or experiment.
        SystemExit: status 2 where a flag cannot be what it is, 0 where help was asked for.
    """
    verb, rest = args[0], args[1:]
    if verb in plain.VERBS:
        return tyro.cli(plain.VERBS[verb], args=rest, prog=f"msk-jax {verb}").run
    for (name, flag), cls in plain.BY_FLAG.items():
        if verb == name and any(word.split("=")[0] == flag for word in rest):
            return tyro.cli(cls, args=rest, prog=f"msk-jax {verb}").run
    if verb not in study.VERBS:
        known = ", ".join([*study.VERBS, *plain.VERBS])
        raise UserError(f"There is no verb {verb!r}. The verbs are: {known}.")
    if not rest or rest[0].startswith("-"):
        if {"-h", "--help"} & set(rest):
            rest = [_example(verb), *rest]
        else:
            raise UserError(
                f"Name the experiment: `msk-jax {verb} EXPERIMENT ...`; there is "
                f"{', '.join(catalogue.names())}."
            )
    # What is printed as the next command must find the experiment again, also by its file.
    experiment = dataclasses.replace(catalogue.load(rest[0]), address=rest[0])
    changes = _changes(rest[1:])
    if changes:
        small = {**experiment.small, **changes}
        experiment = dataclasses.replace(changed(experiment, changes), small=small)
    cls = _flags(verb, experiment)
    default = _defaults(cls, experiment, small="--small" in rest)
    settings = tyro.cli(cls, args=rest[1:], default=default, prog=f"msk-jax {verb} {rest[0]}")
    return partial(settings.run, experiment)


def _example(verb: str) -> str:
    """An experiment whose flags are shown where none is named."""
    fit = verb not in study.OF_NETWORKS
    return next(name for name in catalogue.names() if fit or catalogue.load(name).network_stage)


def _changes(words: list[str]) -> dict[str, object]:
    """What `--set` asks for, by path.

    Raises:
        UserError: a word behind it that is no `path=value`.
    """
    changes, taken = {}, False
    for word in words:
        flag, equals, given = word.partition("=")
        if word.startswith("--"):
            taken = flag == "--set"
            if not (taken and equals):
                continue
            word = given
        if taken:
            path, equals, value = word.partition("=")
            if not equals:
                raise UserError(
                    f"--set takes path=value, as classify.recipe.epochs=40; {word!r} is none."
                )
            changes[path] = _value(value)
    return changes


def _value(text: str) -> object:
    """A number, a truth value, None or a tuple of such as Python writes them; else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _flags(verb: str, experiment: Experiment) -> type:
    """The flags of a verb for an experiment.

    Raises:
        UserError: the verb is for networks, and the experiment has none.
    """
    if experiment.network_stage is not None or verb not in study.OF_NETWORKS:
        return study.VERBS[verb]
    if verb == "train":
        return study.TrainTable
    raise UserError(
        f"`msk-jax {verb}` is for networks, and {experiment.name} learns from a table alone."
    )


def _of_network(network: Network) -> dict[str, object]:
    """The parts of a network that flags speak of."""
    return {
        "model": network.model,
        "preprocess": network.preprocess,
        "recipe": network.recipe,
        "before": network.before,
    }


def _defaults(cls: type, experiment: Experiment, small: bool):
    """The verb's flags with the experiment's own values."""
    system = experiment.at_small_size() if small else experiment
    stage = system.network_stage
    of_experiment = {} if stage is None else _of_network(stage.method)
    of_experiment |= {
        "evaluation": experiment.judging.evaluation,
    }
    values = {}
    for field in dataclasses.fields(cls):
        if field.name == "phantom":
            values[field.name] = experiment.synthetic()
        elif field.name in of_experiment:
            values[field.name] = of_experiment[field.name]
        elif field.default is dataclasses.MISSING:
            values[field.name] = tyro.MISSING
    return cls(**values)
