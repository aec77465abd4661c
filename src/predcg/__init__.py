"""predcg: coarse-grained models and collective variables from data, from the force field, and from both."""
