"""What every section of the configuration has in common."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """What every section has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def across(message: str) -> PydanticCustomError:
    """Return the refusal of a section whose values do not fit together."""
    return PydanticCustomError("across", "{text}", {"text": message})
