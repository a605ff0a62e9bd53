"""Float models to int8 ones: calibration data, the frameworks' own quantisers, and what quantising cost.

wish = quantize.Wish(Path("samples.npz"))
made = quantize.quantise(Path("model.onnx"), wish, Path("model_int8.onnx"), "qemu-mps2-an386")
made.data, made.figures, made.advice

Nothing here decides how a number is rounded: TensorFlow's converter, ai-edge-quantizer or ONNX Runtime write the int8
model. What is measured is measured by running the float model and the int8 model side by side.
"""

from tinygen.quantize.job import Choices
from tinygen.quantize.quantising import Progress, Quantised, quantise
from tinygen.quantize.reading import Wish

__all__ = ["Choices", "Progress", "Quantised", "Wish", "quantise"]
