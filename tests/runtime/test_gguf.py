"""The GGUF header reader: equal to the gguf package on what is whole, a clear error on what is not."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ownlm.errors import ArtifactError
from ownlm.runtime.gguf import GGML_TYPES, MAX_DIMENSIONS, read_header


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def tensor(name: str, sizes: list[int], kind: int, offset: int) -> bytes:
    return string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def file(
    path: Path, keys: list[bytes], tensors: list[bytes], data: int = 0, counts: tuple[int, int] | None = None
) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", 3, *(counts or (len(tensors), len(keys)))) + b"".join(keys + tensors)
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(data))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Written by the gguf package: every kind of value, three tensors."""
    import gguf

    path = tmp_path / "whole.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("a.u8", 200)
    writer.add_int32("a.i32", -5)
    writer.add_float32("a.f32", 0.5)
    writer.add_bool("a.flag", True)
    writer.add_string("a.text", "grüß")
    writer.add_array("a.names", ["x", "", "中"])
    writer.add_array("a.numbers", [1, 2, 3])
    writer.add_uint64("a.u64", 2**63 + 1)
    writer.add_tensor("one", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("two", np.ones((5,), dtype=np.float16))
    writer.add_tensor("three", np.zeros((2, 34), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def check_against_reference(path: Path) -> None:
    import gguf

    ours, other = read_header(path), gguf.GGUFReader(path)
    assert set(ours.tensors) == {tensor.name for tensor in other.tensors}
    for tensor_ in other.tensors:
        info = ours.tensors[tensor_.name]
        assert info.shape == tuple(int(n) for n in tensor_.shape)[::-1]
        assert (info.ggml_type, info.offset, info.num_bytes) == (
            int(tensor_.tensor_type), int(tensor_.data_offset), int(tensor_.n_bytes),
        )  # fmt: skip


def test_a_whole_file_equals_the_reference_reader(whole: Path) -> None:
    check_against_reference(whole)
    keys = read_header(whole).metadata
    assert keys["a.text"] == "grüß" and keys["a.names"] == ["x", "", "中"] and keys["a.flag"] is True
    assert keys["a.numbers"].tolist() == [1, 2, 3] and keys["a.u64"] == 2**63 + 1 and keys["a.i32"] == -5
    data, one = whole.read_bytes(), read_header(whole).tensors["one"]
    np.testing.assert_array_equal(
        np.frombuffer(data, "<f4", 6, one.offset).reshape(one.shape), [[0, 1, 2], [3, 4, 5]]
    )


def test_block_sizes_equal_the_reference() -> None:
    import gguf

    for kind, (name, values, width) in GGML_TYPES.items():
        assert gguf.GGMLQuantizationType(kind).name == name
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == (values, width)


F32 = struct.pack("<I", 5)
HOSTILE: dict[str, tuple[list[bytes], list[bytes], int, tuple[int, int] | None]] = {
    "2**63 tensors": ([], [], 0, (2**63, 0)),
    "2**64 - 1 keys": ([], [], 0, (0, 2**64 - 1)),
    "a string of 2**63 bytes": ([struct.pack("<Q", 2**63)], [], 0, None),
    "an array of 2**61 numbers": ([key("a", 9, struct.pack("<IQ", 10, 2**61))], [], 0, None),
    "an array of 2**40 strings": ([key("a", 9, struct.pack("<IQ", 8, 2**40))], [], 64, None),
    "an array of arrays": ([key("a", 9, struct.pack("<IQ", 9, 1))], [], 64, None),
    "an unknown value type": ([key("a", 13, b"")], [], 64, None),
    "a flag of 7": ([key("a", 7, b"\x07")], [], 64, None),
    "a key twice": ([key("a", 0, b"\1")] * 2, [], 64, None),
    "a key that is no text": ([string(b"\xff\xfe") + struct.pack("<IB", 0, 1)], [], 64, None),
    "alignment 2**31": ([key("general.alignment", 4, struct.pack("<I", 2**31))], [], 64, None),
    "alignment 0": ([key("general.alignment", 4, bytes(4))], [], 64, None),
    "alignment 33": ([key("general.alignment", 4, struct.pack("<I", 33))], [], 64, None),
    "alignment as a string": ([key("general.alignment", 8, string("32"))], [], 64, None),
    "2**32 - 1 dimensions": ([], [string("t") + struct.pack("<I", 2**32 - 1)], 64, None),
    "no dimension": ([], [tensor("t", [], 0, 0)], 64, None),
    "nine dimensions": ([], [tensor("t", [1] * (MAX_DIMENSIONS + 1), 0, 0)], 64, None),
    "sizes that overflow": ([], [tensor("t", [2**33, 2**33], 0, 0)], 64, None),
    "a size that overflows to 0": ([], [tensor("t", [2**62, 4], 0, 0)], 64, None),
    "a size of 0": ([], [tensor("t", [0], 0, 0)], 64, None),
    "part of a block": ([], [tensor("t", [33], 8, 0)], 64, None),
    "an unknown type": ([], [tensor("t", [4], 77, 0)], 64, None),
    "an offset outside": ([], [tensor("t", [4], 0, 2**63)], 64, None),
    "overlap": ([], [tensor("t", [8], 0, 0), tensor("u", [8], 0, 0)], 128, None),
    "a hole": ([], [tensor("t", [8], 0, 0), tensor("u", [8], 0, 64)], 128, None),
    "a tensor twice": ([], [tensor("t", [8], 0, 0), tensor("t", [8], 0, 32)], 128, None),
    "cut off data": ([], [tensor("t", [64], 0, 0)], 64, None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_quickly(tmp_path: Path, name: str) -> None:
    keys, tensors, data, counts = HOSTILE[name]
    path = file(tmp_path / "x.gguf", keys, tensors, data, counts)
    began = time.perf_counter()
    with pytest.raises(ArtifactError, match=r"x\.gguf"):
        read_header(path)
    assert time.perf_counter() - began < 5  # a hang, not a benchmark


def test_a_whole_file_made_by_hand_is_accepted(tmp_path: Path) -> None:
    path = file(
        tmp_path / "x.gguf", [key("a", 5, F32)], [tensor("t", [8], 0, 0), tensor("u", [3, 2], 1, 32)], 64
    )
    assert read_header(path).tensors["u"].shape == (2, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(40),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ArtifactError):
        read_header(tmp_path / "x.gguf")
    with pytest.raises(ArtifactError):
        read_header(tmp_path / "missing.gguf")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 60),
)
def test_mutated_files_are_refused_or_equal_the_reference(whole: Path, changes: list, cut: int) -> None:
    raw = bytearray(whole.read_bytes())
    for at, byte in changes:
        raw[at % len(raw)] = byte
    path = whole.with_name("mutated.gguf")
    path.write_bytes(raw[: len(raw) - (cut if cut < 30 else 0)])
    try:
        header = read_header(path)
    except ArtifactError as error:
        assert "mutated.gguf" in str(error)
    else:
        for info in header.tensors.values():
            assert info.offset + info.num_bytes <= path.stat().st_size
