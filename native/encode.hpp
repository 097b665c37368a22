// Text -> ids: split, look the word up in a cache, merge it when it is new.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "merge.hpp"

namespace ownlm {

struct Text {
  const Byte* data;
  size_t size;
};

// Words seen before and their ids, for one thread. Bounded: a full bucket of two forgets its second word.
template <class Id>
class WordCache {
  // A word's key, how many ids, the ids; each kind fills 32 or 64 bytes, so a look-up is one cache line.
  template <size_t kWords, size_t kBytes>
  struct Slot {
    static constexpr size_t kIds = (kBytes - 8 * kWords) / sizeof(Id) - 1;
    uint64_t key[kWords];  // the last byte is the word's length, 0: free
    Id count;
    Id ids[kIds];
  };

 public:
  static constexpr size_t kLongest = 31;

  // A word that is about to be looked up: asked for, its cache line is on the way.
  struct Wanted {
    const Byte* word;
    size_t size;
    uint64_t hash, key[2];  // of a short word
  };

  Wanted want(const Byte* word, size_t size, const Byte* limit) const {
    if (size > kShortKey) return {word, size, 0, {}};
    const ShortKey key = short_key(word, size, limit);
    const uint64_t hash = key.hash();
    __builtin_prefetch(short_.slots.get() + (hash & short_.mask));
    return {word, size, hash, {key.low, key.high}};
  }

  // Writes the ids of a word to `out`; returns how many. `make(word, size, out)` makes those of a new word.
  template <class Make>
  size_t get(const Wanted& wanted, Id* out, Make&& make) {
    const auto [word, size] = std::make_pair(wanted.word, wanted.size);
    if (size <= kShortKey) return look(short_, wanted.hash, wanted.key, word, size, out, make);
    if (size > kLongest) return make(word, size, out);
    uint64_t parts[4] = {};
    std::memcpy(parts, word, size);
    parts[3] |= static_cast<uint64_t>(size) << 56;
    const uint64_t hash = mix(parts[0] ^ 0x9E3779B97F4A7C15ull, parts[1]) ^ mix(parts[2] ^ 0x8EBC6AF09C88C6E3ull, parts[3]);
    return look(long_, mix(hash, 0xE7037ED1A0B428DBull), parts, word, size, out, make);
  }

 private:
  // calloc: pages are real only once they are used, so a short text does not pay for the table.
  template <class S>
  struct Table {
    using slot = S;
    explicit Table(size_t count) : slots(static_cast<S*>(std::calloc(count, sizeof(S))), std::free), mask(count - 1) {
      if (!slots) throw std::bad_alloc();
    }
    std::unique_ptr<S, void (*)(void*)> slots;
    size_t mask;
  };

  template <class T, size_t kWords, class Make>
  static size_t look(T& table, uint64_t hash, const uint64_t (&key)[kWords], const Byte* word, size_t size, Id* out, Make& make) {
    auto* first = table.slots.get() + (hash & table.mask);
    auto* second = table.slots.get() + ((hash ^ 1) & table.mask);
    for (auto* slot : {first, second})
      if (same(slot->key, key)) {
        constexpr size_t kIds = T::slot::kIds;
        if (slot->count <= 4)
          std::memcpy(out, slot->ids, std::min<size_t>(4, kIds) * sizeof(Id));  // fixed size: one or two moves
        else
          std::memcpy(out, slot->ids, kIds * sizeof(Id));
        return slot->count;
      }
    const size_t count = make(word, size, out);
    if (count > T::slot::kIds) return count;
    auto* slot = first->count ? second : first;
    std::memcpy(slot->key, key, sizeof key);
    slot->count = static_cast<Id>(count);
    std::memcpy(slot->ids, out, count * sizeof(Id));
    return count;
  }

