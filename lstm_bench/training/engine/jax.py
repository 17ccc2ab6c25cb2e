"""The engine of JAX: ahead-of-time compiled programs, dispatched without waiting; the host reads once per call.

A program is one step, or a loop of up to `MAX_STEPS` training steps: the loop saves the calls, but XLA on a CPU runs convolutions
inside it slowly (`cnn_lstm` loses a quarter, `simple_rnn` gains a fifth), so which is faster is for measurement to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_bench.model import kernel
from lstm_bench.model.network import without_mask
from lstm_bench.training.engine.base import Base, Totals, cut, judged, penalty, to_device


def looped(step: Any) -> Any:
    """A program of the first `n` of the steps that it is given batches and rates for, from a function of one step."""
    import jax

    def steps(state: Any, totals: Any, x: Any, y: Any, batches: Any, rates: Any, n: Any) -> Any:
        def body(at: Any, carry: Any) -> Any:
            state, totals, _ = step(*carry, x, y, batches[at], rates[at])
            return state, totals

        return *jax.lax.fori_loop(0, n, body, (state, totals)), []

    return steps


class JaxEngine(Base):
    """Holds weights, state and optimizer slots apart from the model, which `sync_model` brings up to date."""

    def _load(self, x: np.ndarray, y: np.ndarray, true: np.ndarray | None) -> None:
        import jax

        self.x, self.y, self.true = to_device(jax.device_put, x, y, true)  # on a CPU no copy of what workers share
        self._programs: dict[tuple[str, int | None], Any] = {}
        self.loop = self.steps_per_execution > 1
        self._forward_function = jax.jit(self.forward)
        self.reset(self.model)

    @property
    def given(self) -> Any:
        """What a step draws its batch from: all inputs, with their lengths where those differ."""
        return self.x if self.true is None else (self.x, self.true)

    def _called(self, trainable: Any, non_trainable: Any, inputs: Any, mask: Any, **options: Any) -> Any:
        """`stateless_call`; with a mask, 0 is read where there is no timestep."""
        import jax.numpy as jnp

        if mask is None:
            return self.model.stateless_call(trainable, non_trainable, inputs, **options)
        inputs = jnp.where(mask[..., None], inputs, 0.0)
        outputs, *more = self.model.stateless_call(trainable, non_trainable, inputs, mask=mask, **options)
        return without_mask(outputs), *more

    def forward(self, trainable: Any, non_trainable: Any, inputs: Any, true: Any = None) -> Any:
        """Inference, not traced: a batch, and the lengths in it where those differ."""
        mask = None if true is None else cut(inputs, true, inputs.shape[1])[1]
        return self._called(trainable, non_trainable, inputs, mask, training=False)[0]

    def functions(self, timesteps: int | None) -> dict[str, Any]:
        """Each operation's step `(state, totals, given, y, batch, rate)` on sequences cut to `timesteps`, not traced."""
        import jax

        optimizer, criterion = self.optimizer, self.criterion
        rate_at = next(i for i, variable in enumerate(optimizer.variables) if variable is optimizer.learning_rate)

        def inputs_of(given: Any, batch: Any) -> tuple[Any, Any]:
            if timesteps is None:
                return given[batch], None
            x, true = given
            return cut(x[batch], true[batch], timesteps)

        def loss_of(trainable: Any, inputs: Any, non_trainable: Any, mask: Any, y: Any, batch: Any) -> Any:
            outputs, non_trainable, own = self._called(
                trainable, non_trainable, inputs, mask, training=True, return_losses=True
            )
            loss, correct = judged(criterion, y, batch, outputs, mask)
            self.penalised = bool(own)
            added = penalty(own)
            return loss + added if own else loss, (loss, correct, added, non_trainable)

        def added_up(totals: Any, *more: Any) -> Any:
            """Totals of loss, labels predicted right, penalty, and steps done, with those of one more step."""
            return *(total + one for total, one in zip(totals, more, strict=False)), totals[3] + 1

        def inference(state: Any, totals: Any, given: Any, y: Any, batch: Any, rate: Any) -> Any:
            outputs = self._called(state[0], state[1], *inputs_of(given, batch), training=False)[0]
            return None, added_up(totals, 0, 0, 0), [outputs]

        def forward_backward(state: Any, totals: Any, given: Any, y: Any, batch: Any, rate: Any) -> Any:
            trainable, non_trainable, _ = state
            inputs, mask = inputs_of(given, batch)
            (_, (*counted, _)), (gradients, of_inputs) = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(
                trainable, inputs, non_trainable, mask, y, batch
            )
            return None, added_up(totals, *counted), [*gradients, of_inputs]

        def train_step(state: Any, totals: Any, given: Any, y: Any, batch: Any, rate: Any) -> Any:
            trainable, non_trainable, slots = state
            inputs, mask = inputs_of(given, batch)
            (_, (*counted, non_trainable)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                trainable, inputs, non_trainable, mask, y, batch
            )
            slots = [*slots[:rate_at], rate, *slots[rate_at + 1 :]]
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, non_trainable, slots), added_up(totals, *counted), []

        return {"inference": inference, "forward_backward": forward_backward, "train_step": train_step}

    def reset(self, model: Any) -> None:
        import jax.numpy as jnp

        # Copies: the step donates its state, and the model's own variables must outlive it.
        weights = (
            [jnp.array(v.value) for v in group] for group in (model.trainable_variables, model.non_trainable_variables)
        )
        self._values = (*weights, [jnp.array(start) for start in self.slots])

    def _zeros(self, shape: tuple[int, ...] = ()) -> tuple[Any, ...]:
        import jax.numpy as jnp

        kinds = (jnp.float32, jnp.int32, jnp.float32, jnp.int32)  # loss, labels right, penalty, steps
        return tuple(jnp.zeros(shape, kind) for kind in kinds)

    def calls(self, operation: str, rows: np.ndarray, rates: np.ndarray) -> Any:
        """What each call of a program gets besides the state: small host arrays, which cost less than ones placed before."""
        rows, rates = rows.astype(np.int32), rates.astype(np.float32)
        if operation != "train_step" or not self.loop:
            yield from zip(rows, rates, strict=True)
            return
        size = self.steps_per_execution
        for start in range(0, len(rows), size):
            n = len(rows[start : start + size])
            some = np.zeros((size, *rows.shape[1:]), np.int32), np.zeros((size, *rates.shape[1:]), np.float32)
            some[0][:n], some[1][:n] = rows[start : start + n], rates[start : start + n]
            yield *some, np.int32(n)

    def _compile(self, operation: str, timesteps: int | None) -> None:
        program, given = self._jitted(operation, timesteps)
        self._programs[operation, timesteps] = program.lower(*given).compile()

    def _jitted(self, operation: str, timesteps: int | None) -> tuple[Any, tuple[Any, ...]]:
        """A program that is not compiled, and what its first call gets."""
        import jax

        step, trains = self.functions(timesteps)[operation], operation == "train_step"
        # Totals go from step to step, so that no two steps can run at once.
        program = jax.jit(looped(step) if trains and self.loop else step, donate_argnums=(0, 1) if trains else (1,))
        batch = next(self.calls(operation, self._first_batch()[None], np.array([self.rate])))
        return program, (self._values, self._zeros(), self.given, self.y, *batch)

    def lowered(self, operation: str, platform: str) -> Any:
        """The longest program as JAX lowers it for a platform that need not be here, such as "cuda"; not compiled."""
        program, given = self._jitted(operation, self.buckets[-1])
        return program.trace(*given).lower(lowering_platforms=(platform,))

    def _kernel_evidence(self, operation: str, timesteps: int | None, run_over: int) -> tuple[str, str]:
        around = int(self.loop and operation == "train_step")
        hlo = self._programs[operation, timesteps].as_text()
        return kernel.ran_in_hlo(hlo, recurrent=self.recurrent, around=around)

    def _run(
        self, operation: str, rows: np.ndarray, rates: np.ndarray, timesteps: int | None = None
    ) -> tuple[Totals, int]:
        import jax

        program, totals, kept = self._programs[operation, timesteps], self._zeros(), []
        for batch in self.calls(operation, rows, rates):
            state, totals, kept = program(self._values, totals, self.given, self.y, *batch)
            self._values = state or self._values
        jax.block_until_ready((totals, kept))
        *counted, done = (number.item() for number in totals)
        return Totals(*counted), done

    def memory_bytes(self, operation: str) -> int:
        """What the compiled program holds at once: arguments, results and temporaries."""
        return kernel.program_bytes(self._programs[operation, self.buckets[-1]])

    def _values_of(self, operation: str, timesteps: int | None) -> list[np.ndarray]:
        import jax
        import jax.numpy as jnp

        state = jax.tree.map(jnp.array, self._values)
        batch = next(self.calls(operation, self._first_batch()[None], np.array([self.rate])))
        after, _, kept = self._programs[operation, timesteps](state, self._zeros(), self.given, self.y, *batch)
        return [np.asarray(value, np.float32) for value in (after[0] if operation == "train_step" else kept)]

    def _forward(self, batch: np.ndarray, true: np.ndarray | None = None) -> np.ndarray:
        return np.asarray(self._forward_function(self._values[0], self._values[1], batch, true))

    def weights(self) -> list[np.ndarray]:
        return [np.array(value) for group in self._values[:2] for value in group]

    def restore(self, weights: list[np.ndarray]) -> None:
        import jax.numpy as jnp

        split, values = len(self._values[0]), [jnp.array(value) for value in weights]
        self._values = (values[:split], values[split:], self._values[2])

    def sync_model(self) -> None:
        """See `Engine`."""
        variables = (self.model.trainable_variables, self.model.non_trainable_variables)
        for group, values in zip(variables, self._values[:2], strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
