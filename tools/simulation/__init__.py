"""Whole clusters in one process and in virtual time, under a network, disks and deaths that come of one seed."""
