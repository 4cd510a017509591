"""``onnx``: the encoder as a graph that needs no PyTorch, for any number of images."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from covary.errors import InputError
from covary.export import difference
from covary.export.packages import need
from covary.export.state_dict import says
from covary.export.trained import Trained
from covary.export.written import Exported
from covary.rundir import write_atomic
from covary.version import __version__


def write_onnx(trained: Trained, out: Path) -> Exported:
    """Write the graph: ``images`` float32 (n, 3, s, s), normalised, to ``features`` float32 (n, D).

    Its metadata say how images are made. onnxruntime computes features of 1, 2 and 7 images on the CPU before the file
    is written.

    Raises InputError: packages are missing, the encoder has an operation that ONNX lacks, or features differ.
    """
    need("onnx", "onnxruntime", "onnxscript", extra="export", format="onnx")
    content = _graph(trained)
    found = difference.of_encoders(trained.encoder, _runtime(content), size=trained.size)
    difference.check(found, difference.GRAPH, format="onnx")
    write_atomic(out, content)
    lines = (
        "import onnxruntime",
        f"session = onnxruntime.InferenceSession({str(out)!r})",
        f'model = lambda images: session.run(None, {{"images": images}})[0]'
        f"  # numpy float32 (n, 3, {trained.size}, {trained.size})",
    )
    return Exported(path=out, bytes=len(content), difference=found, lines=lines)


def _graph(trained: Trained) -> bytes:
    try:
        program = torch.onnx.export(
            trained.encoder,
            (torch.zeros(2, 3, trained.size, trained.size),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("images")},),
            input_names=["images"],
            output_names=["features"],
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"Encoder '{trained.name}' has no form in ONNX ({reason}); export it in another format."
        ) from error
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    _forget_sources(model)
    model.producer_name, model.producer_version = "covary", __version__
    for name, value in says(trained).items():
        if name != "format":
            model.metadata_props.add(key=name, value=value)
    return model.SerializeToString()


def _forget_sources(model: object) -> None:
    """Remove what torch notes at every node and value: stack traces with the paths of this machine."""
    from onnx import GraphProto, ModelProto

    assert isinstance(model, ModelProto)
    graph: GraphProto = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _runtime(content: bytes) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])
