"""`autoscaler status`: what the daemon makes of each target now, in one table.

asking    the daemon's answer, or why there is none and what to do about it
rows      what the answer says of each target, in words
showing   a table, lines, or JSON; once, or again and again
"""

from autoscaler.status.showing import StatusOptions, show_status

__all__ = ["StatusOptions", "show_status"]
