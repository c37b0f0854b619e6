"""Our own command line, asked what it knows."""

from functools import cache

import typer

from autoscaler import cli


@cache
def application():
    """Return the command line as its library sees it."""
    return typer.main.get_command(cli.app)


def wrong_use(words: list[str]) -> list[str]:
    """Look at the command and its options; values are whatever they are."""
    group = application()
    while words and words[0].startswith("--") and words[0] in _options(group):
        words = words[1:]
    if not words:
        return []
    name, *rest = words
    if name not in group.commands:
        return [f"autoscaler {name}: no such command"]
    command = group.commands[name]
    known, given, places = _options(command), [], 0
    while rest:
        word, *rest = rest
        option, equals, _ = word.partition("=")
        if word.startswith("--"):
            given.append(option)
            takes = not equals and known.get(option) and rest
            rest = rest[1:] if takes else rest
        else:
            places += 1
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    endless = any(argument.nargs == -1 for argument in arguments)
    return [
        *(f"autoscaler {name} {option}: no such option" for option in given if option not in known),
        *(
            [f"autoscaler {name}: too many words"]
            if places > len(arguments) and not endless
            else []
        ),
    ]


def _options(command) -> dict[str, bool]:
    """Return its options, and whether each takes a value."""
    known = {"--help": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            flag = bool(getattr(parameter, "is_flag", False))
            known |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], not flag)
    return known
