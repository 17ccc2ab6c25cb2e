"""What may differ between two sessions of one study, or of one benchmark."""

from __future__ import annotations

# What may differ when a study is resumed: how much, how long, where; never what.
MAY_CHANGE = (
    *("study.n_trials", "study.confirm", "study.replicates", "study.max_failed", "study.max_retry"),
    *(
        "study.timeout",
        "study.trial_timeout",
        "study.description",
        "study.campaign",
        "dataset.dir",
        "dataset.path",
        "dataset.test_path",
        "dataset.fallback",
    ),
    *("launcher.", "storage.", "tracking.", "kernel.probe", "kernel.remember", "study.shared", "controls"),
)

# What may differ between the sessions of one benchmark.
FREE = ("arms", "tracking", "grid", "method.rounds")
# What must not: numbers of two machines or versions are not one table.
MACHINE = (
    *("lstm_bench", "python", "device.name", "device.kind", "device.cpu", "device.cores", "device.driver"),
    *(f"packages.{name}" for name in ("tensorflow", "keras", "jax", "jaxlib", "torch", "numpy")),
    *(f"packages.nvidia-cudnn-{cuda}" for cuda in ("cu12", "cu13")),
)
