"""`plan(...)`: from text, time and machine to every number of a build, before it runs.

The rule, in order:
1. The stages around training take what stages.py says. What is left of the budget trains: 75 % pretraining, 25 %
   fine-tuning, each less its start-up.
2. Depth: for every depth 3..24 that fits the memory, the tokens that fit the time give a loss by law.py; the
   smallest loss wins, and among depths within 0.5 % of it the smallest model.
3. Steps = tokens / batch_tokens, at most 16 passes over the text but never fewer than 200 steps for that reason.
4. Whatever is given explicitly (depth, steps, sft_steps) wins and is marked "override".

Everything depends on the machine only through a coarse bin (hardware.py): the same plan on the same type of machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ownlm.errors import DataError, MachineError, UsageError
from ownlm.model import count
from ownlm.model.config import ModelConfig
from ownlm.model.presets import from_dial
from ownlm.plan import hardware, law, memory, stages
from ownlm.plan.hardware import Machine
from ownlm.plan.plan import Plan
from ownlm.plan.quantity import Quantity, human

MIN_DEPTH = 3  # fewer layers cannot look up in a passage what a question names
MAX_DEPTH = 24
MAX_EPOCHS = 16.0  # R* of law.py: beyond it a further pass teaches less than 1/e of a fresh one
NOTICE_EPOCHS = 4.0  # up to here repeated text is nearly as good as fresh (Muennighoff et al. 2023)
MIN_STEPS = 200  # a small text may be passed over more often, up to this many steps
KEPT_SHARE = 0.9  # of the bytes found, what survives cleaning and deduplication
QUESTION_BYTES = 700  # of training text behind one written question
CONVERSATION_TOKENS = 250  # prompt with passages, and answer
ANSWER_SHARE = 0.15  # of a conversation's tokens
CONVERSATION_WIDTH = 384  # tokens of a padded row, mostly
SFT_EPOCHS = 3.0  # passes over the written questions, at most
TIE = 1.005
MEMORY_SHARE = 0.9  # of the machine's memory
MIN_TRAIN_STEPS = 5  # below this a time budget is refused


@dataclass(frozen=True, slots=True)
class Ask:
    """The question: what is given. None means derived. Sizes in bytes, contexts and batches in tokens."""

    corpus_bytes: int
    machine: Machine
    minutes: float | None = None
    depth: int | None = None
    steps: int | None = None
    sft_steps: int | None = None
    vocab_size: int = 8192
    context: int = 512
    batch_tokens: int = 8192
    sft_context: int = 1024
    sft_batch_tokens: int = 8192
    sft_questions: int = 12_000
    eval_questions: int = 500
    baselines: bool = True
    heldout_fraction: float = 0.05
    train_bytes: int | None = None  # known once the text has been read; else estimated from corpus_bytes
    heldout_bytes: int | None = None

    @property
    def megabytes(self) -> float:
        return self.corpus_bytes / 1e6

    @property
    def kept_bytes(self) -> int:
        """Of training text."""
        if self.train_bytes is not None:
            return self.train_bytes
        return int(self.corpus_bytes * KEPT_SHARE * (1 - self.heldout_fraction))

    @property
    def unique_tokens(self) -> int:
        return max(1, int(self.kept_bytes / law.bytes_per_token(self.vocab_size)))

    @property
    def heldout_tokens(self) -> float:
        kept = self.heldout_bytes
        if kept is None:
            kept = int(self.corpus_bytes * KEPT_SHARE * self.heldout_fraction)
        return kept / law.bytes_per_token(self.vocab_size)

    @property
    def num_questions(self) -> int:
        return max(1, min(self.sft_questions, self.kept_bytes // QUESTION_BYTES))


@dataclass(frozen=True, slots=True)
class Choice:
    """One depth, and what the budget gives it."""

    depth: int
    config: ModelConfig
    parameters: int
    speed: float  # pretraining tokens/s
    sft_speed: float
    steps: int
    sft_steps: int
    loss: float
    seconds: dict[str, float]


def plan(corpus_bytes: int, *, machine: Machine, minutes: float | None = None, depth: int | None = None,
         steps: int | None = None, sft_steps: int | None = None, **sizes: float) -> Plan:  # fmt: skip
    """The plan of a build. `sizes` are the further fields of `Ask` (vocab_size, context, batch_tokens, ...).

    Needs `minutes`, or both `steps` and `sft_steps`. Raises UsageError when the time is too short for anything,
    MachineError when memory or disk do not suffice, DataError without text.
    """
    ask = Ask(corpus_bytes, machine, minutes, depth, steps, sft_steps, **sizes)  # type: ignore[arg-type]
    _validate(ask)
    choice = _choose(ask)
    numbers = _quantities(ask, choice)
    found = Plan(tuple(numbers), tuple(_notices(ask, choice, {q.name: q.value for q in numbers})))
    _check_machine(ask, found)
    return found


def _validate(ask: Ask) -> None:
    if ask.corpus_bytes <= 0:
        raise DataError(
            "There is no text to plan for.", f"{ask.corpus_bytes} bytes", "give a folder with text: --data"
        )
    if ask.minutes is None and (ask.steps is None or ask.sft_steps is None):
        raise UsageError(
            "A plan needs a time budget, or the number of steps.",
            f"minutes {ask.minutes}, steps {ask.steps}, sft_steps {ask.sft_steps}",
            "give --minutes",
        )
    for name in ("minutes", "depth", "steps", "sft_steps", "context", "batch_tokens"):
        value = getattr(ask, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(
                "A size of the plan must be positive.", f"{name} = {value}", f"give a {name} above 0"
            )
    if ask.batch_tokens % ask.context:
        raise UsageError(
            "A batch must hold whole windows.",
            f"batch_tokens {ask.batch_tokens}, context {ask.context}",
            f"set batch_tokens to {max(1, round(ask.batch_tokens / ask.context)) * ask.context}",
        )


def _choose(ask: Ask) -> Choice:
    """Rule 2, or the depth that was asked for."""
    if ask.depth is not None:
        choice = _at_depth(ask, ask.depth)
        _check_memory(ask, choice)
        _check_steps(ask, choice)
        return choice
    choices = [
        c for c in (_at_depth(ask, depth) for depth in range(MIN_DEPTH, MAX_DEPTH + 1)) if _fits(ask, c)
    ]
    enough = [c for c in choices if min(c.steps, c.sft_steps) >= MIN_TRAIN_STEPS or ask.minutes is None]
    if not choices or not enough:
        smallest = _at_depth(ask, 1)
        _check_memory(ask, smallest)
        _check_steps(ask, smallest)
        return smallest  # steps given explicitly, fewer than a budget would be allowed to have
    best = min(choice.loss for choice in enough)
    return next(choice for choice in enough if choice.loss <= best * TIE)


def _at_depth(ask: Ask, depth: int) -> Choice:
    """Steps and loss at one depth. Steps may come out as 0 when the budget is too small."""
    config = from_dial(depth, ask.vocab_size, max(ask.context, ask.sft_context))
    gflops, width = ask.machine.gflops, config.hidden_size
    speed = hardware.tokens_per_second(gflops, width, count.flops_per_token(config, ask.context))
    width_flops = count.flops_per_token(config, min(ask.sft_context, CONVERSATION_WIDTH))
    unused = (
        6 * config.vocab_size * config.hidden_size * (1 - ANSWER_SHARE)
    )  # logits are made for answers only
    sft_speed = hardware.tokens_per_second(gflops, width, int(width_flops - unused))
    seconds = stages.fixed_seconds(ask.megabytes)
    evaluation = stages.eval_seconds(
        ask.megabytes, ask.heldout_tokens, ask.eval_questions, speed, ask.baselines
    )
    left = (ask.minutes or 0.0) * 60 - sum(seconds.values()) - evaluation - 2 * stages.STARTUP
    steps, sft_steps = ask.steps, ask.sft_steps
    if steps is None:
        # a fixed number of SFT steps takes its own time, not its share
        share = (
            left - sft_steps * ask.sft_batch_tokens / sft_speed
            if sft_steps
            else left * (1 - stages.SFT_SHARE)
        )
        steps = min(_floor(share * speed / ask.batch_tokens), _most_steps(ask))
    if sft_steps is None:
        share = left - steps * ask.batch_tokens / speed if ask.steps else left * stages.SFT_SHARE
        sft_steps = min(_floor(share * sft_speed / ask.sft_batch_tokens), _most_sft_steps(ask))
    seconds["pretrained"] = stages.STARTUP + steps * ask.batch_tokens / speed
    seconds["model"] = stages.STARTUP + sft_steps * ask.sft_batch_tokens / sft_speed
    seconds["eval"] = evaluation
    parameters = count.num_parameters(config)
    loss = law.LAW.loss(parameters, max(1, steps) * ask.batch_tokens, ask.unique_tokens)
    loss = min(
        loss, math.log(ask.vocab_size)
    )  # no training at all is better than the law far below its range
    return Choice(depth, config, parameters, speed, sft_speed, steps, sft_steps, loss, seconds)


def _floor(steps: float) -> int:
    """Down to two significant digits: a number of steps that a reader can remember."""
    whole = max(0, int(steps))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit


def _most_steps(ask: Ask) -> int:
    return max(MIN_STEPS, int(MAX_EPOCHS * ask.unique_tokens / ask.batch_tokens))


def _most_sft_steps(ask: Ask) -> int:
    return max(MIN_STEPS, int(SFT_EPOCHS * ask.num_questions * CONVERSATION_TOKENS / ask.sft_batch_tokens))


def _fits(ask: Ask, choice: Choice) -> bool:
    return _training_memory(ask, choice) <= MEMORY_SHARE * ask.machine.memory


def _training_memory(ask: Ask, choice: Choice) -> int:
    return max(
        memory.training_bytes(choice.parameters, choice.config, ask.batch_tokens, ask.context),
        memory.training_bytes(choice.parameters, choice.config, ask.sft_batch_tokens, ask.sft_context),
    )


def _check_memory(ask: Ask, choice: Choice) -> None:
    need = _training_memory(ask, choice)
    if need > MEMORY_SHARE * ask.machine.memory:
        raise MachineError(
            "This machine has too little memory for that training.",
            f"{human(need, 'bytes')} needed at depth {choice.depth}, {human(ask.machine.memory, 'bytes')} there",
            "lower the depth (--size), pretrain.batch_tokens or the contexts",
        )


def _check_steps(ask: Ask, choice: Choice) -> None:
    """Refuse a budget that leaves no training; explicit steps are the user's own decision."""
    short = (ask.steps is None and choice.steps < MIN_TRAIN_STEPS) or (
        ask.sft_steps is None and choice.sft_steps < MIN_TRAIN_STEPS
    )
    if not short:
        return
    around = (
        sum(s for name, s in choice.seconds.items() if name not in ("pretrained", "model"))
        + 2 * stages.STARTUP
    )
    pretrain = ask.steps or MIN_TRAIN_STEPS / (1 - stages.SFT_SHARE)
    tune = ask.sft_steps or MIN_TRAIN_STEPS / stages.SFT_SHARE
    train = (
        max(pretrain * ask.batch_tokens / choice.speed, tune * ask.sft_batch_tokens / choice.sft_speed) * 2
    )
    raise UsageError(
        "The time budget is too small for this text.",
        f"{ask.minutes:g} minutes for {human(ask.corpus_bytes, 'bytes')}; what is not training takes {around / 60:.1f}",
        f"give --minutes {math.ceil((around + train) / 60)}, or less text, or explicit steps",
    )


