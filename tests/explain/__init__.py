"""Tests of `autoscaler explain`."""
