"""What a program says of each recurrent layer of a network: which kernel its step runs, and the line that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CUDNN, LOOP, UNROLLED, SCAN, UNKNOWN = "cudnn", "loop", "unrolled", "scan", "cannot say"
PROGRAM, RULE = "program", "rule, not program"
LONGEST = 240  # characters of a line of evidence
_FLOATS = re.compile(r"x?(?:bf16|f\d+)>")
_TENSORFLOW_FLOATS = {1: "float32", 2: "float64", 14: "bfloat16", 19: "float16"}  # DataType of TensorFlow
_CUDNN_FLOATS = ("float32", "float64", "float16")  # that its CudnnRNN operation is known to have a kernel for


@dataclass
class Layer:
    """A recurrent layer of a network, or a bidirectional one with both of its own.

    Attributes:
      name: As its family calls it.
      kind: Class of the layer, and of its cell where that is what is named.
      mark: What it is called while a program is traced: no other layer's name, nor the beginning of one.
    """

    name: str
    kind: str
    mark: str


@dataclass
class Found:
    """What a program does under a layer's mark.

    Attributes:
      cudnn: Calls of cuDNN, forwards.
      loops: Over timesteps.
      products: Of matrices.
      lines: Those that show it; of loops and calls.
      doubt: Why none of it counts; "" for nothing.
    """

    cudnn: int = 0
    loops: int = 0
    products: int = 0
    lines: list[str] = field(default_factory=list)
    doubt: str = ""


@dataclass
class Verdict:
    """Of a layer.

    Attributes:
      kernel: `cudnn`, `loop`, `unrolled`, `scan` or `cannot say`.
      evidence: The line of the program, or the rule.
      reason: Why nothing can be said; "" otherwise.
    """

    kernel: str
    evidence: str = ""
    reason: str = ""


def marked(model: Any) -> list[Layer]:
    """Gives each recurrent layer of a model a name that is found again in its programs.

    Args:
      model: Keras model, built and not traced yet.

    Returns:
      The layers, in the model's order; a bidirectional one counts once, as its two directions may be one call.
    """
    import keras

    found: list[Layer] = []
    inner: set[int] = set()
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if id(layer) in inner or not (parts := recurrent_parts(layer)):
            continue
        kind = type(layer).__name__
        if parts != [layer]:  # a wrapper: its own name stands in the programs, and perhaps no other
            inner |= {id(one) for one in layer._flatten_layers(include_self=False, recursive=True)}
            kind += f"({type(parts[0]).__name__})"
        elif type(layer) is keras.layers.RNN:
            kind += f"({type(layer.cell).__name__})"
        made = Layer(layer.name, kind, f"recurrent{len(found)}layer")
        layer.name = made.mark
        found.append(made)
    return found


def recurrent_parts(layer: Any) -> list[Any]:
    """The recurrent layers that a layer is or wraps: two of a bidirectional one; none of any other."""
    import keras

    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    if isinstance(layer, keras.layers.TimeDistributed):
        return recurrent_parts(layer.layer)
    return [layer] if isinstance(layer, keras.layers.RNN) else []


def judged(layers: Sequence[Layer], found: Mapping[str, Found], timesteps: int, loop: str) -> list[Verdict]:
    """The verdict on each layer.

    Args:
      layers: Of `marked`.
      found: By mark.
      timesteps: Of the shortest sequence that one runs over: an unrolled layer has at least as many products.
      loop: What a loop of this backend is called: `loop` or `scan`.
    """
    verdicts = [_judged(found.get(layer.mark, Found()), timesteps, loop) for layer in layers]
    for layer, one in zip(layers, verdicts, strict=True):
        one.evidence = one.evidence.replace(layer.mark, layer.name)
    return verdicts


def _judged(found: Found, timesteps: int, loop: str) -> Verdict:
    evidence = found.lines[0] if found.lines else ""
    if found.doubt:
        return Verdict(UNKNOWN, evidence, found.doubt)
    if found.cudnn and found.loops:
        return Verdict(UNKNOWN, evidence, f"{found.cudnn} calls of cuDNN and {found.loops} loops in one layer")
    if found.cudnn:
        return Verdict(CUDNN, evidence)
    if found.loops:
        return Verdict(loop, evidence)
    if found.products >= timesteps > 1:
        return Verdict(UNROLLED, f"{found.products} matrix products, no loop, for {timesteps} timesteps")
    return Verdict(
        UNKNOWN, evidence, f"{found.products} matrix products and neither loop nor cuDNN under the layer's name"
    )


def shortened(line: str) -> str:
    """One line of a program, without what only fills it."""
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 4] + " ..."


def _under(path: str, layers: Iterable[Layer], found: dict[str, Found]) -> Found:
    """What is counted for the layer that a path runs through; of none, for "": others' loops and calls."""
    mark = next((layer.mark for layer in layers if layer.mark in path), "")
    return found.setdefault(mark, Found())


