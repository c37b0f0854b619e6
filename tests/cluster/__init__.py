"""Tests of the whole stack on a real cluster: `make test-cluster`."""