def _check_machine(ask: Ask, found: Plan) -> None:
    for name in ("memory_corpus", "memory_eval"):
        if found[name] > MEMORY_SHARE * ask.machine.memory:
            raise MachineError(
                "This machine has too little memory for that much text.",
                f"{name} {human(found[name], 'bytes')}, {human(ask.machine.memory, 'bytes')} there",
                "give less text" + (", or switch eval.baselines off" if name == "memory_eval" else ""),
            )
    if found["disk"] > ask.machine.disk:
        raise MachineError(
            "There is too little disk space for that build.",
            f"{human(found['disk'], 'bytes')} needed, {human(ask.machine.disk, 'bytes')} free",
            "free some space, or choose another disk with --out",
        )


def _notices(ask: Ask, choice: Choice, value: dict[str, float]) -> list[str]:
    notices = []
    if value["epochs"] > NOTICE_EPOCHS:
        notices.append(
            f"The text is small: training passes over it {value['epochs']:.1f} times; after {NOTICE_EPOCHS:.0f} passes "
            "repetition teaches less and less."
        )
    if ask.steps is None and choice.steps == _most_steps(ask):
        notices.append(
            f"Pretraining stops at {choice.steps} steps before the time is used up: more would only repeat."
        )
    if ask.minutes is not None and value["minutes_total"] > ask.minutes * 1.02:
        notices.append(
            f"With the explicit settings the build takes about {value['minutes_total']:.1f} minutes, "
            f"more than the {ask.minutes:g} given."
        )
    return notices