def in_stablehlo(module: Any, layers: Sequence[Layer]) -> dict[str, Found]:
    """What a JAX program does under each layer's mark, read from its operations; functions count as often as they are called.

    Args:
      module: MLIR module of the lowered step, `Lowered.compiler_ir("stablehlo")`.
      layers: Of `marked`.
    """
    functions = {str(one.attributes["sym_name"]).strip('"'): one for one in module.body.operations}
    found: dict[str, Found] = {}

    def visit(owner: Any, path: str) -> None:
        for operation in (one.operation for region in owner.regions for block in region for one in block):
            known = re.match(r'loc\("([^"]*)"', str(operation.location))
            here = f"{path}/{known[1]}" if known else path
            own, name = _under(here, layers, found), operation.name
            if name == "stablehlo.custom_call":
                target = str(operation.attributes["call_target_name"]).strip('"')
                own.cudnn += target == "cudnn_rnn_ffi"
                if "dnn_rnn" in target:
                    types = str(operation).rpartition(" : ")[2]
                    own.lines.append(
                        shortened(f"stablehlo.custom_call @{target} at {here.removeprefix('/')} : {types}")
                    )
            elif name == "stablehlo.while" and any(_FLOATS.search(str(one.type)) for one in operation.results):
                # A recurrence carries floating-point numbers; XLA's random generator, in a loop of its own, whole ones.
                own.loops += 1
                types = ", ".join(sorted({str(one.type) for one in operation.results}))
                own.lines.append(shortened(f"stablehlo.while at {here.removeprefix('/')} over {types}"))
            elif name == "stablehlo.dot_general":
                own.products += 1
            if name == "func.call":
                visit(functions[str(operation.attributes["callee"]).strip("@")], here)
            else:
                visit(operation, here)

    visit(functions["main"], "")
    return found


def in_graph(graph: Any, layers: Sequence[Layer]) -> dict[str, Found]:
    """What a TensorFlow step does under each layer's mark.

    Args:
      graph: GraphDef of the traced step. What runs inside of functions of its library belongs to the nodes that call them;
        a call of cuDNN there is nobody's, and every layer is in doubt.
      layers: Of `marked`.
    """
    found: dict[str, Found] = {}
    for node in graph.node:
        own = _under(node.name, layers, found)
        if node.op.startswith("CudnnRNN"):
            own.cudnn += "Backprop" not in node.op
            dtype = _TENSORFLOW_FLOATS.get(node.attr["T"].type, "another type")
            own.lines.append(f"{node.op} {node.name} T={dtype}")
            if dtype not in _CUDNN_FLOATS:
                own.doubt = f"the program calls {node.op} in {dtype}, for which no kernel is known here"
        elif node.op in ("While", "StatelessWhile"):
            own.loops += 1
            own.lines.append(f"{node.op} {node.name}")
        elif node.op == "Assert":
            own.lines.append(f"Assert {node.name}: fails where padding is not on the right")
        own.products += node.op == "MatMul"
    hidden = [node.op for f in graph.library.function for node in f.node_def if node.op.startswith("CudnnRNN")]
    for layer in layers if hidden else ():
        found.setdefault(layer.mark, Found()).doubt = f"{hidden[0]} inside a function of the graph's library"
    for own in found.values():  # what decides comes first, and the assertion belongs behind it
        asserted = [line for line in own.lines if line.startswith("Assert")]
        rest = [line for line in own.lines if not line.startswith("Assert")]
        own.lines = ["; ".join([rest[0], *asserted])] if rest else asserted
    return found
