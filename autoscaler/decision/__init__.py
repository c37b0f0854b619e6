"""The decision: values in, values out.

The law of this package: no input or output, no clock, no randomness, no logging, no third
party. Time is an argument. The same policy, state and observation give the same decision and
the same next state, in the daemon, in shadow mode, in a backtest and in a test. The one thing
read from outside are the tables of time zones, which Python's `zoneinfo` brings.
"""
