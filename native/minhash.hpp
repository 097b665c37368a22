// MinHash signatures (Broder 1997) and the overlap of two sorted sets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#define OWNLM_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define OWNLM_WIDE
#endif

namespace ownlm {

// signature[h] = min over the values x of multiply[h] * x + add[h] modulo 2^32; all ones for no values.
// Blocks of values keep the signature in registers; the inner loop over hashes is what the compiler vectorizes.
OWNLM_WIDE inline void minhash(const uint32_t* values, size_t count, const uint32_t* multiply, const uint32_t* add, size_t hashes,
                               uint32_t* signature) {
  constexpr size_t kLanes = 32;
  for (size_t from = 0; from < hashes; from += kLanes) {
    const size_t lanes = std::min(kLanes, hashes - from);
    uint32_t m[kLanes] = {}, a[kLanes] = {}, low[kLanes];
    for (size_t j = 0; j < lanes; ++j) m[j] = multiply[from + j], a[j] = add[from + j];
    for (size_t j = 0; j < kLanes; ++j) low[j] = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t x = values[i];
      for (size_t j = 0; j < kLanes; ++j) {
        const uint32_t value = m[j] * x + a[j];
        low[j] = value < low[j] ? value : low[j];
      }
    }
    std::copy(low, low + lanes, signature + from);
  }
}

// Sorts and removes repeats; a byte-wise radix sort above the size where it wins.
inline void sort_unique(std::vector<uint32_t>& values, std::vector<uint32_t>& spare) {
  if (values.size() < 96) {
    std::sort(values.begin(), values.end());
  } else {
    spare.resize(values.size());
    uint32_t counts[4][256] = {};
    for (const uint32_t v : values)
      for (int b = 0; b < 4; ++b) ++counts[b][v >> (8 * b) & 255];
    for (int b = 0; b < 4; ++b) {
      uint32_t at = 0;
      for (uint32_t& count : counts[b]) {
        const uint32_t here = count;
        count = at;
        at += here;
      }
      for (const uint32_t v : values) spare[counts[b][v >> (8 * b) & 255]++] = v;
      values.swap(spare);
    }
  }
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

inline uint32_t overlap(const uint32_t* a, const uint32_t* a_end, const uint32_t* b, const uint32_t* b_end) {
  uint32_t count = 0;
  while (a < a_end && b < b_end) {
    const uint32_t x = *a, y = *b;
    count += x == y;
    a += x <= y;
    b += y <= x;
  }
  return count;
}

}  // namespace ownlm
