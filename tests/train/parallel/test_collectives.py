"""Ring and tree against the direct sum, torch's collectives, and the cost model's bytes."""

import queue
import threading

import pytest
import torch
import worlds

from ownlm.errors import UsageError
from ownlm.train.parallel import collectives, cost

SIZES = (1, 7, 24, 1000)


class Thread:
    """A wire between the threads of one process, so that many ranks cost nothing."""

    def __init__(self, rank, posts):
        self.rank, self.num_processes, self.posts = rank, len(posts), posts
        self.sent_bytes = self.sent_messages = 0

    def exchange(self, sent, to, wanted, source):
        if sent is not None:
            self.posts[to][self.rank].put(sent.clone())
            self.sent_bytes += sent.nbytes
            self.sent_messages += 1
        if wanted is not None:
            wanted.copy_(self.posts[self.rank][source].get(timeout=20))


def on_all(p, work):
    """work(wire) on p ranks -> (their results, their wires)."""
    posts = [[queue.Queue() for _ in range(p)] for _ in range(p)]
    wires, results = [Thread(rank, posts) for rank in range(p)], [None] * p

    def run(rank):
        results[rank] = work(wires[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(p)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(result is not None for result in results)
    return results, wires


def values(p, n):
    return [
        torch.randn(n, generator=torch.Generator().manual_seed(100 * p + r), dtype=torch.float64)
        for r in range(p)
    ]


@pytest.mark.parametrize("p", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["ring_all_reduce", "tree_all_reduce"])
def test_all_reduce_is_the_direct_sum_on_every_process(p, n, name):
    given = values(p, n)
    results, _ = on_all(p, lambda wire: getattr(collectives, name)(given[wire.rank], wire))
    for result in results:
        assert torch.allclose(result, sum(given), rtol=1e-12, atol=1e-12)
        assert torch.equal(
            result, results[0]
        )  # the very same bits: processes that drift apart never meet again


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_reduce_scatter_and_all_gather_are_pieces_of_it(p):
    given = values(p, 6 * p)
    pieces, _ = on_all(p, lambda wire: collectives.ring_reduce_scatter(given[wire.rank], wire))
    assert torch.allclose(torch.cat(pieces), sum(given), rtol=1e-12, atol=1e-12)
    wholes, _ = on_all(p, lambda wire: collectives.ring_all_gather(pieces[wire.rank], wire))
    assert all(torch.equal(whole, torch.cat(pieces)) for whole in wholes)


@pytest.mark.parametrize("p", [2, 3, 4, 8])
def test_the_bytes_that_move_are_those_of_the_cost_model(p):
    n = 24 * p
    given = values(p, n)
    _, wires = on_all(p, lambda wire: collectives.ring_all_reduce(given[wire.rank], wire))
    expected = cost.ring_all_reduce(p, 8 * n)
    assert {wire.sent_bytes for wire in wires} == {int(expected.num_bytes)} == {2 * (p - 1) * 8 * n // p}
    assert {wire.sent_messages for wire in wires} == {expected.messages}
    assert sum(wire.sent_bytes for wire in wires) == cost.total_ring_bytes(p, 8 * n)
    _, wires = on_all(p, lambda wire: collectives.tree_all_reduce(given[wire.rank], wire))
    assert sum(wire.sent_bytes for wire in wires) == cost.total_tree_bytes(p, 8 * n)
    _, wires = on_all(p, lambda wire: collectives.ring_reduce_scatter(given[wire.rank], wire))
    assert {wire.sent_bytes for wire in wires} == {int(cost.reduce_scatter(p, 8 * n).num_bytes)}


def test_a_tensor_that_cannot_be_cut_names_the_nearest_sizes():
    with pytest.raises(UsageError, match="give 6 or 9 entries"):
        on_one = type("W", (), {"rank": 0, "num_processes": 3})()
        collectives.ring_reduce_scatter(torch.ones(7), on_one)


def test_the_tree_wins_below_the_crossover_and_the_ring_above():
    network = cost.Network(alpha=1e-5, beta=1e-9)
    at = cost.crossover_bytes(8, network)
    assert 0 < at < 1e6
    for n, better in ((at / 2, "tree"), (at * 2, "ring")):
        ring, tree = cost.ring_all_reduce(8, n).seconds(network), cost.tree_all_reduce(8, n).seconds(network)
        assert (tree < ring) == (better == "tree")


def test_alpha_and_beta_come_back_from_measurements():
    true = cost.Network(2e-5, 3e-10)
    samples = [(m, b, m * true.alpha + b * true.beta) for m, b in ((1, 1e3), (2, 1e6), (14, 5e7))]
    found = cost.fit(samples)
    assert found.alpha == pytest.approx(true.alpha, rel=1e-6) and found.beta == pytest.approx(
        true.beta, rel=1e-6
    )
    with pytest.raises(UsageError, match="cannot be told apart"):
        cost.fit([(1, 100.0, 1.0), (2, 200.0, 2.0)])


def world(place, folder):
    import torch.distributed as dist

    facts = {}
    for name in ("ring_all_reduce", "tree_all_reduce"):
        for n in SIZES:
            mine = values(2, n)[place.rank]
            wire = collectives.Counted()
            ours = getattr(collectives, name)(mine, wire)
            theirs = mine.clone()
            dist.all_reduce(theirs)
            facts[f"{name} {n}"] = [torch.equal(ours, theirs), wire.sent_bytes]
    mine = values(2, 24)[place.rank]
    part = collectives.ring_reduce_scatter(mine, collectives.Counted())
    expected = torch.empty(12, dtype=torch.float64)
    dist.reduce_scatter_tensor(expected, mine)
    whole = torch.empty(24, dtype=torch.float64)
    dist.all_gather_into_tensor(whole, expected)
    facts["scatter"] = torch.equal(part, expected)
    facts["gather"] = torch.equal(collectives.ring_all_gather(part, collectives.Counted()), whole)
    return facts


def test_over_gloo_they_equal_torchs_own():
    for facts in worlds.facts_of("test_collectives:world"):
        assert facts["scatter"] and facts["gather"]
        for n in SIZES:
            assert facts[f"ring_all_reduce {n}"] == [
                True,
                8 * (n + n % 2),
            ]  # 2(p-1)/p = 1 of the padded tensor
            assert facts[f"tree_all_reduce {n}"] == [True, 8 * n]
