// Distinct pieces of a text and how often each occurs: open addressing, the short words inside the table.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "hash.hpp"

namespace ownlm {

class WordTable {
 public:
  struct Slot {
    ShortKey key;    // of a long word: {hash, kLong | index into long_}
    uint64_t count;  // 0: free
  };

  void add(const Byte* word, size_t size, const Byte* limit, uint64_t count = 1) {
    if (size > kShortKey) return add_long(word, size, count);
    const ShortKey key = short_key(word, size, limit);
    Slot& slot = find(key.hash(), [&](const Slot& s) { return s.key == key; });
    if (!slot.count) slot.key = key;
    raise(slot, count);
  }

  // visit(bytes, size, count) for every word.
  template <class Visit>
  void each(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      if (!slot.count) continue;
      if (slot.key.high & kLong) {
        const std::string& word = long_[slot.key.high & ~kLong];
        visit(reinterpret_cast<const Byte*>(word.data()), word.size(), slot.count);
      } else {
        visit(reinterpret_cast<const Byte*>(&slot.key), slot.key.high >> 56, slot.count);
      }
    }
  }

  size_t size() const { return used_; }
  void clear() { *this = WordTable(); }

 private:
  static constexpr uint64_t kLong = 1ull << 63;  // a short word's top byte is at most 15

  void add_long(const Byte* word, size_t size, uint64_t count) {
    const uint64_t hash = hash_bytes(word, size);
    Slot& slot = find(hash, [&](const Slot& s) {
      if (s.key.low != hash || !(s.key.high & kLong)) return false;
      const std::string& other = long_[s.key.high & ~kLong];
      return other.size() == size && !std::memcmp(other.data(), word, size);
    });
    if (!slot.count) {
      slot.key = {hash, kLong | long_.size()};
      long_.emplace_back(reinterpret_cast<const char*>(word), size);
    }
    raise(slot, count);
  }

  template <class Same>
  Slot& find(uint64_t hash, Same&& same) {
    size_t at = hash & mask_;
    while (slots_[at].count && !same(slots_[at])) at = (at + 1) & mask_;
    return slots_[at];
  }

  void raise(Slot& slot, uint64_t count) {
    const bool fresh = !slot.count;
    slot.count += count;
    if (fresh && ++used_ * 2 > mask_) grow();
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    mask_ = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (!slot.count) continue;
      const uint64_t hash = slot.key.high & kLong ? slot.key.low : slot.key.hash();
      find(hash, [](const Slot&) { return false; }) = slot;
    }
  }

  size_t used_ = 0, mask_ = (1 << 15) - 1;
  std::vector<Slot> slots_ = std::vector<Slot>(mask_ + 1);
  std::deque<std::string> long_;
};

}  // namespace ownlm
