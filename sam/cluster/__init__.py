"""Availability across nodes: everybody's applications, and those that run on exactly one quorate node.

Pure: `council.py` is what the sam processes agree about, `tenure.py` what a sam-run does with a lease.  The sam
process, sam-run and its guardian act.
"""
