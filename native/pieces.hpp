// Cutting text into the pieces of a vocabulary: merging ids pair by pair, and the most likely cut of a unigram model.
// References: merge_all in src/ownlm/tokenizer/char_bpe.py, best_cut in src/ownlm/tokenizer/viterbi.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <stdexcept>
#include <vector>

namespace ownlm {

// uint64 -> uint32 value pair, open addressing, never more than half full.
class PairTable {
 public:
  struct Found {
    uint32_t first, second;
  };

  explicit PairTable(size_t count) {
    size_t size = 1024;
    while (size < 2 * count) size *= 2;
    shift_ = 64 - __builtin_ctzll(size);
    mask_ = size - 1;
    keys_.assign(size, kFree);
    values_.resize(size);
  }

  void set(uint64_t key, Found value) {
    const size_t at = slot(key);
    keys_[at] = key;
    values_[at] = value;
  }

  const Found* get(uint64_t key) const {
    const size_t at = slot(key);
    return keys_[at] == kFree ? nullptr : &values_[at];
  }

 private:
  static constexpr uint64_t kFree = ~0ull;

  size_t slot(uint64_t key) const {
    size_t at = (key * 0x9E3779B97F4A7C15ull) >> shift_;
    while (keys_[at] != kFree && keys_[at] != key) at = (at + 1) & mask_;
    return at;
  }

  std::vector<uint64_t> keys_;
  std::vector<Found> values_;
  size_t mask_;
  int shift_;
};

// Merges adjacent ids, lowest rank first and leftmost among equals. Several pairs may have one rank.
class PieceMerger {
 public:
  // rows: [count, 4] left, right, rank, result; of a pair given twice the later counts.
  PieceMerger(const uint32_t* rows, size_t count) : pairs_(count) {
    for (size_t i = 0; i < count; ++i) pairs_.set(key(rows[4 * i], rows[4 * i + 1]), {rows[4 * i + 2], rows[4 * i + 3]});
  }

  std::vector<uint32_t> merge(const uint32_t* ids, size_t size) const {
    constexpr uint32_t kEnd = ~0u;
    struct Symbol {
      uint32_t id, before, after;
      bool live;
    };
    struct Candidate {
      uint32_t rank, at;
      bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
    };
    if (size >= kEnd) throw std::length_error("a single piece of 4 G characters");
    const uint32_t n = static_cast<uint32_t>(size);
    std::vector<Symbol> symbols(n);
    std::vector<Candidate> first;
    for (uint32_t i = 0; i < n; ++i) symbols[i] = {ids[i], i ? i - 1 : kEnd, i + 1 < n ? i + 1 : kEnd, true};
    for (uint32_t i = 0; i + 1 < n; ++i)
      if (const auto* found = pairs_.get(key(ids[i], ids[i + 1]))) first.push_back({found->first, i});
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<Candidate>> heap({}, std::move(first));
    while (!heap.empty()) {
      const Candidate top = heap.top();
      heap.pop();
      Symbol& left = symbols[top.at];
      if (!left.live || left.after == kEnd) continue;
      Symbol& right = symbols[left.after];
      const auto* found = pairs_.get(key(left.id, right.id));
      if (!found || found->first != top.rank) continue;  // out of date
      left.id = found->second;
      right.live = false;
      left.after = right.after;
      if (left.after != kEnd) symbols[left.after].before = top.at;
      for (const uint32_t at : {left.before, top.at}) {
        if (at == kEnd || symbols[at].after == kEnd) continue;
        if (const auto* next = pairs_.get(key(symbols[at].id, symbols[symbols[at].after].id))) heap.push({next->first, at});
      }
    }
    std::vector<uint32_t> out;
    for (uint32_t at = n ? 0 : kEnd; at != kEnd; at = symbols[at].after) out.push_back(symbols[at].id);
    return out;
  }

 private:
  static uint64_t key(uint32_t left, uint32_t right) { return static_cast<uint64_t>(left) << 32 | right; }

  PairTable pairs_;
};

// The most likely cut into scored pieces; among equal sums the longest last piece. `Sum` is float or double.
class PieceCutter {
 public:
  struct Cut {
    std::vector<uint64_t> ends;
    std::vector<int64_t> ids;
  };

  // codes: the code points of all pieces, one after the other; piece i ends before ends[i]. None is empty.
  PieceCutter(const uint32_t* codes, const uint64_t* ends, const double* scores, const int64_t* ids, size_t count)
      : edges_(count ? ends[count - 1] : 0), pieces_(1, kNone) {
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {
      uint32_t node = 0;
      for (; at < ends[i]; ++at) node = child(node, codes[at]);
      pieces_[node] = static_cast<uint32_t>(i);
    }
    scores_.assign(scores, scores + count);
    ids_.assign(ids, ids + count);
  }

  template <class Sum>
  Cut cut(const uint32_t* text, size_t size, double unknown_score, int64_t unknown_id) const {
    std::vector<Sum> best(size + 1, 0);
    std::vector<uint64_t> came(size + 1, kNowhere);
    std::vector<int64_t> ids(size + 1, unknown_id);
    const auto offer = [&](size_t start, size_t end, double score, int64_t id) {
      const Sum total = static_cast<Sum>(static_cast<double>(best[start]) + score);
      if (came[end] != kNowhere && !(total > best[end])) return;
      best[end] = total;
      came[end] = start;
      ids[end] = id;
    };
    for (size_t start = 0; start < size; ++start) {
      bool alone = false;
      uint32_t node = 0;
      for (size_t end = start; end < size;) {
        const auto* edge = edges_.get(key(node, text[end]));
        if (!edge) break;
        node = edge->first;
        ++end;
        const uint32_t piece = pieces_[node];
        if (piece == kNone) continue;
        offer(start, end, scores_[piece], ids_[piece]);
        alone |= end == start + 1;
      }
      if (!alone) offer(start, start + 1, unknown_score, unknown_id);
    }
    Cut found;
    for (size_t end = size; end > 0; end = came[end]) {
      found.ends.push_back(end);
      found.ids.push_back(ids[end]);
    }
    std::reverse(found.ends.begin(), found.ends.end());
    std::reverse(found.ids.begin(), found.ids.end());
    return found;
  }

 private:
  static constexpr uint32_t kNone = ~0u;
  static constexpr uint64_t kNowhere = ~0ull;

  static uint64_t key(uint32_t node, uint32_t code) { return static_cast<uint64_t>(node) << 32 | code; }

  uint32_t child(uint32_t node, uint32_t code) {
    if (const auto* edge = edges_.get(key(node, code))) return edge->first;
    const uint32_t made = static_cast<uint32_t>(pieces_.size());
    pieces_.push_back(kNone);
    edges_.set(key(node, code), {made, 0});
    return made;
  }

  PairTable edges_;
  std::vector<uint32_t> pieces_;  // of each node: the piece that ends there
  std::vector<double> scores_;
  std::vector<int64_t> ids_;
};

}  // namespace ownlm
