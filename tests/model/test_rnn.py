"""Recurrent cells against torch.nn with the same weights; recurrent language models; norms over time."""

import json
from pathlib import Path

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model import rnn
from ownlm.model.rnn_lm import RecurrentConfig, RecurrentLM
from ownlm.model.rnn_norms import draw, norms_over_time

TORCH = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def pair(cell: str, inputs: int, size: int, layers: int, both: bool) -> tuple[rnn.Recurrent, torch.nn.Module]:
    """Ours and torch's, float64, with the same random weights."""
    torch.manual_seed(1)
    theirs = TORCH[cell](inputs, size, layers, batch_first=True, bidirectional=both).double()
    mine = rnn.Recurrent(cell, inputs, size, layers, both).double()
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for n in range(layers):
            for d in range(2 if both else 1):
                own, end = mine.layers[n * (2 if both else 1) + d].cell, f"l{n}{'_reverse' if d else ''}"
                for part, name in ((own.input, "ih"), (own.hidden, "hh")):
                    part.weight.copy_(weights[f"weight_{name}_{end}"])
                    part.bias.copy_(weights[f"bias_{name}_{end}"])
    return mine, theirs


def stacked(cell: str, states: list[rnn.State]) -> list[torch.Tensor]:
    return [torch.stack([state[i] for state in states]) for i in range(2 if cell == "lstm" else 1)]


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize(("inputs", "size", "layers", "both", "time"), [(5, 7, 1, False, 11), (5, 7, 2, True, 11), (1, 1, 3, False, 1), (4, 3, 3, True, 2)])  # fmt: skip
def test_cells_equal_torchs_with_the_same_weights(cell: str, inputs: int, size: int, layers: int, both: bool, time: int) -> None:  # fmt: skip
    mine, theirs = pair(cell, inputs, size, layers, both)
    x = torch.randn(3, time, inputs, dtype=torch.float64)
    start = [tuple(torch.randn(3, size, dtype=torch.float64) for _ in range(2 if cell == "lstm" else 1)) for _ in mine.layers]  # fmt: skip
    found, states = mine(x, start)
    first = stacked(cell, start)
    expected, last = theirs(x, tuple(first) if cell == "lstm" else first[0])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for a, b in zip(stacked(cell, states), last if cell == "lstm" else [last], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert rnn.count_parameters(cell, inputs, size, layers, both) == sum(
        p.numel() for p in theirs.parameters()
    )


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_gradients_equal_torchs(cell: str) -> None:
    mine, theirs = pair(cell, 4, 6, 2, True)
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    mine(a)[0].square().sum().backward()
    theirs(b)[0].square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(mine.layers[1].cell.hidden.weight.grad, theirs.weight_hh_l0_reverse.grad, rtol=1e-9, atol=1e-11)  # fmt: skip


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_padding_equals_torchs_packed_sequences(cell: str) -> None:
    mine, theirs = pair(cell, 4, 5, 2, True)
    lengths = torch.tensor([7, 1, 4])
    x = torch.randn(3, 7, 4, dtype=torch.float64)
    mask = torch.arange(7)[None] < lengths[:, None]
    found, states = mine(x, mask=mask)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output, last = theirs(packed)
    expected = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=True)[0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        stacked(cell, states)[0], last[0] if cell == "lstm" else last, rtol=1e-10, atol=1e-12
    )


def test_relu_is_torchs_other_activation() -> None:
    theirs = torch.nn.RNNCell(3, 4, nonlinearity="relu")
    mine = rnn.ElmanCell(3, 4, "relu")
    mine.input.load_state_dict({"weight": theirs.weight_ih, "bias": theirs.bias_ih})
    mine.hidden.load_state_dict({"weight": theirs.weight_hh, "bias": theirs.bias_hh})
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    torch.testing.assert_close(mine(mine.input(x), (h,))[0], theirs(x, h))
    with pytest.raises(UsageError, match="sigmoid"):
        rnn.ElmanCell(3, 4, "sigmoid")


MODELS = [RecurrentConfig(31, 12, 2, cell, tied) for cell in rnn.CELLS for tied in (True, False)] + [RecurrentConfig(2, 1)]  # fmt: skip


