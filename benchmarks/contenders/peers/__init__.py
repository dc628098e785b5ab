"""Peers: other systems that turn jobs into results over Redis, measured where they are installed.

Rule: one file per peer, with the settings that served it best; it never imports microbatch.
"""