def _quantities(ask: Ask, choice: Choice) -> list[Quantity]:
    c = choice.config
    bytes_per_token = law.bytes_per_token(ask.vocab_size)
    tokens, sft_tokens = choice.steps * ask.batch_tokens, choice.sft_steps * ask.sft_batch_tokens

    def chosen(name: str, value: float, unit: str, formula: str, given: float | None) -> Quantity:
        return Quantity(name, value, unit, "set explicitly" if given is not None else formula,
                        "override" if given is not None else "derived")  # fmt: skip

    texts = [
        Quantity(
            "train_bytes", ask.kept_bytes, "bytes", "kept after reading, without held-out text", "measured"
        )
    ]
    if ask.train_bytes is None:
        texts = [
            Quantity("kept_share", KEPT_SHARE, "", "of the bytes, after cleaning and deduplication", "rule"),
            Quantity("heldout_fraction", ask.heldout_fraction, "", "data.heldout_fraction", "given"),
            Quantity(
                "train_bytes",
                ask.kept_bytes,
                "bytes",
                "corpus_bytes * kept_share * (1 - heldout_fraction)",
                "derived",
            ),
        ]
    budget = (
        [Quantity("minutes", ask.minutes, "min", "time budget", "given")] if ask.minutes is not None else []
    )
    memories = memory.quantities(choice.parameters, c, ask.corpus_bytes, ask.unique_tokens,
                                 (ask.batch_tokens, ask.context), (ask.sft_batch_tokens, ask.sft_context))  # fmt: skip
    peak = max(q.value for q in memories if q.name.startswith("memory_"))
    return [
        Quantity("corpus_bytes", ask.corpus_bytes, "bytes", "size of the text", "given"),
        *budget,
        Quantity("vocab_size", ask.vocab_size, "tokens", "tokenizer.vocab_size", "given"),
        Quantity("bytes_per_token", bytes_per_token, "", "by vocab_size, from BPE runs", "measured"),
        *texts,
        Quantity("unique_tokens", ask.unique_tokens, "tokens", "train_bytes / bytes_per_token", "derived"),
        *hardware.quantities(ask.machine, c.hidden_size),
        chosen("depth", choice.depth, "layers", "smallest predicted loss in the time given; see the rule", ask.depth),
        Quantity("hidden_size", c.hidden_size, "", "model.presets.from_dial(depth)", "rule"),
        Quantity("parameters", choice.parameters, "", "model.count.num_parameters(from_dial(depth))", "derived"),
        Quantity("context", ask.context, "tokens", "pretrain.context", "given"),
        Quantity("flops_per_token", count.flops_per_token(c, ask.context), "FLOP",
                 "6 * matrix parameters + 12 * layers * heads * head_dim * context", "derived"),
        Quantity("tokens_per_second", choice.speed, "tokens/s",
                 "peak * 1000000000 * efficiency / flops_per_token", "derived"),
        Quantity("batch_tokens", ask.batch_tokens, "tokens", "pretrain.batch_tokens", "given"),
        chosen("steps", choice.steps, "", "75 % of the training time * tokens_per_second / batch_tokens", ask.steps),
        Quantity("tokens", tokens, "tokens", "steps * batch_tokens", "derived"),
        Quantity("epochs", tokens / ask.unique_tokens, "", "tokens / unique_tokens", "derived"),
        Quantity("sft_batch_tokens", ask.sft_batch_tokens, "tokens", "sft.batch_tokens", "given"),
        Quantity("sft_tokens_per_second", choice.sft_speed, "tokens/s", "as above, at 384 tokens a row, logits for the answers only", "derived"),
        chosen("sft_steps", choice.sft_steps, "",
               "25 % of the training time * sft_tokens_per_second / sft_batch_tokens", ask.sft_steps),
        Quantity("sft_tokens", sft_tokens, "tokens", "sft_steps * sft_batch_tokens", "derived"),
        Quantity("loss", choice.loss, "nats/token", "E + A / parameters'^a + B / tokens'^b (plan/law.py)", "fitted"),
        Quantity("bits_per_byte", choice.loss / math.log(2) / bytes_per_token, "bits/byte",
                 "loss / 0.6931471805599453 / bytes_per_token", "derived"),
        *stages.quantities(choice.seconds),
        *memories,
        Quantity("memory_peak", peak, "bytes", "largest of the memory numbers", "derived"),
    ]  # fmt: skip
