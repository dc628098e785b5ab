"""An operator of a chaos run, `python -m tests.chaos.run.operator_main SEED`: redrives, and acts (`acts.py`).

Rule: what it is about to do is written down before it is done. Whether a redrive without an answer was done
is unknown, and it is not repeated: its letter shows that, or is gone.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.history import What
from tests.chaos.run.acts import HINDRANCES, Acts, let_all_go
from tests.chaos.run.journal import FOLDER_VARIABLE, Journal
from tests.chaos.run.unit import GENERATION_VARIABLE
from tests.chaos.run.workload import GENTLE_VARIABLE, NOT_AGAIN, QUEUES
from tests.chaos.worker_main import end_with_parent

from microbatch.common.scripts import RedriveCode
from microbatch.console.admin import Admin

if TYPE_CHECKING:
    from microbatch.console.dead_letters import DeadLetters

LOOK_S = 0.5
SEEN = 30
LIKELIHOOD = 0.4
ACT_LIKELIHOOD = 0.6


async def _look(letters: DeadLetters, chance: random.Random, journal: Journal) -> None:
    """Redrive one of the newest letters, now and then."""
    found = [
        letter
        for letter in await letters.newest(SEEN)
        if letter.job_id is not None and not letter.job_id.endswith(NOT_AGAIN)
    ]
    if not found or chance.random() > LIKELIHOOD:
        return
    letter = chance.choice(found)
    assert letter.job_id is not None
    journal.note(What.REDRIVING, letter.job_id)
    async for redriven in letters.redrive([letter.letter_id]):
        if redriven[0].code is RedriveCode.REDRIVEN:
            journal.note(What.REDRIVEN, letter.job_id)


async def _main(seed: int) -> None:
    generation = os.environ[GENERATION_VARIABLE]
    chance = random.Random(f"operator {seed} {generation}")
    journal = Journal(Path(os.environ[FOLDER_VARIABLE]), "operator")
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    while not leaving.is_set():
        try:
            async with Admin() as admin:
                await let_all_go(admin)  # an earlier life, or line, may have ended in the middle of something
                acts = Acts(admin, chance, journal, leaving)
                if GENTLE_VARIABLE not in os.environ:
                    await acts.clerk.let_it_go_on()
                while not leaving.is_set():
                    for queue in QUEUES:
                        await _look(admin.dead_letters(queue), chance, journal)
                    if GENTLE_VARIABLE not in os.environ and chance.random() < ACT_LIKELIHOOD:
                        await acts.one()
                    journal.count_tasks()
                    await asyncio.sleep(LOOK_S)
        except HINDRANCES:
            await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(_main(int(sys.argv[1])))
