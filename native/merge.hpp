// BPE inside one word: merge the adjacent pair of the lowest rank, leftmost first, until no pair has a rank.
// Same rule as ReferenceEncoder._merge in src/ownlm/tokenizer/encoder.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "hash.hpp"

namespace ownlm {

constexpr uint32_t kNoRank = ~0u;
constexpr size_t kShortWord = 128;  // bytes, a multiple of 8; up to here scanning for the minimum beats a heap

// (left id, right id) -> rank, open addressing, 8 bytes a slot: 20 bits each id, 24 bits rank.
class Merges {
 public:
  static constexpr uint32_t kMaxIds = 1u << 20;
  static constexpr uint32_t kMaxMerges = (1u << 24) - 1;

  // byte_ids: [256]; table: [count, 3] left, right, result, lowest rank first.
  Merges(const uint32_t* byte_ids, const uint32_t* table, size_t count) : results_(count) {
    if (count > kMaxMerges) throw std::invalid_argument("too many merges for the native encoder");
    std::copy(byte_ids, byte_ids + 256, byte_ids_);
    size_t size = 1024;
    while (size < 3 * count) size *= 2;
    shift_ = 64 - __builtin_ctzll(size);
    mask_ = size - 1;
    slots_.assign(size, kFree);
    for (size_t rank = 0; rank < count; ++rank) {
      const uint32_t* row = table + 3 * rank;
      if (row[0] >= kMaxIds || row[1] >= kMaxIds) throw std::invalid_argument("ids too large for the native encoder");
      results_[rank] = row[2];
      const uint64_t pair = pack(row[0], row[1]);
      size_t at = place(pair);
      while (slots_[at] != kFree) at = (at + 1) & mask_;
      slots_[at] = pair << 24 | rank;
    }
    for (int left = 0; left < 256; ++left)
      for (int right = 0; right < 256; ++right) byte_pairs_.push_back(rank(byte_ids_[left], byte_ids_[right]));
  }

  uint32_t rank(uint32_t left, uint32_t right) const {
    const uint64_t pair = pack(left, right);
    for (size_t at = place(pair);; at = (at + 1) & mask_) {
      const uint64_t slot = slots_[at];
      if (slot >> 24 == pair) return slot == kFree ? kNoRank : static_cast<uint32_t>(slot & 0xFFFFFF);
      if (slot == kFree) return kNoRank;
    }
  }

  // Writes the ids of a word to `out` (room for `size` of them); returns how many.
  template <class Id>
  size_t apply(const Byte* word, size_t size, Id* out) const {
    if (size == 1) return *out = static_cast<Id>(byte_ids_[*word]), 1;
    return size <= kShortWord ? apply_short(word, size, out) : apply_long(word, size, out);
  }

 private:
  static constexpr uint64_t kFree = ~0ull;

  static uint64_t pack(uint32_t left, uint32_t right) { return static_cast<uint64_t>(left) << 20 | right; }
  size_t place(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15ull) >> shift_; }

  // Symbols keep their places; keys[i] is (rank << 8 | i) of the pair that begins at i, so the least key says which
  // pair is next and where it is, and finding it is one pass without branches.
  template <class Id>
  size_t apply_short(const Byte* word, size_t size, Id* out) const {
    constexpr uint32_t kNone = ~0u;
    uint32_t ids[kShortWord], keys[kShortWord];
    uint8_t before[kShortWord + 1], after[kShortWord + 1];
    const size_t padded = (size + 7) & ~size_t(7);
    for (size_t i = 0; i < size; ++i) {
      ids[i] = byte_ids_[word[i]];
      before[i] = static_cast<uint8_t>(i - 1);
      after[i] = static_cast<uint8_t>(i + 1);
    }
    const auto key = [](uint32_t rank, size_t at) { return rank == kNoRank ? kNone : rank << 8 | static_cast<uint32_t>(at); };
    for (size_t i = 0; i + 1 < size; ++i) keys[i] = key(byte_pairs_[word[i] << 8 | word[i + 1]], i);
    for (size_t i = size - 1; i < padded; ++i) keys[i] = kNone;
    for (uint32_t least; (least = lowest(keys, padded)) != kNone;) {
      const size_t at = least & 0xFF, gone = after[at], next = after[gone];
      ids[at] = results_[least >> 8];
      keys[gone] = kNone;
      after[at] = static_cast<uint8_t>(next);
      before[next] = static_cast<uint8_t>(at);
      keys[at] = next < size ? key(rank(ids[at], ids[next]), at) : kNone;
      if (at) keys[before[at]] = key(rank(ids[before[at]], ids[at]), before[at]);
    }
    size_t n = 0;
    for (size_t i = 0; i < size; i = after[i]) out[n++] = static_cast<Id>(ids[i]);
    return n;
  }

  static uint32_t lowest(const uint32_t* keys, size_t padded) {
    uint32_t least = keys[0];
    for (size_t i = 0; i < padded; ++i) least = std::min(least, keys[i]);
    return least;
  }

  // n log n: a linked list of live symbols and a heap of (rank, position); stale entries are skipped.
  template <class Id>
  size_t apply_long(const Byte* word, size_t size, Id* out) const {
    struct Symbol {
      uint32_t id, before, after;  // before, after: positions; kEnd outside
    };
    constexpr uint32_t kEnd = ~0u;
    if (size >= kEnd) throw std::length_error("a single piece of 4 GiB");
    struct Candidate {
      uint32_t rank, at;
      bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
    };
    const uint32_t n = static_cast<uint32_t>(size);
    std::vector<Symbol> symbols(n);
    std::vector<Candidate> first;
    for (uint32_t i = 0; i < n; ++i) {
      symbols[i] = {byte_ids_[word[i]], i ? i - 1 : kEnd, i + 1 < n ? i + 1 : kEnd};
      if (i + 1 < n) {
        const uint32_t r = byte_pairs_[word[i] << 8 | word[i + 1]];
        if (r != kNoRank) first.push_back({r, i});
      }
    }
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<Candidate>> heap({}, std::move(first));
    constexpr uint32_t kDead = ~0u;
    while (!heap.empty()) {
      const Candidate top = heap.top();
      heap.pop();
      Symbol& left = symbols[top.at];
      if (left.id == kDead || left.after == kEnd) continue;
      Symbol& right = symbols[left.after];
      if (rank(left.id, right.id) != top.rank) continue;
      left.id = results_[top.rank];
      right.id = kDead;
      left.after = right.after;
      if (left.after != kEnd) symbols[left.after].before = top.at;
      for (const uint32_t at : {left.before, top.at}) {
        if (at == kEnd || symbols[at].after == kEnd) continue;
        const uint32_t r = rank(symbols[at].id, symbols[symbols[at].after].id);
        if (r != kNoRank) heap.push({r, at});
      }
    }
    size_t written = 0;
    for (uint32_t at = 0; at != kEnd; at = symbols[at].after) out[written++] = static_cast<Id>(symbols[at].id);
    return written;
  }

  uint32_t byte_ids_[256];
  std::vector<uint32_t> byte_pairs_;  // [256 * 256] rank of each pair of bytes
  std::vector<uint32_t> results_;     // by rank
  std::vector<uint64_t> slots_;
  size_t mask_;
  int shift_;
};

}  // namespace ownlm
