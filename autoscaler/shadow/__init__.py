"""`autoscaler shadow-report`: what we would have done, beside what another autoscaler did.

survey     one look through the records: how long, how often, how fast replicas start
theirs     the replicas that there were, by Prometheus or by the records themselves
ours       the same cycles decided once more, with the number that our own decisions lead to
moments    both, cycle by cycle
figures    what each side comes to
stretches  where the two differ, since when, and why
report     all of it as one value, and as JSON
text page  for a terminal, for a browser
command    what the command line asks for
"""

from autoscaler.shadow.command import Asked, Told, compare_records, tell
from autoscaler.shadow.report import Report

__all__ = ["Asked", "Report", "Told", "compare_records", "tell"]
