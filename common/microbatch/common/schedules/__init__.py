"""Recurring jobs: `schedule` is what is declared, `ticks` when it is due, `status` what is stored of it.

Nothing here does I/O or knows what time it is.
"""
