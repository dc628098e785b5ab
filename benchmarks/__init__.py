"""The project's own benchmark: microbatch beside the minimal pipeline and beside peers, in one run.

`python -m benchmarks` starts a fresh server, worker and producer for every cell, interleaves the contenders
and prints one table per scenario. The file list is the way in: `scenarios/` (what is measured, against which
target), `contenders/` (who is measured), `stage` (a cell's processes), `child` (what runs in them), `gauges`
(how it is measured), `workload` (the jobs and their cost), `cell` (what travels between them), `report`.

Rule: figures of one run may be compared, figures of two runs may not. It asserts no speed, ever.
"""
