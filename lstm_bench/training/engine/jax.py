"""The engine of JAX: ahead-of-time compiled programs, dispatched without waiting; the host reads once per call.

A program is one step, or a loop of up to `MAX_STEPS` training steps: the loop saves the calls, but XLA on a CPU runs convolutions
inside it slowly (`cnn_lstm` loses a quarter, `simple_rnn` gains a fifth), so which is faster is for measurement to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_bench.model import kernel as kernels
from lstm_bench.training.engine.base import Base, Totals, penalty, to_device


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

    def _load(self, x: np.ndarray, y: np.ndarray) -> None:
        import jax

        self.x, self.y = to_device(x, y, jax.device_put)  # on a CPU without a copy of what workers share
        self._programs: dict[str, Any] = {}
        model, optimizer, criterion = self.model, self.optimizer, self.criterion
        rate_at = next(i for i, variable in enumerate(optimizer.variables) if variable is optimizer.learning_rate)

        def loss_of(trainable: Any, inputs: Any, non_trainable: Any, y: Any, batch: Any) -> Any:
            outputs, non_trainable, own = model.stateless_call(
                trainable, non_trainable, inputs, training=True, return_losses=True
            )
            loss, correct = criterion(y, batch, outputs)
            self.penalised = bool(own)
            added = penalty(own)
            return loss + added if own else loss, (loss, correct, added, non_trainable)

        def added_up(totals: Any, *more: Any) -> Any:
            """Totals of loss, labels predicted right, penalty, and steps done, with those of one more step."""
            return *(total + one for total, one in zip(totals, more, strict=False)), totals[3] + 1

        def inference(state: Any, totals: Any, x: Any, y: Any, batch: Any, rate: Any) -> Any:
            outputs, _ = model.stateless_call(state[0], state[1], x[batch], training=False)
            return None, added_up(totals, 0, 0, 0), [outputs]

        def forward_backward(state: Any, totals: Any, x: Any, y: Any, batch: Any, rate: Any) -> Any:
            trainable, non_trainable, _ = state
            (_, (*counted, _)), (gradients, of_inputs) = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(
                trainable, x[batch], non_trainable, y, batch
            )
            return None, added_up(totals, *counted), [*gradients, of_inputs]

        def train_step(state: Any, totals: Any, x: Any, y: Any, batch: Any, rate: Any) -> Any:
            trainable, non_trainable, slots = state
            (_, (*counted, non_trainable)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
                trainable, x[batch], non_trainable, y, batch
            )
            slots = [*slots[:rate_at], rate, *slots[rate_at + 1 :]]
            trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, non_trainable, slots), added_up(totals, *counted), []

        def forward(trainable: Any, non_trainable: Any, inputs: Any) -> Any:
            return model.stateless_call(trainable, non_trainable, inputs, training=False)[0]

        self.loop = self.steps_per_execution > 1
        # Totals go from step to step, so that no two steps can run at once.
        self._steps = {
            "inference": jax.jit(inference, donate_argnums=(1,)),
            "forward_backward": jax.jit(forward_backward, donate_argnums=(1,)),
            "train_step": jax.jit(looped(train_step) if self.loop else train_step, donate_argnums=(0, 1)),
        }
        self._forward_function = jax.jit(forward)
        self._functions = train_step, forward
        self.reset(model)

    def functions(self) -> tuple[Any, Any]:
        """Training step `(state, totals, x, y, batch, rate)` and inference `(trainable, non_trainable, inputs)`, not traced."""
        return self._functions

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

    def compile(self, operation: str) -> None:
        given = next(self.calls(operation, self._first_batch()[None], np.array([self.rate])))
        traced = self._steps[operation].lower(self._values, self._zeros(), self.x, self.y, *given)
        self._programs[operation] = traced.compile()

    def lowered(self, operation: str, platform: str) -> Any:
        """The program of one call as JAX lowers it for a platform that need not be here, such as "cuda"; not compiled."""
        given = next(self.calls(operation, self._first_batch()[None], np.array([self.rate])))
        traced = self._steps[operation].trace(self._values, self._zeros(), self.x, self.y, *given)
        return traced.lower(lowering_platforms=(platform,))

    def _kernel_evidence(self, operation: str) -> tuple[str, str]:
        around = int(self.loop and operation == "train_step")
        return kernels.ran_in_hlo(self._programs[operation].as_text(), recurrent=self.recurrent, around=around)

    def _run(self, operation: str, rows: np.ndarray, rates: np.ndarray) -> tuple[Totals, int]:
        import jax

        program, totals, kept = self._programs[operation], self._zeros(), []
        for given in self.calls(operation, rows, rates):
            state, totals, kept = program(self._values, totals, self.x, self.y, *given)
            self._values = state or self._values
        jax.block_until_ready((totals, kept))
        *counted, done = (number.item() for number in totals)
        return Totals(*counted), done

    def memory_bytes(self, operation: str) -> int:
        """What the compiled program holds at once: arguments, results and temporaries."""
        return kernels.program_bytes(self._programs[operation])

    def values(self, operation: str) -> list[np.ndarray]:
        import jax
        import jax.numpy as jnp

        state = jax.tree.map(jnp.array, self._values)
        given = next(self.calls(operation, self._first_batch()[None], np.array([self.rate])))
        after, _, kept = self._programs[operation](state, self._zeros(), self.x, self.y, *given)
        return [np.asarray(value, np.float32) for value in (after[0] if operation == "train_step" else kept)]

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(self._forward_function(self._values[0], self._values[1], batch))

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