  template <size_t kWords>
  static bool same(const uint64_t (&a)[kWords], const uint64_t (&b)[kWords]) {
    uint64_t different = 0;
    for (size_t i = 0; i < kWords; ++i) different |= a[i] ^ b[i];
    return !different;
  }

  Table<Slot<2, 32>> short_{size_t(1) << 17};  // 4 MiB
  Table<Slot<4, 64>> long_{size_t(1) << 15};   // 2 MiB
};

// Room behind the last id that WordCache may scribble on.
constexpr size_t kSlack = 32;

template <class Id>
class Encoder {
 public:
  Encoder(const Splitter& splitter, const Merges& merges) : splitter_(splitter), merges_(merges) {}

  // Ids of all texts, one after the other, into `out` (room for every byte plus kSlack per thread); ends[i] is
  // where text i ends. Returns the number of ids.
  size_t encode(const std::vector<Text>& texts, size_t threads, Id* out, uint64_t* ends) {
    size_t total = 0;
    for (const Text& text : texts) total += text.size;
    threads = std::max<size_t>(1, std::min(threads, texts.size()));
    struct Share {
      size_t from, to, room, written;
      std::exception_ptr error;
    };
    std::vector<Share> shares;
    size_t at = 0, bytes = 0;
    for (size_t n = 0; n < threads; ++n) {
      Share share{at, at, bytes + n * kSlack, 0, nullptr};
      while (at < texts.size() && (n + 1 == threads || bytes < total * (n + 1) / threads)) bytes += texts[at++].size;
      share.to = at;
      shares.push_back(share);
    }
    const auto work = [&](Share& share) {
      try {
        share.written = encode_share(texts.data() + share.from, texts.data() + share.to, out + share.room, ends + share.from);
      } catch (...) {
        share.error = std::current_exception();
      }
    };
    std::vector<std::thread> pool;
    for (size_t n = 1; n < threads; ++n) pool.emplace_back(work, std::ref(shares[n]));
    work(shares[0]);
    for (std::thread& thread : pool) thread.join();
    size_t written = 0;
    for (const Share& share : shares) {
      if (share.error) std::rethrow_exception(share.error);
      if (written != share.room) std::memmove(out + written, out + share.room, share.written * sizeof(Id));
      for (size_t i = share.from; i < share.to; ++i) ends[i] += written;
      written += share.written;
    }
    return written;
  }

 private:
  using Cache = WordCache<Id>;
  static constexpr size_t kAhead = 16;

  size_t encode_share(const Text* text, const Text* stop, Id* out, uint64_t* ends) {
    std::unique_ptr<Cache> cache = take();
    Id* const begin = out;
    const auto make = [this](const Byte* word, size_t size, Id* ids) { return merges_.apply(word, size, ids); };
    typename Cache::Wanted wanted[kAhead];  // split a few words ahead of the look-ups, to hide memory latency
    size_t num_wanted = 0;
    const auto look_up = [&] {
      for (size_t i = 0; i < num_wanted; ++i) out += cache->get(wanted[i], out, make);
      num_wanted = 0;
    };
    for (; text < stop; ++text) {
      const Byte* limit = text->data + text->size;
      splitter_.split(text->data, text->size, [&](const Byte* b, const Byte* e) {
        wanted[num_wanted++] = cache->want(b, e - b, limit);
        if (num_wanted == kAhead) look_up();
      });
      look_up();
      *ends++ = out - begin;
    }
    std::lock_guard<std::mutex> guard(mutex_);
    free_.push_back(std::move(cache));
    return out - begin;
  }

  // A cache nobody else is using: words learned in one call serve the next.
  std::unique_ptr<Cache> take() {
    std::lock_guard<std::mutex> guard(mutex_);
    if (free_.empty()) return std::make_unique<Cache>();
    std::unique_ptr<Cache> cache = std::move(free_.back());
    free_.pop_back();
    return cache;
  }

  const Splitter& splitter_;
  const Merges& merges_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Cache>> free_;
};

}  // namespace ownlm
