// Learning BPE merges from word counts. Same rule as bpe.learn_merges: the most frequent pair, ties to the smaller
// (left, right), merged everywhere left to right; pairs below min_count never.
//
// A pair's count only falls once the pair exists (a merge makes only pairs that hold the new token), so a heap with
// lazy re-insertion is exact, and a pair born below min_count can be forgotten.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "count.hpp"

namespace ownlm {

// Pair of ids -> its number: open addressing; nothing is ever taken out.
class PairIndex {
 public:
  static constexpr uint32_t kNone = ~0u;

  void put(uint64_t key, uint32_t number) {
    if (++used_ * 2 > slots_.size()) grow();
    find(key) = {key, number};
  }
  uint32_t get(uint64_t key) const { return const_cast<PairIndex*>(this)->find(key).number; }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t number = kNone;  // kNone: free
  };

  Slot& find(uint64_t key) {
    const size_t mask = slots_.size() - 1;
    size_t at = mix(key, 0x9E3779B97F4A7C15ull) & mask;
    while (slots_[at].number != kNone && slots_[at].key != key) at = (at + 1) & mask;
    return slots_[at];
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.number != kNone) find(slot.key) = slot;
  }

  size_t used_ = 0;
  std::vector<Slot> slots_ = std::vector<Slot>(1 << 16);
};

class Learner {
 public:
  explicit Learner(const WordTable& words, int64_t min_count) : min_count_(min_count) {
    words.each([&](const Byte* word, size_t size, uint64_t count) {
      if (size < 2) return;
      words_.push_back({symbols_.size(), static_cast<int64_t>(count), static_cast<uint32_t>(size)});
      symbols_.insert(symbols_.end(), word, word + size);
    });
  }

  std::vector<std::pair<uint32_t, uint32_t>> learn(size_t num_merges) {
    std::vector<std::pair<uint32_t, uint32_t>> merges;
    fewer_left_.assign(256 + num_merges + 1, 0);
    fewer_right_ = more_left_ = more_right_ = fewer_left_;
    seen_left_.assign(fewer_left_.size(), 0);
    seen_right_ = seen_left_;
    first_pairs();
    while (!queue_.empty() && merges.size() < num_merges) {
      const Entry top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[top.pair];
      if (pair.count != top.count) {
        if (pair.count >= min_count_) queue_.push({pair.count, top.key, top.pair});
        continue;
      }
      const uint32_t left = static_cast<uint32_t>(top.key >> 32), right = static_cast<uint32_t>(top.key);
      merge(pair, left, right, static_cast<uint32_t>(256 + merges.size()));
      merges.emplace_back(left, right);
    }
    return merges;
  }

 private:
  struct Pair {
    int64_t count;
    size_t begin, end;  // the words that may hold it, in where_
  };
  struct Word {
    size_t start;  // in symbols_
    int64_t weight;
    uint32_t length;
  };
  struct Entry {
    int64_t count;
    uint64_t key;
    uint32_t pair;
    bool operator<(const Entry& other) const {  // the top of the queue is the greatest
      return count != other.count ? count < other.count : key > other.key;
    }
  };
  struct Event {
    uint32_t neighbour, word;
  };

  static uint64_t key(uint32_t left, uint32_t right) { return static_cast<uint64_t>(left) << 32 | right; }

  // Pairs of bytes: counted in a dense table, then the words of each laid out one after the other.
  void first_pairs() {
    std::vector<int64_t> counts(65536);
    std::vector<size_t> places(65537);
    const auto each_pair = [&](auto&& visit) {
      std::vector<uint32_t> last(65536, ~0u);
      for (uint32_t word = 0; word < words_.size(); ++word)
        for (uint32_t i = 0; i + 1 < words_[word].length; ++i) {
          const uint32_t* s = &symbols_[words_[word].start + i];
          const uint32_t pair = s[0] << 8 | s[1];
          visit(pair, word, last[pair] != word);
          last[pair] = word;
        }
    };
    each_pair([&](uint32_t pair, uint32_t word, bool fresh) {
      counts[pair] += words_[word].weight;
      places[pair + 1] += fresh;
    });
    for (size_t i = 0; i < 65536; ++i) places[i + 1] += places[i];
    where_.resize(places[65536]);
    std::vector<size_t> next(places.begin(), places.end() - 1);
    each_pair([&](uint32_t pair, uint32_t word, bool fresh) {
      if (fresh) where_[next[pair]++] = word;
    });
    for (uint32_t pair = 0; pair < 65536; ++pair)
      keep(pair >> 8, pair & 255, counts[pair], places[pair], places[pair + 1]);
  }

  void keep(uint32_t left, uint32_t right, int64_t count, size_t begin, size_t end) {
    if (count < min_count_) return;
    const uint32_t index = static_cast<uint32_t>(pairs_.size());
    pairs_.push_back({count, begin, end});
    index_.put(key(left, right), index);
    queue_.push({count, key(left, right), index});
  }

