"""Tests of the backtest: small traces of their own, nothing that was recorded."""
