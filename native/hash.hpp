// Hashing and short keys for words.
#pragma once

#include <cstdint>
#include <cstring>

#include "split.hpp"

namespace ownlm {

// 64 x 64 -> 128 bit product folded: the mixing step of wyhash.
inline uint64_t mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t load64(const Byte* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return value;
}

// The lowest `n` bytes (0..8) of a little-endian word.
inline uint64_t low_bytes(uint64_t value, size_t n) { return n >= 8 ? value : value & ((1ull << (8 * n)) - 1); }

// A word of at most 15 bytes as two integers, its length in the top byte: equal keys are equal words.
struct ShortKey {
  uint64_t low, high;
  bool operator==(const ShortKey& other) const { return low == other.low && high == other.high; }
  uint64_t hash() const { return mix(low ^ 0x9E3779B97F4A7C15ull, high ^ 0xE7037ED1A0B428DBull); }
};

constexpr size_t kShortKey = 15;

// `limit` is the end of readable memory: near it the word is copied first.
inline ShortKey short_key(const Byte* p, size_t size, const Byte* limit) {
  Byte copy[16] = {};
  if (p + 16 > limit) {
    std::memcpy(copy, p, size);
    p = copy;
  }
  const uint64_t low = low_bytes(load64(p), size);
  const uint64_t high = size > 8 ? low_bytes(load64(p + 8), size - 8) : 0;
  return {low, high | static_cast<uint64_t>(size) << 56};
}

inline uint64_t hash_bytes(const Byte* p, size_t size) {
  uint64_t state = size * 0x9E3779B97F4A7C15ull;
  for (; size >= 8; p += 8, size -= 8) state = mix(state ^ load64(p), 0xE7037ED1A0B428DBull);
  uint64_t rest = 0;
  std::memcpy(&rest, p, size);
  return mix(state ^ rest, 0x8EBC6AF09C88C6E3ull);
}

}  // namespace ownlm
