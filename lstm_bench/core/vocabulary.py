"""Words that configuration, records and reports share."""

from __future__ import annotations

AXES = ("layer", "units", "layers", "timesteps", "features", "batch", "dtype")
SIZES = ("units", "layers", "timesteps", "features", "batch")
# float32: IEEE products. tf32: float32 storage, TF32 products, on NVIDIA. bfloat16: Keras's mixed precision.
DTYPES = ("float32", "tf32", "bfloat16")
LAYERS = ("lstm", "gru", "simple_rnn", "bidirectional_lstm")

BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
OF_BACKEND = {
    "tensorflow": ("cudnn", "generic", "xla", "unrolled", "unrolled_xla"),
    "jax": ("cudnn", "generic", "unrolled"),
    "torch": ("cudnn", "fused", "generic"),
}

# inference: outputs. forward_backward: gradients of weights and inputs. train_step: gradients of weights, and the update.
OPERATIONS = ("inference", "forward_backward", "train_step")

# Arms of the kernel benchmark that are no kernel of ours: the framework without Keras, and its own layer.
NAMES = ("bare", "native")

# Reasons that are not the trial's own: its parameters run again under another number, without limit or study.max_retry times.
RETRY_UNLIMITED = ("driver_died", "interrupted", "pack_failed")
RETRY_LIMITED = ("worker_died", "oom_shared")
