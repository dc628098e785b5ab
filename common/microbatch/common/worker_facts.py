"""What a worker says about itself, for those who look at the fleet.

Rule: a few words that it writes with its heartbeat, `name=value` with spaces between. Reading is total: what
somebody broke says nothing. What Redis knows by itself (batches held, last heartbeat) is not among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["HEARTBEAT_LIMIT_S", "MOST_LABELS", "WorkerFacts", "check_labels"]

HEARTBEAT_LIMIT_S: Final = 10.0
"""A worker that has been silent for longer counts as dead, where nobody says otherwise."""

MOST_LABELS: Final = 16
_LABEL: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_LABELS: Final = (
    f"{MOST_LABELS} labels at most, with commas between, each of 1 to 64 of A-Z a-z 0-9 _ . : / -"
)
_WORD: Final = re.compile(r"[\x21-\x7e]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_BYTES_LIMIT: Final = 2_048


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """One worker at one queue.

    Attributes:
        version: Of microbatch; empty: it does not say, as older ones do not.
        state: `quiet`, `leaving`, `stuck` (it must be restarted), or empty: it takes work.
        concurrency: How many batches it runs at a time; None: it does not say.
        labels: By which operators address it.
    """

    version: str = ""
    state: str = ""
    concurrency: int | None = None
    labels: tuple[str, ...] = ()

    def text(self) -> str:
        """As it is written."""
        words = {
            "version": self.version,
            "state": self.state,
            "concurrency": "" if self.concurrency is None else str(self.concurrency),
            "labels": ",".join(self.labels),
        }
        return " ".join(f"{name}={value}" for name, value in words.items() if value)

    @classmethod
    def parse(cls, raw: bytes) -> WorkerFacts:
        """Read what is written; unknown and broken words are passed over."""
        said: dict[str, str] = {}
        for word in raw[:_BYTES_LIMIT].decode("ascii", "replace").split(" "):
            name, equals, value = word.partition("=")
            if equals:
                said.setdefault(name, value)
        concurrency = said.get("concurrency", "")
        return cls(
            version=_sound(said.get("version", "")),
            state=_sound(said.get("state", "")),
            concurrency=int(concurrency) if _NUMBER.fullmatch(concurrency) else None,
            labels=tuple(label for label in said.get("labels", "").split(",") if _LABEL.fullmatch(label)),
        )


def check_labels(labels: object) -> tuple[str, ...]:
    """Labels as they are kept: without doubles, in order.

    Args:
        labels: Text with commas between, or a sequence of such texts.

    Raises:
        ValueError: They cannot be used; the sentence says what they must be.
    """
    texts = [labels] if isinstance(labels, str) else labels
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(_LABELS)
    found = tuple(dict.fromkeys(word.strip() for text in texts for word in text.split(",") if word.strip()))
    if len(found) > MOST_LABELS or not all(map(_LABEL.fullmatch, found)):
        raise ValueError(_LABELS)
    return found


def _sound(word: str) -> str:
    return word if _WORD.fullmatch(word) else ""
