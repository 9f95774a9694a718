"""Sketches: the states of calculations that grow with what is observed, and the kernels that keep them.

Each file has the kernels of one: adding observations, merging, and reading out. Rows of a store come in, with blocks of
an `Arena`; the reducers in `sensor.sumstats.calculations` own both and say what the states mean.
"""
