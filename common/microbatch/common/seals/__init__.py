"""Seals: signed and encrypted values, for queues whose values are not trusted as they come.

`keyring` reads the keys, `seals` puts values under seal and opens them, `jobs` knows what of jobs and of
schedules is sealed.
"""

from microbatch.common.seals.seals import ENCRYPTED, SIGNED, Seals, seals_of

__all__ = ["ENCRYPTED", "SIGNED", "Seals", "seals_of"]
