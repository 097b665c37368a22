// Text -> words as the quality rules count them. The rules and their reasons stand in
// src/ownlm/data/filters/words.py; this follows it function by function. Offsets count code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ownlm::rules {

using Flags = uint16_t;

// The bits of data/filters/characters.py.
enum : Flags {
  kSpace = 1, kLetter = 2, kDigit = 4, kLower = 8, kUpper = 16, kFront = 32, kBack = 64, kQuote = 128, kCut = 256,
  kTerminal = 512, kPaired = 1024, kFourfold = 2048, kBullet = 4096,
};

// A Python string as it lies in memory, one, two or four bytes per code point, and what its characters are.
template <class Code>
struct Characters {
  const Code* codes;
  size_t size;
  const Flags* table;

  Flags flags(size_t at) const { return table[codes[at]]; }
};

struct Span {
  uint32_t first, end;
};

// Calls emit(first, end) for every word in order; stops when it returns false.
template <class Code, class Emit>
class WordSplit {
 public:
  WordSplit(const Characters<Code>& text, std::vector<Span>& back, Emit emit)
      : text_(text), codes_(text.codes), size_(text.size), back_(back), emit_(emit) {}

  void run() {
    size_t end = 0;
    while (end < size_ && going_) {
      size_t first = end;
      while (first < size_ && (text_.flags(first) & kSpace)) ++first;
      Flags all = 0;
      for (end = first; end < size_; ++end) {
        const Flags flags = text_.flags(end);
        if (flags & kSpace) break;
        all |= flags;
      }
      unspaced_ = all & (kPaired | kFourfold);
      if (first < end) chunk(first, end);
    }
  }

 private:
  void emit(size_t first, size_t end) {
    if (going_) going_ = emit_(first, end);
  }

  void chunk(size_t first, size_t end) {
    while (const size_t size = front(first, end)) {
      emit(first, first + size);
      first += size;
    }
    back_.clear();
    while (const size_t size = back(first, end)) {
      back_.push_back({static_cast<uint32_t>(end - size), static_cast<uint32_t>(end)});
      end -= size;
    }
    if (first < end) {
      const size_t size = contraction(first, end);
      inside(first, end - size);
      if (size) emit(end - size, end);
    }
    for (size_t i = back_.size(); i-- > 0;) emit(back_[i].first, back_[i].end);
  }

  size_t front(size_t first, size_t end) const {
    if (first == end) return 0;
    if (text_.flags(first) & kFront)
      return codes_[first] == '+' && first + 1 < end && (text_.flags(first + 1) & kDigit) ? 0 : 1;
    const size_t run = dots(first, end);
    return run > 1 ? run : 0;
  }

  size_t dots(size_t first, size_t end) const {
    size_t stop = first;
    while (stop < end && codes_[stop] == '.') ++stop;
    return stop - first;
  }

  size_t back(size_t first, size_t end) const {
    if (first == end) return 0;
    const uint32_t last = codes_[end - 1];
    if (text_.flags(end - 1) & kBack) return 1;
    if (end - first < 2) return 0;
    const uint32_t before = codes_[end - 2];
    if (last == '.') {
      if (before != '.') return ends_sentence(first, end - 2);
      size_t start = end - 1;
      while (start > first && codes_[start - 1] == '.') --start;
      return end - start;
    }
    if (last == '%' || last == '+') return (text_.flags(end - 2) & kDigit) ? 1 : 0;
    return (last == 's' || last == 'S') && apostrophe(before) ? 2 : 0;
  }

  bool ends_sentence(size_t first, size_t at) const {
    if (text_.flags(at) & kUpper) return at > first && (text_.flags(at - 1) & kUpper);
    const uint32_t here = codes_[at];
    return (text_.flags(at) & (kLetter | kDigit | kBack)) || here == '%' || here == 0xB2 || here == '-' || here == '+';
  }

