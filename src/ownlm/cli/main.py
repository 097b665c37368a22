"""`ownlm <command>`: assembles the commands; turns a user's mistake into one clean block and its exit code.

Exit codes: 0 ok, 1 failed, 2 usage, 3 data, 4 artifact, 5 machine, 6 missing package, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import typer
from typer.exceptions import TyperException

from ownlm.cli import (
    answer,
    build,
    checkpoint,
    config,
    data,
    doctor,
    evaluate,
    inspect,
    model,
    plan,
    pretrain,
    profile,
    runs,
    scaling,
    serve,
    tokenizer,
)
from ownlm.cli.output import err, print_error
from ownlm.errors import OwnlmError

INTERRUPTED = 130

app = typer.Typer(
    name="ownlm",
    help="Own your language model: from a folder of text to an audited assistant.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor.doctor)
app.add_typer(plan.app, name="plan")
app.command()(build.build)
app.command()(build.quickstart)
app.command()(pretrain.pretrain)
app.command()(answer.generate)
app.command()(answer.chat)
app.command()(serve.serve)
app.command("eval")(evaluate.evaluate)
app.command()(inspect.trace)
app.command()(inspect.lineage)
app.command()(inspect.verify)
app.command()(inspect.card)
app.add_typer(data.app, name="data")
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(model.app, name="model")
app.add_typer(config.app, name="config")
app.add_typer(runs.app, name="runs")
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(scaling.app, name="scaling")
app.command()(profile.profile)


def main() -> None:
    # Threads that spin at a barrier halve the speed as soon as anything else wants a core; must be set before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except OwnlmError as error:
        print_error(error)
        code = error.exit_code
    except TyperException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        code = 0  # the reader of a pipe has seen enough
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
        err.print("interrupted: run the same command again to go on from the last checkpoint")
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
