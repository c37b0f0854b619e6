"""What an autoscaler would have cost, and how long its users would have waited: in virtual time.

service     how long a request takes on a replica, and how replicas come and go: named sets
requests    a log of requests, thinned and halved
replica     one replica: slots that share its processor, start-up, drain, an unloaded model
engine      the gateway's queue, the replicas and the clock: one run
scaler      the interface between a run and a policy
ours        our policy: `decide` itself, called as the daemon calls it
figures     what a run comes to, and its hash
command     `autoscaler backtest`
"""
