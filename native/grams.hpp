// Repeated runs of words. Exact: a gram of n words is the pair of the two grams of n-1 words that it overlaps, so it
// is looked up as two numbers. Only where both occur twice can it occur twice: in good text few places are left above
// n = 3, and in the worst text every n costs one look-up per word.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hash.hpp"
#include "word_split.hpp"

namespace ownlm::rules {

// Gives each new key the next number. Keys are compared by `same(number)`, their owner keeps them. The table grows
// with the number of different keys, so that text that repeats itself stays in the cache.
class NumberTable {
 public:
  // `lookups` to come: a first size that seldom grows for a page, and stays in the cache for a book.
  void reset(size_t lookups) {
    size_t size = 16;
    while (size < std::min(2 * lookups, kLargestFirst)) size *= 2;
    slots_.assign(size, {0, 0});
    count_ = 0;
  }

  template <class Same>
  uint32_t number(uint64_t hash, Same&& same) {
    if (2 * size_t{count_} >= slots_.size()) grow();
    const uint32_t tag = tag_of(hash);
    const size_t mask = slots_.size() - 1;
    for (size_t at = tag & mask;; at = (at + 1) & mask) {
      Slot& slot = slots_[at];
      if (!slot.next) {
        slot = {tag, ++count_};
        return count_ - 1;
      }
      if (slot.tag == tag && same(slot.next - 1)) return slot.next - 1;
    }
  }

  uint32_t count() const { return count_; }
  void trim(size_t most) {
    for (std::vector<Slot>* slots : {&slots_, &larger_})
      if (slots->capacity() > most) std::vector<Slot>().swap(*slots);
  }

  // The slot of a key that is about to be looked up is on its way to the cache.
  void expect(uint64_t hash) const { __builtin_prefetch(&slots_[tag_of(hash) & (slots_.size() - 1)]); }

 private:
  static constexpr size_t kLargestFirst = 1 << 13;
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash ^ hash >> 32); }
  struct Slot {
    uint32_t tag, next;  // next: number + 1, 0: free
  };

  void grow() {
    larger_.assign(4 * slots_.size(), Slot{0, 0});
    const size_t mask = larger_.size() - 1;
    for (const Slot slot : slots_) {
      if (!slot.next) continue;
      size_t at = slot.tag & mask;
      while (larger_[at].next) at = (at + 1) & mask;
      larger_[at] = slot;
    }
    slots_.swap(larger_);
  }

  std::vector<Slot> slots_, larger_;  // larger_ is kept: fresh memory costs more than what is done in it
  uint32_t count_ = 0;
};

// Parts of a text as numbers; equal parts have equal numbers, given in order of first appearance.
class PartNumbers {
 public:
  // use(part, number) for each part in order; the hashes are some parts ahead, so that the slots come in time.
  template <class Code, class Use>
  void each(const Code* codes, const std::vector<Span>& parts, Use&& use) {
    parts_.clear();
    table_.reset(parts.size());
    uint64_t hashes[kAhead];
    const auto expect = [&](size_t i) {
      const uint64_t hash = hash_bytes(bytes_of(codes, parts[i]), size_of<Code>(parts[i]));
      table_.expect(hash);
      hashes[i % kAhead] = hash;
    };
    for (size_t i = 0; i < std::min(kAhead, parts.size()); ++i) expect(i);
    for (size_t i = 0; i < parts.size(); ++i) {
      use(parts[i], number(codes, parts[i], hashes[i % kAhead]));
      if (i + kAhead < parts.size()) expect(i + kAhead);
    }
  }

  size_t count() const { return parts_.size(); }
  void trim(size_t most) {
    table_.trim(most);
    if (parts_.capacity() > most) std::vector<Span>().swap(parts_);
  }

 private:
  static constexpr size_t kAhead = 16;
  template <class Code>
  static const Byte* bytes_of(const Code* codes, Span part) {
    return reinterpret_cast<const Byte*>(codes + part.first);
  }
  template <class Code>
  static size_t size_of(Span part) {
    return (part.end - part.first) * sizeof(Code);
  }

