"""`python -m ownlm.data.flow.worker`: a supervisor that runs one task after the other, each in a guarded child.

Lines of JSON. In: first the pipeline, then tasks. Out: {"done": number} or {"error": [kind, what, values, fix]} per task.
It ends when its input ends, so a killed parent leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
from collections import deque
from typing import Any

from ownlm.data.flow import recipe
from ownlm.data.flow.guard import die_with, run_guarded
from ownlm.data.flow.step import Step
from ownlm.data.flow.task import Task
from ownlm.errors import OwnlmError, to_row
from ownlm.records import Document


def main() -> None:
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends the tasks
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be mistaken for an answer
    pipeline = recipe.from_dict(json.loads(sys.stdin.readline()))
    _warm(pipeline)
    gc.freeze()  # the children share what is loaded by now
    for line in sys.stdin:
        answers.write(json.dumps(_answer(line, pipeline)) + "\n")
        answers.flush()


def _warm(pipeline: recipe.Pipeline) -> None:
    """Every step over one harmless document, so that models are loaded here, once, and not in every child again.

    What goes wrong here, or takes too long, is left to the child, where it belongs to a document or ends the run.
    """
    text = "A harmless sentence, so that every step has once done its work.\n" * 3
    signal.signal(signal.SIGALRM, _too_long)
    for named in pipeline.steps:
        if isinstance(named.step, Step):
            with contextlib.suppress(Exception):
                signal.setitimer(signal.ITIMER_REAL, pipeline.recipe.seconds_per_document)
                deque(named.step(iter([Document("warm", text, "warm")])), maxlen=0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError


def _answer(line: str, pipeline: recipe.Pipeline) -> dict[str, Any]:
    task = Task(**json.loads(line))
    try:
        run_guarded(task, pipeline)
    except OwnlmError as error:
        return {"error": to_row(error)}
    return {"done": task.number}


if __name__ == "__main__":
    main()
