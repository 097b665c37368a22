// Text -> pieces, by hand instead of by regex. One function per shape of pattern; the patterns themselves stand in
// src/ownlm/tokenizer/pretokenize.py, whose `split` is the reference that tests hold this against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

// The innermost steps: the compiler would call them, and they run for every character.
#define OWNLM_INLINE inline __attribute__((always_inline))

namespace ownlm {

using Byte = uint8_t;

// Order of pretokenize.PATTERNS.
enum class Family : int { gpt2, cl100k, o200k, llama3, qwen2 };

// Codes of pretokenize.CLASS_CODES: other, upper or title case, lower case, letter of both kinds (Lm, Lo), mark,
// number, white space, and the two newline characters \r \n.
enum : uint8_t { kOther, kUpper, kLower, kBoth, kMark, kNumber, kSpace, kNewline };

inline bool is_letter(uint8_t c) { return c - 1u < 3u; }
inline bool is_space(uint8_t c) { return c >= kSpace; }
inline bool is_punctuation(uint8_t c) { return c == kOther || c == kMark; }
inline bool is_head(uint8_t c) { return c == kUpper || c == kBoth || c == kMark; }  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
inline bool is_tail(uint8_t c) { return c >= kLower && c <= kMark; }                // [\p{Ll}\p{Lm}\p{Lo}\p{M}]

// Splits valid UTF-8. `table` is uint8 [0x110000] and must outlive the splitter.
class Splitter {
 public:
  Splitter(int family, const uint8_t* table) : family_(static_cast<Family>(family)), table_(table) {
    if (family < 0 || family > 4) throw std::invalid_argument("unknown pre-tokenizer family");
  }

  // Calls sink(begin, end) for every piece, in order; they cover [text, text + size).
  template <class Sink>
  void split(const Byte* text, size_t size, Sink&& sink) const {
    const Byte* end = text + size;
    switch (family_) {
      case Family::gpt2: return run(text, end, sink, [this](const Byte* p, const Byte* e) { return gpt2(p, e); });
      case Family::o200k: return run(text, end, sink, [this](const Byte* p, const Byte* e) { return o200k(p, e); });
      case Family::qwen2: return run(text, end, sink, [this](const Byte* p, const Byte* e) { return gpt4<1>(p, e); });
      default: return run(text, end, sink, [this](const Byte* p, const Byte* e) { return gpt4<3>(p, e); });
    }
  }

 private:
  template <class Sink, class Next>
  static void run(const Byte* p, const Byte* end, Sink& sink, Next&& next) {
    while (p < end) {
      const Byte* stop = next(p, end);
      sink(p, stop);
      p = stop;
    }
  }

  // Class of the character at p, and its length in bytes.
  OWNLM_INLINE uint8_t at(const Byte* p, int& length) const {
    const Byte b = *p;
    if (b < 0x80) {
      length = 1;
      return table_[b];
    }
    if (b < 0xE0) {
      length = 2;
      return table_[(b & 0x1F) << 6 | (p[1] & 0x3F)];
    }
    if (b < 0xF0) {
      length = 3;
      return table_[(b & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F)];
    }
    length = 4;
    return table_[(b & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F)];
  }

  // Behind the characters whose class passes the test.
  template <class Test>
  OWNLM_INLINE const Byte* skip(const Byte* p, const Byte* end, Test&& test) const {
    for (int length; p < end; p += length) {
      while (*p < 0x80) {
        if (!test(table_[*p])) return p;
        if (++p == end) return p;
      }
      if (!test(at(p, length))) return p;
    }
    return p;
  }

