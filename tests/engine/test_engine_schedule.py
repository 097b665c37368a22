"""Random programs of submit, step, abort, fail and overflow: the slots add up after every operation."""

import random

import pytest
from engine_world import check_slots, decided_model, engine, ids, random_request

from ownlm.engine.overload import Overloaded
from ownlm.errors import OwnlmError
from ownlm.records import Request, Sampling


class Broken:
    def allowed(self, generated: list[int]) -> list[int]:
        raise ZeroDivisionError


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed: int) -> None:
    r = random.Random(seed)
    e = engine(
        decided_model(),
        max_running=r.randint(1, 5),
        max_queue=4,
        max_queue_tokens=120,
        prefill_tokens=r.choice([4, 64]),
    )
    streams, refused, aborted = [], 0, 0
    for _ in range(80):
        kind = r.random()
        if kind < 0.35:
            request = random_request(r)
            if r.random() < 0.1:
                request = Request(prompt_ids=(1,), sampling=Sampling(), constraint=Broken())
            try:
                streams.append(e.submit(request))
            except Overloaded:
                refused += 1
        elif kind < 0.45 and streams:
            stream = r.choice(streams)
            aborted += not stream.sequence.finished
            stream.close()
        else:
            before = [(q, q.num_computed) for q in e.scheduler.running if not q.aborted]
            e.step()
            streaming = [(q, n) for q, n in before if q.generated]
            reading = [(q, n) for q, n in before if n < len(q.prompt)]
            for q, computed in streaming + reading[:1]:
                assert q.finished or q.num_computed > computed, "a stream or the oldest prompt stood still"
        check_slots(e)
    while e.step():
        check_slots(e)
    assert len(e.scheduler.free_slots) == e.scheduler.num_slots and not e.scheduler.waiting
    ended = e.stats()["requests_finished_total"]
    assert sum(ended.values()) == len(streams) and ended.get("abort", 0) == aborted
    for stream in streams:
        sequence = stream.sequence
        if sequence.aborted:
            continue
        if sequence.error:
            with pytest.raises(OwnlmError):
                list(stream)
        else:
            assert ids(stream) == sequence.generated and len(sequence.generated) <= sequence.max_new_tokens
