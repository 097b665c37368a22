"""What is compared has equal parameters and differs in one part."""

import pytest

from ownlm.model.comparisons import lines
from ownlm.model.decoder import Decoder


@pytest.mark.parametrize("width", [64, 128])
def test_every_line_has_equal_parameters(width: int) -> None:
    for name, line in lines(width, 4, 320).items():
        sizes = {model: shape.num_parameters() for model, shape in line.items()}
        assert max(sizes.values()) <= 1.03 * min(sizes.values()), f"{name}: {sizes}"


def test_caches_shrink_along_the_attention_line() -> None:
    sizes = {
        name: Decoder(shape).cache_bytes_per_token() for name, shape in lines(64, 4, 320)["attention"].items()
    }
    assert sizes["MHA"] > sizes["GQA"] > sizes["MQA"] and sizes["MLA"] < sizes["MHA"] / 4
    assert sizes["hybrid"] == sizes["MHA"] / 4, "one layer in four keeps keys and values"
