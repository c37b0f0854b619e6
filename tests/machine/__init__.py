"""A cluster, its daemons and what they must not do, for the test that drives the whole loop."""
