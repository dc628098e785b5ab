"""The demo: the whole system on this machine, with real work, and a summary that proves what it says.

The file list is the story: `command` is asked, `play` directs, `corpus` finds the work, `stage` starts the
cast (`child`, `tether`), `producer` submits its share (`work`), `processor` works, `index` keeps, `summary`
counts, `progress` tells, `interruption` ends it early.

Rule: what it shows it measured or counted in this run. It never touches a Redis server of the user.
"""
