"""What an autoscaler would have cost, and how long its users would have waited: in virtual time.

service     how long a request takes on a replica, and how replicas come and go: named sets
requests    a log of requests, thinned and halved
rates       Prometheus' `rate`
podwatch    pods as the API, cAdvisor and the gateway show them
replica     one replica: slots that share its processor, start-up, drain, an unloaded model
engine      the gateway's queue, the replicas and the clock: one run
scaler      the interface between a run and a policy
ours        our policy: `decide` itself, called as the daemon calls it
bounds      what nobody could have done without, and what a clairvoyant would have needed
figures     what a run comes to, and its hash
command     `autoscaler backtest`
"""
