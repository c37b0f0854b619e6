"""`autoscaler explain`: why a cycle came to what it did, told from its record.

source.py      where records come from: files, a pipe, a daemon
moments.py     `--at` and `--since`
choose.py      which cycles are meant
screen.py      one cycle on one screen
lines.py       many cycles, one line each
proof.py       `--verify`: decided again, and compared
variant.py     `--what-if`: decided by another policy
command.py     the options, put together
"""