  static bool apostrophe(uint32_t code) { return code == '\'' || code == 0x2019; }
  static uint32_t lower(uint32_t code) { return code >= 'A' && code <= 'Z' ? code + 32 : code; }

  size_t contraction(size_t first, size_t end) const {
    if (end - first > 3) {
      const uint32_t a = lower(codes_[end - 3]), b = lower(codes_[end - 2]), c = lower(codes_[end - 1]);
      if (a == 'n' && apostrophe(b) && c == 't') return 3;
      if (apostrophe(a) && ((b == 'l' && c == 'l') || (b == 'r' && c == 'e') || (b == 'v' && c == 'e'))) return 3;
    }
    if (end - first > 2 && apostrophe(codes_[end - 2])) {
      const uint32_t last = lower(codes_[end - 1]);
      if (last == 'd' || last == 'm') return 2;
    }
    return 0;
  }

  bool address(size_t first, size_t end) const {
    if (end - first >= 4 && codes_[first] == 'w' && codes_[first + 1] == 'w' && codes_[first + 2] == 'w' &&
        codes_[first + 3] == '.')
      return true;
    for (size_t at = first; at + 2 < end; ++at)
      if (codes_[at] == ':' && codes_[at + 1] == '/' && codes_[at + 2] == '/') return true;
    return false;
  }

  void inside(size_t first, size_t end) {
    size_t start = first;
    if (!address(first, end)) {
      for (size_t at = first; at < end;) {
        const size_t size = cut(first, at, end);
        if (size) {
          unspaced(start, at);
          emit(at, at + size);
          start = at + size;
        }
        at += size ? size : 1;
      }
    }
    unspaced(start, end);
  }

  size_t cut(size_t first, size_t at, size_t end) const {
    const Flags flags = text_.flags(at);
    if (flags & kCut) return 1;
    if (flags & (kLetter | kDigit)) return 0;
    const uint32_t here = codes_[at];
    if (here == '.') {
      const size_t run = dots(at, end);
      if (run > 1) return run;
    }
    if (at == first || at + 1 >= end) return 0;
    const Flags before = text_.flags(at - 1), after = text_.flags(at + 1);
    switch (here) {
      case '.':
        return (before & (kLower | kQuote)) && (after & (kUpper | kQuote));
      case ',':
        return before & after & kLetter ? 1 : 0;
      case '+': case '-': case '*': case '^':
        if ((before & kDigit) && ((after & kDigit) || codes_[at + 1] == '-')) return 1;
        break;
      default:
        break;
    }
    if (!(before & (kLetter | kDigit))) return 0;
    size_t size = 1;
    switch (here) {
      case '-':
        while (size < 3 && at + size < end && codes_[at + size] == '-') ++size;
        break;
      case 0x2013: case 0x2014: case '~': case ':': case '<': case '>': case '=': case '/':
        break;
      default:
        return 0;
    }
    return at + size < end && (text_.flags(at + size) & kLetter) ? size : 0;
  }

  void unspaced(size_t first, size_t end) {
    if (!unspaced_) {
      if (first < end) emit(first, end);
      return;
    }
    while (first < end) {
      const Flags kind = text_.flags(first) & (kPaired | kFourfold);
      const size_t most = kind == 0 ? end - first : kind == kPaired ? 2 : 4;
      size_t stop = first;
      while (stop < end && stop - first < most && (text_.flags(stop) & (kPaired | kFourfold)) == kind) ++stop;
      emit(first, stop);
      first = stop;
    }
  }

  const Characters<Code> text_;
  const Code* codes_;
  size_t size_;
  std::vector<Span>& back_;
  Emit emit_;
  bool unspaced_ = false, going_ = true;
};

template <class Code, class Emit>
void each_word(const Characters<Code>& text, std::vector<Span>& back, Emit emit) {
  WordSplit<Code, Emit>(text, back, emit).run();
}

}  // namespace ownlm::rules
