"""Who else may write the replicas of a run."""

from enum import StrEnum

from autoscaler.errors import InputError


class Rival(StrEnum):
    """The writer in the daemon's place."""

    HPA = "hpa"


RIVALS = tuple(str(rival) for rival in Rival)


def rival_named(name: str | None) -> Rival | None:
    """Return that rival; None for none. Raises InputError where there is none of this name."""
    if name is None:
        return None
    if name not in RIVALS:
        raise InputError(f"--rival = {name}, must be one of {', '.join(RIVALS)}")
    return Rival(name)
