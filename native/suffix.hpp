// Suffix array by induced sorting (SA-IS, Nong, Zhang, Chan 2009), longest common prefixes by the phi order (Karkkainen,
// Manzini, Puglisi 2009), and the windows that occurred before. Linear time; peak 13 bytes per token and n / 8.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ownlm {

namespace suffix {

using Index = int32_t;
constexpr Index kNone = -1;

// First or last + 1 slot of every symbol's bucket.
template <class Symbol>
void buckets(const Symbol* s, Index n, std::vector<Index>& bucket, bool ends) {
  std::fill(bucket.begin(), bucket.end(), 0);
  for (Index i = 0; i < n; ++i) ++bucket[s[i]];
  Index sum = 0;
  for (Index& slot : bucket) {
    const Index count = slot;
    sum += count;
    slot = ends ? sum : sum - count;
  }
}

// From sorted LMS suffixes in `sa` (kNone elsewhere) to all L-type suffixes, then to all S-type ones.
template <class Symbol>
void induce(const Symbol* s, Index* sa, Index n, std::vector<Index>& bucket, const std::vector<bool>& small) {
  buckets(s, n, bucket, false);
  for (Index i = 0; i < n; ++i) {
    const Index before = sa[i] - 1;
    if (before >= 0 && !small[before]) sa[bucket[s[before]]++] = before;
  }
  buckets(s, n, bucket, true);
  for (Index i = n - 1; i >= 0; --i) {
    const Index before = sa[i] - 1;
    if (before >= 0 && small[before]) sa[--bucket[s[before]]] = before;
  }
}

// s ends in a 0 that occurs nowhere else; symbols are below `alphabet`.
template <class Symbol>
void sort(const Symbol* s, Index* sa, Index n, Index alphabet) {
  if (n == 1) {
    sa[0] = 0;
    return;
  }
  std::vector<bool> small(n);  // S-type: smaller than the suffix behind it
  small[n - 1] = true;
  for (Index i = n - 2; i >= 0; --i) small[i] = s[i] < s[i + 1] || (s[i] == s[i + 1] && small[i + 1]);
  const auto leftmost = [&](Index i) { return i > 0 && small[i] && !small[i - 1]; };
  Index count = 0;
  {
    std::vector<Index> bucket(alphabet);
    buckets(s, n, bucket, true);
    std::fill(sa, sa + n, kNone);
    for (Index i = 1; i < n; ++i)
      if (leftmost(i)) sa[--bucket[s[i]]] = i;
    induce(s, sa, n, bucket, small);
  }
  for (Index i = 0; i < n; ++i)  // the LMS substrings, now in order, to the front
    if (leftmost(sa[i])) sa[count++] = sa[i];
  std::fill(sa + count, sa + n, kNone);
  Index names = 0, previous = kNone;
  for (Index i = 0; i < count; ++i) {
    const Index here = sa[i];
    bool same = previous != kNone;
    for (Index d = 0; same; ++d) {
      same = s[here + d] == s[previous + d] && small[here + d] == small[previous + d];
      if (d > 0 && (leftmost(here + d) || leftmost(previous + d))) {
        same = same && leftmost(here + d) && leftmost(previous + d);
        break;
      }
    }
    if (!same) ++names, previous = here;
    sa[count + here / 2] = names - 1;  // LMS positions are at least two apart
  }
  Index* reduced = sa + n - count;
  for (Index i = n - 1, to = n - 1; i >= count; --i)
    if (sa[i] != kNone) sa[to--] = sa[i];
  if (names < count) {
    sort<Index>(reduced, sa, count, names);
  } else {
    for (Index i = 0; i < count; ++i) sa[reduced[i]] = i;
  }
  for (Index i = 1, to = 0; i < n; ++i)
    if (leftmost(i)) reduced[to++] = i;
  for (Index i = 0; i < count; ++i) sa[i] = reduced[sa[i]];
  std::fill(sa + count, sa + n, kNone);
  std::vector<Index> bucket(alphabet);
  buckets(s, n, bucket, true);
  for (Index i = count - 1; i >= 0; --i) {
    const Index at = sa[i];
    sa[i] = kNone;
    sa[--bucket[s[at]]] = at;
  }
  induce(s, sa, n, bucket, small);
}

// lengths[i]: symbols that the suffix at i shares with the one before it in the array.
template <class Symbol>
void common_prefixes(const Symbol* s, const Index* sa, Index n, Index* lengths) {
  lengths[sa[0]] = kNone;
  for (Index i = 1; i < n; ++i) lengths[sa[i]] = sa[i - 1];
  Index shared = 0;
  for (Index i = 0; i < n; ++i) {
    const Index other = lengths[i];
    if (other == kNone) {
      lengths[i] = shared = 0;
      continue;
    }
    while (i + shared < n && other + shared < n && s[i + shared] == s[other + shared]) ++shared;
    lengths[i] = shared;
    if (shared) --shared;
  }
}

}  // namespace suffix

// repeated[i] = 1 where the `length` tokens from i on occurred before, all before i; windows past the end of their
// document (left[i] < length) are never compared. `s` has n tokens and a last 0 behind them.
inline void repeated_windows(const uint32_t* s, const uint32_t* left, size_t n, uint32_t alphabet, uint32_t length, uint8_t* repeated) {
  using suffix::Index;
  const Index total = static_cast<Index>(n) + 1;
  std::vector<Index> sa(total), lengths(total);
  suffix::sort(s, sa.data(), total, static_cast<Index>(alphabet));
  suffix::common_prefixes(s, sa.data(), total, lengths.data());
  const auto inside = [&](Index i) { return static_cast<size_t>(i) < n && left[i] >= length; };
  std::fill(repeated, repeated + n, uint8_t{0});
  for (Index from = 0, to; from < total; from = to) {
    Index first = inside(sa[from]) ? sa[from] : total;
    for (to = from + 1; to < total && lengths[sa[to]] >= static_cast<Index>(length); ++to)
      if (inside(sa[to])) first = std::min(first, sa[to]);
    for (Index i = from; i < to; ++i)
      if (inside(sa[i]) && sa[i] - first >= static_cast<Index>(length)) repeated[sa[i]] = 1;
  }
}

}  // namespace ownlm