@pytest.mark.parametrize("config", MODELS, ids=str)
def test_the_small_face(config: RecurrentConfig) -> None:
    model = RecurrentLM(config, seed=3)
    assert model.num_parameters() == sum(p.numel() for p in model.parameters())
    assert model.cache_bytes_per_token() == 0 and model.flops_per_token(7) == model.flops_per_token(700)
    ids = torch.randint(0, config.vocab_size, (3, 13), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, cache, parts, sizes = model(ids), model.new_cache(), [], []
        for chunk in ids.split([1, 5, 1, 6], dim=1):
            parts.append(model(chunk, cache))
            sizes.append(cache.num_bytes)
        torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=1e-5, atol=1e-6)
        changed = ids.clone()
        changed[:, 8] = (changed[:, 8] + 1) % config.vocab_size
        other = model(changed)
    assert cache.length == 13 and len(set(sizes)) == 1 and sizes[0] > 0
    assert torch.equal(other[:, :8], expected[:, :8]) and (other[:, 8] != expected[:, 8]).any()
    assert torch.equal(RecurrentLM(config, seed=3)(ids), expected)
    with torch.device("meta"):
        assert RecurrentLM(config).num_parameters() == model.num_parameters()


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_one_batch_overfits(cell: str) -> None:
    model = RecurrentLM(RecurrentConfig(31, 24, 2, cell), seed=1)
    ids = torch.randint(0, 31, (2, 16), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert losses[-1] < 0.2 * losses[0]


def test_norms_over_time_are_the_norms() -> None:
    """Hidden against the model's own states; gradient against the difference quotient of the loss in one state."""
    model = RecurrentLM(RecurrentConfig(11, 6, 2), seed=2).double()
    ids = torch.randint(0, 11, (2, 9), generator=torch.Generator().manual_seed(0))
    measured = norms_over_time(model, ids)
    hidden, _ = model.stack(model.embedding(ids[:, :-1]))
    assert measured.hidden[1] == pytest.approx(hidden.norm(dim=-1).mean(0).tolist())
    assert len(measured.gradient) == 2 and all(len(row) == 8 for row in measured.gradient)
    assert all(p.grad is None for p in model.parameters())

    at, eps = 3, 1e-6

    def loss_with(change: torch.Tensor) -> float:
        calls = []

        def nudge(h: torch.Tensor) -> torch.Tensor | None:
            calls.append(1)
            return h + change if len(calls) == at + 1 else None

        from ownlm.model.hooks import hooked

        with torch.no_grad(), hooked(model, {"stack.layers.0.state": nudge}):
            logits = model(ids[:, :-1])
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))

    slopes = []
    for place in range(12):
        change = torch.zeros(12, dtype=torch.float64)
        change[place] = eps
        slopes.append((loss_with(change.view(2, 6)) - loss_with(-change.view(2, 6))) / (2 * eps))
    assert measured.gradient[0][at] == pytest.approx(torch.tensor(slopes).norm().item(), rel=1e-4)


def test_the_last_tokens_gradient_fades_into_the_past() -> None:
    """Elman's with a small recurrent matrix vanishes; the GRU's with its update gate held open does not."""
    ids = torch.randint(0, 11, (4, 41), generator=torch.Generator().manual_seed(0))
    elman, gru = (RecurrentLM(RecurrentConfig(11, 16, 1, cell), seed=1) for cell in ("elman", "gru"))
    with torch.no_grad():
        elman.stack.layers[0].cell.hidden.weight *= 0.5
        gru.stack.layers[0].cell.input.bias[16:32] = 6.0
    vanishing = norms_over_time(elman, ids, last_only=True).gradient[0]
    kept = norms_over_time(gru, ids, last_only=True).gradient[0]
    assert vanishing[0] < 1e-9 * vanishing[-1] and kept[0] > 0.5 * kept[-1]


def test_a_gru_trains_while_both_norms_are_logged_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = "a recurrent network reads one letter at a time. " * 40
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(c) for c in text])
    windows = ids.unfold(0, 25, 5)
    model = RecurrentLM(RecurrentConfig(len(letters), 24, 2), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    order = torch.Generator().manual_seed(0)
    log, drawn = tmp_path / "norms.jsonl", []
    with log.open("w") as file:
        for step in range(41):
            batch = windows[torch.randint(0, len(windows), (8,), generator=order)]
            if step % 20 == 0:
                measured = norms_over_time(model, batch)
                drawn.append((f"step {step}", measured))
                file.writelines(json.dumps(row) + "\n" for row in measured.rows(step))
            loss = torch.nn.functional.cross_entropy(
                model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 3 * 2 * 24 and {r["step"] for r in rows} == {0, 20, 40}
    assert all(r["hidden_norm"] > 0 and r["gradient_norm"] > 0 for r in rows)
    assert drawn[-1][1].loss < 0.6 * drawn[0][1].loss
    draw(drawn, tmp_path / "norms.png")
    assert (tmp_path / "norms.png").stat().st_size > 10_000


def test_mistakes_are_named() -> None:
    for wrong in (
        lambda: RecurrentConfig(10, 4, cell="mlp"),
        lambda: RecurrentConfig(10, 0),
        lambda: rnn.Recurrent("gru", 3, 4)(torch.zeros(2, 0, 3)),
        lambda: rnn.Recurrent("gru", 3, 4, 2)(torch.zeros(2, 1, 3), [(torch.zeros(2, 4),)]),
        lambda: norms_over_time(RecurrentLM(RecurrentConfig(5, 4)), torch.zeros(1, 1, dtype=torch.int64)),
    ):
        with pytest.raises(UsageError):
            wrong()
