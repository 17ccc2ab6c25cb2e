"""K trainings of one network in one JAX program: `vmap` over the training step, the data shared, everything else apart.

A member has weights, optimizer, random state, order of samples and learning rates of its own, and trains as it would alone, up
to the order in which floating-point sums are taken. What makes the network is common to all: sizes, batch size, optimizer and
dropout rate (a number in the program: trials that differ in it are packed apart, see `sweep/packing.py`). cuDNN's calls cannot be
mapped, so a pack runs `generic`, and whether it beats trainings one by one, on cuDNN where there is a GPU, is for measurement
to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lstm_bench.model import kernel
from lstm_bench.training.engine.base import Totals, by_length, filler, in_order, padded
from lstm_bench.training.engine.jax import JaxEngine, looped

KERNEL = "generic"  # what every pack runs


class Pack:
    """The members of a pack on one device; a `timer.Program` as far as training steps go.

    Args:
      engine: Of the network, its optimizer and its data, for the kernel `KERNEL`; it stays as it is.
      models: Fresh models of that network, each built under its member's seed; read one after another, then not needed.
    """

    def __init__(self, engine: JaxEngine, models: Iterable[Any]):
        import jax
        import jax.numpy as jnp

        self.engine, self.model = engine, engine.model
        self.steps_per_execution, self.buckets = engine.steps_per_execution, engine.buckets
        trainable, non_trainable = [], []
        for model in models:
            trainable.append([np.asarray(v.value) for v in model.trainable_variables])
            non_trainable.append([np.asarray(v.value) for v in model.non_trainable_variables])
        self.members = len(trainable)
        slots = [[np.asarray(start) for start in engine.slots]] * self.members
        self._values = tuple(
            [jnp.array(np.stack(value)) for value in zip(*group, strict=True)]
            for group in (trainable, non_trainable, slots)
        )
        self._forward = jax.jit(jax.vmap(engine.forward, in_axes=(0, 0, None, None)))
        self._programs: dict[int | None, Any] = {}
        self._warm = False
        self._kept: list[list[np.ndarray]] = []  # weights and random state of all members, see `keep`

    @property
    def penalised(self) -> bool:
        """See `Engine`."""
        return self.engine.penalised

    def _zeros(self) -> tuple[Any, ...]:
        return self.engine._zeros((self.members,))

    def _first_batch(self) -> Any:
        """What one call of the program gets besides the state."""
        rows = np.broadcast_to(np.arange(self.engine.batch_size), (1, self.members, self.engine.batch_size))
        return next(self.engine.calls("train_step", rows, np.full((1, self.members), self.engine.rate)))

    def compile(self, operation: str) -> None:
        """See `timer.Program`; there is no other operation."""
        import jax

        for timesteps in self.engine.buckets:
            steps = jax.vmap(self.engine.functions(timesteps)[operation], in_axes=(0, 0, None, None, 0, 0))
            # The loop is around all members: each of its turns is a step of every one.
            program = jax.jit(looped(steps) if self.engine.loop else steps, donate_argnums=(0, 1))
            batch = self._first_batch()
            traced = program.lower(self._values, self._zeros(), self.engine.given, self.engine.y, *batch)
            self._programs[timesteps] = traced.compile()

    def warm_up(self) -> None:
        """Compiles training and evaluation, unless that was done, and runs each once; the members stay untouched."""
        if self._warm:
            return
        self.compile("train_step")
        for timesteps in self.engine.buckets:
            self._values_of(timesteps)
        for timesteps in self.engine._evaluated():
            one = filler((1, timesteps, *self.engine.x.shape[2:]), self.engine.kind)
            self.logits(one, None if self.engine.true is None else np.array([timesteps], np.int32))
        self._warm = True

    def steps(self, indices: np.ndarray, rates: np.ndarray, timesteps: int | None = None) -> Totals:
        """Trains one step of every member per row of `indices` (steps, members, batch) at `rates` (steps, members).

        All members' sequences are cut to the same `timesteps`, see `Engine`.
        """
        return self._run(indices, rates, timesteps)[0]

    def _run(self, indices: np.ndarray, rates: np.ndarray, timesteps: int | None) -> tuple[Totals, np.ndarray]:
        totals, program = self._zeros(), self._programs[timesteps]
        for batch in self.engine.calls("train_step", indices, rates):
            self._values, totals, _ = program(self._values, totals, self.engine.given, self.engine.y, *batch)
        *counted, done = (np.asarray(total) for total in totals)
        return Totals(*counted), done

    def run(self, operation: str, rows: np.ndarray) -> int:
        """See `timer.Timed`: `rows` (steps, members * batch), so that samples are counted over all members."""
        apart, done = rows.reshape(len(rows), self.members, -1), 0
        rates = np.full(apart.shape[:2], self.engine.rate)
        for timesteps, some in self.engine.grouped(rows):
            done += int(self._run(apart[some], rates[some], timesteps)[1].min())
        return done

    def values(self, operation: str) -> list[np.ndarray]:
        """See `timer.Program`: of all members, stacked."""
        return self._values_of(self.engine.buckets[-1])

    def _values_of(self, timesteps: int | None) -> list[np.ndarray]:
        import jax
        import jax.numpy as jnp

        state, program = jax.tree.map(jnp.array, self._values), self._programs[timesteps]
        after, _, _ = program(state, self._zeros(), self.engine.given, self.engine.y, *self._first_batch())
        return [np.asarray(value) for value in after[0]]

    def kernel_evidence(self, operation: str) -> tuple[str, str]:
        """See `timer.Program`."""
        around = int(self.engine.loop)
        hlo = self._programs[self.engine.buckets[-1]].as_text()
        return kernel.ran_in_hlo(hlo, recurrent=self.engine.recurrent, around=around)

    @property
    def kernel_ran(self) -> str:
        """Kernel that trains."""
        return self.kernel_evidence("train_step")[0]

    @property
    def evidence(self) -> str:
        """What says so."""
        return self.kernel_evidence("train_step")[1]

    def logits(self, x: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """Inference: `(samples, timesteps, features)` -> logits `(members, samples, n_classes)`, float32; see `Engine`."""
        engine, size, weights = self.engine, self.engine.evaluation_batch_size, self._values[:2]
        if lengths is None:
            answers = (np.asarray(self._forward(*weights, batch, None))[:, :n] for batch, n in padded(x, size))
            return np.concatenate(list(answers), 1)
        batches = by_length(x, lengths, size, engine._evaluated())
        found = ((self._forward(*weights, batch, true), at) for batch, true, at in batches)
        return in_order(found, lengths, engine._answers_at(x))

    def keep(self, members: Sequence[int]) -> None:
        """Keeps the weights and random state of these members for `restore`, instead of what was kept of them before."""
        if not self._kept:
            self._kept = [[np.array(value) for value in group] for group in self._values[:2]]
        for group, values in zip(self._kept, self._values[:2], strict=True):
            for kept, value in zip(group, values, strict=True):
                kept[list(members)] = np.asarray(value)[list(members)]

    def restore(self) -> None:
        """Puts back what `keep` kept of each member; no training goes on from there."""
        import jax.numpy as jnp

        if self._kept:
            self._values = (*([jnp.array(value) for value in group] for group in self._kept), self._values[2])

    def sync_model(self, member: int) -> None:
        """Writes one member's values into the Keras model, for saving."""
        variables = (self.model.trainable_variables, self.model.non_trainable_variables)
        for group, values in zip(variables, self._values[:2], strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value[member])