  void merge(Pair pair, uint32_t left, uint32_t right, uint32_t made) {
    for (size_t at = pair.begin; at < pair.end; ++at) {  // words lie anywhere in memory: ask for them ahead
      if (at + 8 < pair.end) __builtin_prefetch(&words_[where_[at + 8]]);
      if (at + 4 < pair.end) __builtin_prefetch(&symbols_[words_[where_[at + 4]].start]);
      merge_word(where_[at], left, right, made);
    }
    for (const uint32_t x : touched_left_) fall(key(x, left), fewer_left_[x]);
    for (const uint32_t y : touched_right_) fall(key(right, y), fewer_right_[y]);
    fall(key(left, right), INT64_MAX);
    settle(events_left_, touched_left_, more_left_, seen_left_, [&](uint32_t x) { return key(x, made); });
    settle(events_right_, touched_right_, more_right_, seen_right_, [&](uint32_t y) { return key(made, y); });
    for (const uint32_t x : touched_left_) fewer_left_[x] = more_left_[x] = 0;
    for (const uint32_t y : touched_right_) fewer_right_[y] = more_right_[y] = 0;
    touched_left_.clear();
    touched_right_.clear();
  }

  // Replace left right by made in one word, noting what the neighbouring pairs lose and gain.
  void merge_word(uint32_t word, uint32_t left, uint32_t right, uint32_t made) {
    uint32_t* s = &symbols_[words_[word].start];
    const uint32_t n = words_[word].length;
    const int64_t weight = words_[word].weight;
    uint32_t out = 0;
    for (uint32_t i = 0; i < n; ++out) {
      if (s[i] != left || i + 1 >= n || s[i + 1] != right) {
        s[out] = s[i++];
        continue;
      }
      if (out) {
        const uint32_t before = s[out - 1];
        if (before == made)
          more_right_[left] -= weight;  // the pair (made, left) that the merge before had just noted
        else
          fewer_left_[before] += weight;
        note(before, word, weight, events_left_, touched_left_, more_left_, seen_left_);
      }
      if (i + 2 < n) {
        fewer_right_[s[i + 2]] += weight;
        note(s[i + 2], word, weight, events_right_, touched_right_, more_right_, seen_right_);
      }
      s[out] = made;
      i += 2;
    }
    words_[word].length = out;
  }

  static void note(uint32_t neighbour, uint32_t word, int64_t weight, std::vector<Event>& events,
                   std::vector<uint32_t>& touched, std::vector<int64_t>& more, std::vector<uint32_t>& seen) {
    if (!seen[neighbour]++) touched.push_back(neighbour);
    more[neighbour] += weight;
    events.push_back({neighbour, word});
  }

  void fall(uint64_t key, int64_t by) {
    const uint32_t found = index_.get(key);
    if (found == PairIndex::kNone) return;  // was below min_count already
    int64_t& count = pairs_[found].count;
    count = by >= count ? 0 : count - by;
  }

  // Lay out the words of the new pairs: a counting sort of the events by neighbour.
  template <class Key>
  void settle(std::vector<Event>& events, const std::vector<uint32_t>& touched, const std::vector<int64_t>& more,
              std::vector<uint32_t>& seen, Key&& key_of) {
    size_t at = where_.size();
    std::vector<std::pair<uint32_t, size_t>> kept;
    for (const uint32_t neighbour : touched) {
      const uint32_t space = seen[neighbour];
      seen[neighbour] = 0;
      if (more[neighbour] < min_count_) continue;
      kept.emplace_back(neighbour, at);
      places_.resize(std::max<size_t>(places_.size(), neighbour + 1), 0);
      places_[neighbour] = at + 1;  // 0: not kept
      at += space;
    }
    where_.resize(at);
    for (const Event& event : events)
      if (event.neighbour < places_.size() && places_[event.neighbour]) {
        size_t& next = places_[event.neighbour];
        where_[next++ - 1] = event.word;
      }
    for (const auto& [neighbour, begin] : kept) {
      const uint64_t k = key_of(neighbour);
      keep(static_cast<uint32_t>(k >> 32), static_cast<uint32_t>(k), more[neighbour], begin, places_[neighbour] - 1);
      places_[neighbour] = 0;
    }
    events.clear();
  }

  int64_t min_count_;
  std::vector<Word> words_;
  std::vector<uint32_t> symbols_, where_;
  std::vector<Pair> pairs_;
  PairIndex index_;
  std::priority_queue<Entry> queue_;
  // Of the merge under way, by neighbour: what pairs with the old tokens lose, what pairs with the new one gain.
  std::vector<int64_t> fewer_left_, fewer_right_, more_left_, more_right_;
  std::vector<uint32_t> seen_left_, seen_right_, touched_left_, touched_right_;
  std::vector<Event> events_left_, events_right_;
  std::vector<size_t> places_;
};

}  // namespace ownlm
