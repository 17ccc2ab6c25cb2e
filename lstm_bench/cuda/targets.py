"""GPUs that programs are compiled for where there is none: what XLA's compiler asks of one.

XLA is given a target description instead of a device: its own of these cards (openxla/xla, `h200`, `h100_sxm`, `a100_sxm_80` of
`xla/backends/gpu/target_config/specs`), of which the limits of a block, the number of cores, their clock and the memory are
written here, as no wheel holds them. From NVIDIA's data sheets comes `tf32`: products without sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

_SAME = """
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
"""


@dataclass(frozen=True)
class Target:
    """A GPU.

    Attributes:
      name: As NVIDIA calls it.
      capability: Compute capability, major and minor.
      cores: Streaming multiprocessors.
      fpus: Float32 units of each.
      clock_ghz: Of the cores.
      memory: Bytes.
      bandwidth: Of the memory, bytes/s.
      cache: Second level, bytes.
      shared: Shared memory of a core, bytes.
      shared_of_block: The most that one block may ask for, bytes.
      tf32: Peak of TF32 products, FLOP/s, from the data sheet.
    """

    name: str
    capability: tuple[int, int]
    cores: int
    fpus: int
    clock_ghz: float
    memory: int
    bandwidth: float
    cache: int
    shared: int
    shared_of_block: int
    tf32: float

    @property
    def description(self) -> str:
        """The text of XLA's `GpuTargetConfigProto`."""
        major, minor = self.capability
        return f"""
gpu_device_info {{{_SAME}
  core_count: {self.cores}
  fpus_per_core: {self.fpus}
  clock_rate_ghz: {self.clock_ghz}
  memory_bandwidth: {self.bandwidth:.0f}
  device_memory_size: {self.memory}
  l2_cache_size: {self.cache}
  shared_memory_per_core: {self.shared}
  shared_memory_per_block_optin: {self.shared_of_block}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "{self.name}"
"""


_HOPPER = {
    **{"capability": (9, 0), "cores": 132, "fpus": 128, "clock_ghz": 1.98, "cache": 52428800, "shared": 233472},
    **{"shared_of_block": 232448, "tf32": 494.7e12},
}
TARGETS = {
    "H200": Target("NVIDIA H200", memory=151397597184, bandwidth=4.8e12, **_HOPPER),  # type: ignore[arg-type]
    "H100": Target("NVIDIA H100 80GB HBM3", memory=84942979072, bandwidth=3.35232e12, **_HOPPER),  # type: ignore[arg-type]
    "A100": Target(
        "NVIDIA A100-SXM4-80GB",
        capability=(8, 0),
        cores=108,
        fpus=64,
        clock_ghz=1.41,
        memory=85100068864,
        bandwidth=2.03904e12,
        cache=41943040,
        shared=167936,
        shared_of_block=166912,
        tf32=156e12,
    ),
}