  // Length of a contraction at p ('s 't 're 've 'm 'll 'd), or 0. Ignoring case, U+017F is an s.
  OWNLM_INLINE static int contraction(const Byte* p, const Byte* end, bool ignore_case) {
    if (end - p < 2 || *p != '\'') return 0;
    const Byte fold = ignore_case ? 0x20 : 0;
    const Byte a = p[1] | fold, b = end - p > 2 ? p[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((b == 'e' && (a == 'r' || a == 'v')) || (a == 'l' && b == 'l')) return 3;
    return ignore_case && end - p > 2 && p[1] == 0xC5 && p[2] == 0xBF ? 3 : 0;
  }

  // \s+(?!\S)|\s+ and, where newlines rule, \s*[\r\n]+ before it. There is white space at p.
  template <bool kNewlines>
  const Byte* white_space(const Byte* p, const Byte* end) const {
    const Byte *last = p, *newline = nullptr, *q = p;
    int length;
    while (q < end) {
      const uint8_t c = at(q, length);
      if (!is_space(c)) break;
      last = q;
      q += length;
      if (c == kNewline) newline = q;
    }
    if (kNewlines && newline) return newline;
    return q == end || last == p ? q : last;  // the last one before a word belongs to the word
  }

  // ` ?[^\s\p{L}\p{N}]+` and then newlines (and slashes, in o200k). nullptr when it does not match.
  template <bool kNewlines, bool kSlash>
  const Byte* punctuation(const Byte* p, const Byte* end) const {
    const Byte* first = p + (*p == ' ');
    const Byte* q = skip(first, end, [](uint8_t k) { return is_punctuation(k); });
    if (q == first) return nullptr;
    if (kNewlines)
      while (q < end && (*q == '\n' || *q == '\r' || (kSlash && *q == '/'))) ++q;
    return q;
  }

  template <int kDigits>
  const Byte* numbers(const Byte* p, const Byte* end) const {
    int length;
    for (int n = 0; n < kDigits && p < end && at(p, length) == kNumber; ++n) p += length;
    return p;
  }

  const Byte* gpt2(const Byte* p, const Byte* end) const {
    if (const int n = contraction(p, end, false)) return p + n;
    const Byte* first = p + (*p == ' ');
    int length;
    if (first < end) {
      const uint8_t c = at(first, length);
      if (is_letter(c)) return skip(first, end, [](uint8_t k) { return is_letter(k); });
      if (c == kNumber) return skip(first, end, [](uint8_t c) { return c == kNumber; });
      if (is_punctuation(c)) return skip(first, end, [](uint8_t k) { return is_punctuation(k); });
    }
    return white_space<false>(p, end);
  }

  // cl100k, llama3 (three digits) and qwen2 (one).
  template <int kDigits>
  const Byte* gpt4(const Byte* p, const Byte* end) const {
    int length, following;
    const uint8_t c = at(p, length);
    if (is_letter(c)) return skip(p + length, end, [](uint8_t k) { return is_letter(k); });
    if (const int n = contraction(p, end, true)) return p + n;
    if (c == kNumber) return numbers<kDigits>(p, end);
    if (c != kNewline) {
      const Byte* next = p + length;
      if (next < end && is_letter(at(next, following))) return skip(next + following, end, [](uint8_t k) { return is_letter(k); });
      if (const Byte* q = punctuation<true, false>(p, end)) return q;
    }
    return white_space<true>(p, end);
  }

  const Byte* o200k(const Byte* p, const Byte* end) const {
    int length;
    const uint8_t c = at(p, length);
    if (c == kNumber) return numbers<3>(p, end);
    if (c != kNewline) {
      if (const Byte* q = cased_word(p, is_letter(c) ? p : p + length, end)) return q;
      if (const Byte* q = punctuation<true, true>(p, end)) return q;
    }
    return white_space<true>(p, end);
  }

  // The first two alternatives of o200k; `first` is behind the optional prefix that starts at p. The pattern
  // backtracks: HEAD* gives characters back until TAIL+ can have one, so we keep where it last could.
  const Byte* cased_word(const Byte* p, const Byte* first, const Byte* end) const {
    int length = 0;
    const Byte *q = first, *shared = nullptr;  // shared: end of the last character that is head and tail alike
    uint8_t c = kOther;
    while (q < end && is_head(c = at(q, length))) {
      q += length;
      if (c != kUpper) shared = q;
    }
    const Byte* stop;
    if (q < end && c == kLower)
      stop = skip(q, end, [](uint8_t k) { return is_tail(k); });
    else if (shared)
      stop = shared;
    else if (first > p && at(p, length) == kMark)
      stop = first;  // the prefix itself is a mark: the pattern gives it back and it is the word
    else if (q > first)
      stop = q;  // HEAD+ alone, the second alternative
    else
      return nullptr;
    return stop + contraction(stop, end, true);
  }

  Family family_;
  const uint8_t* table_;
};

}  // namespace ownlm