  template <class Code>
  uint32_t number(const Code* codes, Span part, uint64_t hash) {
    const size_t size = size_of<Code>(part);
    const Byte* bytes = bytes_of(codes, part);
    const uint32_t id = table_.number(hash, [&](uint32_t other) {
      const Span& o = parts_[other];
      return size_of<Code>(o) == size && !std::memcmp(codes + o.first, bytes, size);
    });
    if (id == parts_.size()) parts_.push_back(part);
    return id;
  }

  std::vector<Span> parts_;
  NumberTable table_;
};

// The repeated grams of a row of words, size after size.
class Grams {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  // `ids` [N]: number of each word, below `count`; becomes the number of the gram that starts there.
  void start(std::vector<uint32_t>& ids, size_t count) {
    ids_ = &ids;
    counts_.assign(count, 0);
    for (const uint32_t id : ids) ++counts_[id];
    places_.clear();
    for (size_t i = 0; i < ids.size(); ++i) places_.push_back(static_cast<uint32_t>(i));
    keep_repeated();
    ids.push_back(kNone);  // so that the last word has a neighbour
  }

  // From grams of n words to those of n + 1.
  void longer() {
    std::vector<uint32_t>& ids = *ids_;
    table_.reset(places_.size());
    keys_.clear();
    counts_.clear();
    const auto key_at = [&ids](size_t at) { return static_cast<uint64_t>(ids[at]) << 32 | ids[at + 1]; };
    size_t kept = 0;
    for (size_t i = 0; i < places_.size(); ++i) {
      if (i + kAhead < places_.size()) table_.expect(hash(key_at(places_[i + kAhead])));
      const uint32_t at = places_[i];
      if (ids[at + 1] == kNone) {
        ids[at] = kNone;
        continue;
      }
      const uint64_t key = key_at(at);
      const uint32_t id = table_.number(hash(key), [&](uint32_t other) { return keys_[other] == key; });
      if (id == keys_.size()) {
        keys_.push_back(key);
        counts_.push_back(0);
      }
      ++counts_[id];
      ids[at] = id;
      places_[kept++] = at;
    }
    places_.resize(kept);
    keep_repeated();
  }

  // First place and count of the most frequent gram, the first among equals; {0, 1} when none occurs twice.
  std::pair<size_t, size_t> top() const {
    size_t place = 0, most = 1;
    for (const uint32_t at : places_) {
      const uint32_t count = counts_[(*ids_)[at]];
      if (count > most) {
        most = count;
        place = at;
      }
    }
    return {place, most};
  }

  // Characters in words of grams that occurred before; `ends` [N + 1]: characters in the words before each.
  int64_t duplicated(size_t n, const std::vector<uint32_t>& ends) {
    seen_.assign(counts_.size(), 0);
    int64_t characters = 0;
    size_t next = 0;
    for (const uint32_t at : places_) {
      if (at < next) continue;
      char& seen = seen_[(*ids_)[at]];
      if (seen) {
        characters += ends[at + n] - ends[at];
        next = at + n;
      }
      seen = 1;
    }
    return characters;
  }

  void trim(size_t most) {
    table_.trim(most);
    if (places_.capacity() <= most) return;
    std::vector<uint32_t>().swap(places_);
    std::vector<uint32_t>().swap(counts_);
    std::vector<uint64_t>().swap(keys_);
    std::vector<char>().swap(seen_);
  }

 private:
  static constexpr size_t kAhead = 16;
  static uint64_t hash(uint64_t key) { return mix(key ^ 0x9E3779B97F4A7C15ull, 0xE7037ED1A0B428DBull); }

  void keep_repeated() {
    size_t kept = 0;
    for (const uint32_t at : places_) {
      uint32_t& id = (*ids_)[at];
      if (counts_[id] > 1)
        places_[kept++] = at;
      else
        id = kNone;
    }
    places_.resize(kept);
  }

  std::vector<uint32_t>* ids_ = nullptr;
  std::vector<uint32_t> places_, counts_;  // where a repeated gram starts; how often each occurs
  std::vector<uint64_t> keys_;
  std::vector<char> seen_;
  NumberTable table_;
};

}  // namespace ownlm::rules
