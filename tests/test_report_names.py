"""Tables and pictures call tensors as people know them, as long as they stay apart."""

from __future__ import annotations

from tinygen.report.names import readable


def test_what_tools_append_is_left_out() -> None:
    names = ["image_QuantizeLinear_Output", "conv_QuantizeLinear_Output~nhwc~ordered", "x~int8", "y~part 0"]
    assert list(readable(names).values()) == ["image", "conv", "x", "y~part 0"]


def test_names_that_would_be_the_same_stay_whole() -> None:
    names = ["out_QuantizeLinear_Output", "out", "z", "~nhwc"]
    assert list(readable(names).values()) == names
    assert len(set(readable([*names, "z~nhwc", "z~int8"]).values())) == 6
