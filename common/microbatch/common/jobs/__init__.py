"""Jobs as Redis holds them, read into values: what waits, what became of it, what is told meanwhile.

`entry` reads what waits in a stream, `status` a job's record, `timeline` its story, `dead_letter` what failed
for good; `happenings` reads what the scripts tell of jobs, into the values of `update`. `states` has the one
table of what may follow what.

Nothing here does I/O.
"""
