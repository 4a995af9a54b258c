"""oneDNN's products are used only where they are float32."""

import pytest
import torch

from tuneproof.models import matmul_backend as kernels


@pytest.fixture(autouse=True)
def _as_before():
    precision = torch.get_float32_matmul_precision()
    flash = torch.backends.cuda.flash_sdp_enabled()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cuda.enable_flash_sdp(flash)


@pytest.fixture(autouse=True)
def _of_another_maker(monkeypatch):
    monkeypatch.setattr(kernels, "_is_intel", lambda: False)


def test_on_intels_processors_the_default_stays(monkeypatch):
    monkeypatch.setattr(kernels, "_is_intel", lambda: True)
    torch.set_float32_matmul_precision("medium")
    assert kernels.choose_matmul("cpu", longest=10).endswith("on an Intel processor.")
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.flash_sdp_enabled()


def test_the_maker_is_read_from_the_processors_own_words(monkeypatch):
    monkeypatch.undo()
    for words, intel in (("vendor_id : GenuineIntel", True), ("vendor_id : AuthenticAMD", False)):
        with monkeypatch.context() as here:
            here.setattr(kernels.Path, "read_text", lambda *_, words=words: words)
            assert kernels._is_intel() is intel


def test_the_chosen_products_are_float32():
    said = kernels.choose_matmul("cpu")
    assert kernels._largest_error() <= kernels.FLOAT32_ERROR
    assert torch.get_float32_matmul_precision() == ("medium" if "oneDNN (medium), r" in said else "highest")


def test_a_processor_that_would_round_keeps_the_default(monkeypatch):
    errors = iter([2.5e-7, 2.9e-3])
    monkeypatch.setattr(kernels, "_largest_error", lambda: next(errors))
    said = kernels.choose_matmul("cpu", longest=10)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.flash_sdp_enabled()
    assert said.endswith("oneDNN (medium) would round, 2.9e-03.")


@pytest.mark.parametrize(
    ("intel", "error", "kept"), [(True, 3e-7, False), (False, 3e-7, True), (False, 3e-3, False)]
)
def test_kernels_are_kept_where_onednn_is_chosen(monkeypatch, intel, error, kept):
    monkeypatch.setattr(kernels, "_is_intel", lambda: intel)
    monkeypatch.setattr(kernels, "_largest_error", lambda: error)
    torch.set_float32_matmul_precision("high")
    assert kernels.uses_onednn() is kept
    assert torch.get_float32_matmul_precision() == "high", "asking changes nothing"
    assert ("oneDNN (medium), r" in kernels.choose_matmul("cpu")) is kept


def test_bfloat16_would_be_noticed():
    left, right = torch.randn(64, 384), torch.randn(384, 64)
    exact = left.double() @ right.double()
    rounded = (left.bfloat16() @ right.bfloat16()).double()
    assert (rounded - exact).norm() / exact.norm() > 1000 * kernels.FLOAT32_ERROR


def test_a_gpu_keeps_true_float32():
    torch.set_float32_matmul_precision("medium")
    assert kernels.choose_matmul("cuda").endswith("default (highest).")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("longest", "fused"), [(128, False), (129, True)])
@pytest.mark.parametrize("before", [False, True])
def test_longer_items_are_predicted_fused_and_what_was_chosen_returns(before, longest, fused):
    torch.backends.cuda.enable_flash_sdp(before)
    with kernels.attention_for(longest):
        assert torch.backends.cuda.flash_sdp_enabled() == (before or fused)
    assert torch.backends.cuda.flash_sdp_enabled() == before


@pytest.mark.parametrize(("longest", "fused"), [(128, False), (129, True), (None, True)])
def test_attention_is_unfused_on_short_items_alone(monkeypatch, longest, fused):
    monkeypatch.setattr(kernels, "_largest_error", lambda: 3e-7)
    said = kernels.choose_matmul("cpu", longest)
    assert torch.backends.cuda.flash_sdp_enabled() == fused
    assert said.endswith("attention fused." if fused else "attention unfused.")
