// Words of a text and the hashes of k words in a row. The reference is src/ownlm/data/dedup/words.py.
//
// table[code point] is 0 for a separator, else the lower-cased code point; kSingle marks a script written without
// spaces, whose characters are words of their own. Code points from kTable up are separators.
#pragma once

#include <cstdint>
#include <vector>

#include "split.hpp"

namespace ownlm {

constexpr uint32_t kTable = 0x40000;
constexpr uint32_t kSingle = 0x80000000u;
constexpr uint64_t kLetter = 0x9E3779B97F4A7C15ull;  // base of the polynomial over the letters of a word
constexpr uint64_t kWord = 0xD6E8FEB86659FD93ull;    // and of the one over the words of a shingle

// The finalizer of splitmix64 (Steele et al. 2014).
inline uint64_t scramble(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// One code point of valid UTF-8 at p, which moves behind it.
inline uint32_t next_code(const Byte*& p) {
  const uint32_t first = *p++;
  if (first < 0x80) return first;
  uint32_t code = first < 0xE0 ? first & 0x1F : first < 0xF0 ? first & 0x0F : first & 0x07;
  for (int left = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3; left > 0; --left) code = code << 6 | (*p++ & 0x3Fu);
  return code;
}

// found(hash, first character, character after the last) for every word.
template <class Found>
void each_word(const Byte* p, size_t size, const uint32_t* table, Found found) {
  const Byte* end = p + size;
  uint64_t hash = 0, at = 0, start = 0;
  bool inside = false;
  for (; p < end; ++at) {
    const uint32_t code = next_code(p);
    const uint32_t letter = code < kTable ? table[code] : 0;
    if (letter && !(letter & kSingle)) {
      if (!inside) start = at, hash = 0;
      inside = true;
      hash = hash * kLetter + letter;
      continue;
    }
    if (inside) found(scramble(hash), start, at);
    inside = false;
    if (letter) found(scramble(letter), at, at + 1);
  }
  if (inside) found(scramble(hash), start, at);
}

// Appends the hash of every k words in a row; a text of fewer words is one shingle, one of none has none.
inline void append_shingles(const std::vector<uint64_t>& words, size_t k, std::vector<uint64_t>& out) {
  const size_t width = words.size() < k ? words.size() : k;
  if (!width) return;
  for (size_t i = 0; i + width <= words.size(); ++i) {
    uint64_t sum = 0;
    for (size_t j = 0; j < width; ++j) sum = sum * kWord + words[i + j];
    out.push_back(scramble(sum));
  }
}

}  // namespace ownlm
