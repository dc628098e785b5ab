"""Where things live: which servers a URL leads to, and which of them has a key right now.

Nothing here does I/O: what has to be asked is asked by the connections, as `Question`s.
"""
