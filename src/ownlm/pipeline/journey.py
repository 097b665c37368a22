"""One build on its way: where it happens, what was chosen, and the artifacts made so far.

`Journey.make` is how every stage becomes an artifact: skipped when it is there unchanged, else made and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownlm.config import Resolved
from ownlm.pipeline.config import BuildSettings
from ownlm.plan.plan import Plan
from ownlm.runtime import artifact
from ownlm.runtime.artifact import Manifest, Stage
from ownlm.runtime.progress import clock
from ownlm.runtime.runlog import RunLog


@dataclass(slots=True)
class Journey:
    root: Path
    resolved: Resolved[BuildSettings]
    log: RunLog
    say: Callable[[str], None]  # one line to the user
    made: dict[str, Manifest] = field(default_factory=dict)
    plan: Plan | None = None

    @property
    def settings(self) -> BuildSettings:
        return self.resolved.value

    def make(
        self, name: str, inputs: tuple[str, ...], config: Mapping[str, Any], work: Callable[[Stage], None],
        watch: object = None,
    ) -> Manifest:  # fmt: skip
        """Make the artifact `name` from earlier ones, or find that it is there already."""
        given = {label: self.made[label] for label in inputs}

        def logged(stage: Stage) -> None:
            self.log.write("stage", stage=name, state="resumed" if stage.resumed else "started")
            work(stage)

        manifest, ran = artifact.run(self.root, name, name, given, config, logged, self.say, watch)
        self.made[name] = manifest
        self.log.write("stage", stage=name, state="done" if ran else "unchanged", digest=manifest.digest,
                       seconds=manifest.cost["measured"]["seconds"])  # fmt: skip
        if not ran:
            self.say(
                f"{name:<12} unchanged, not made again (took {clock(manifest.cost['measured']['seconds'])} then)"
            )
        return manifest
