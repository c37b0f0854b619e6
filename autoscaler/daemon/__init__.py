"""The daemon: what goes on around the cycles for as long as the process lives.

process      from the start to the signal that ends it
scheduler    every target's cycle, every interval, on a pool of threads
fleet        the loops of all targets that are configured now
leadership   the leadership and the store that the loops share, contended for where need be
reload       a changed configuration, taken over or refused

Nothing is imported here: a command that needs one of them does not load the others.
"""
