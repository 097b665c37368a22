// The counts that the quality rules decide on; what each means stands in src/ownlm/data/filters/statistics.py,
// whose `reference` computes the same.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "grams.hpp"
#include "word_split.hpp"

namespace ownlm::rules {

// The order of statistics.Statistics.
struct TextStatistics {
  int64_t characters = 0, solid_characters = 0, alphanumeric_characters = 0, newlines = 0, hashes = 0, ellipses = 0;
  int64_t words = 0, plain_words = 0, plain_word_characters = 0, alphabetic_words = 0, unspaced_words = 0;
  int64_t lines = 0, bullet_lines = 0, ellipsis_lines = 0, terminal_lines = 0, short_lines = 0;
  int64_t duplicate_lines = 0, duplicate_line_characters = 0;
  int64_t paragraphs = 0, duplicate_paragraphs = 0, duplicate_paragraph_characters = 0;
  int64_t top[3] = {}, duplicated[6] = {};
};
constexpr size_t kNumStatistics = sizeof(TextStatistics) / sizeof(int64_t);

// Memory that one text after the other uses; the words of 8 MiB of prose take about 100 MB of it.
struct Scratch {
  std::vector<Span> lines, paragraphs, words, back;
  std::vector<uint32_t> ids, ends;  // number of each word; characters in the words before each
  PartNumbers parts;
  Grams grams;

  // Gives back what an unusually long text has left behind.
  void trim(size_t most) {
    for (std::vector<Span>* spans : {&lines, &paragraphs, &words, &back})
      if (spans->capacity() > most) std::vector<Span>().swap(*spans);
    for (std::vector<uint32_t>* numbers : {&ids, &ends})
      if (numbers->capacity() > most) std::vector<uint32_t>().swap(*numbers);
    parts.trim(most);
    grams.trim(most);
  }
};

template <class Code>
class TextRules {
 public:
  TextRules(const Characters<Code>& text, Scratch& scratch) : text_(text), scratch_(scratch) {}

  TextStatistics measure(int64_t short_line) {
    characters();
    lines(short_line);
    words();
    grams();
    scratch_.trim(size_t{1} << 23);
    return out_;
  }

 private:
  void characters() {
    int64_t space = 0, alphanumeric = 0, newlines = 0, hashes = 0, ellipses = 0;
    size_t dots = 0;
    for (size_t i = 0; i < text_.size; ++i) {
      const Flags flags = text_.flags(i);
      const uint32_t code = text_.codes[i];
      space += flags & kSpace;
      alphanumeric += (flags & (kLetter | kDigit)) != 0;
      newlines += code == '\n';
      hashes += code == '#';
      dots = code == '.' ? dots + 1 : 0;
      if (dots == 3) {
        dots = 0;
        ++ellipses;
      }
      ellipses += code == 0x2026;
    }
    out_.characters = static_cast<int64_t>(text_.size);
    out_.solid_characters = out_.characters - space;
    out_.alphanumeric_characters = alphanumeric;
    out_.newlines = newlines;
    out_.hashes = hashes;
    out_.ellipses = ellipses;
  }

  void lines(int64_t short_line) {
    scratch_.lines.clear();
    scratch_.paragraphs.clear();
    bool blank = true;
    for (size_t first = 0; first < text_.size;) {
      size_t stop = first;
      while (stop < text_.size && text_.codes[stop] != '\n') ++stop;
      size_t end = stop;
      while (end > first && (text_.flags(end - 1) & kSpace)) --end;
      if (end > first) {
        const Span line{static_cast<uint32_t>(first), static_cast<uint32_t>(end)};
        scratch_.lines.push_back(line);
        if (blank)
          scratch_.paragraphs.push_back(line);
        else
          scratch_.paragraphs.back().end = line.end;
        kind_of(first, end, short_line);
      }
      blank = end == first;
      first = stop + 1;
    }
    duplicates(scratch_.lines, out_.lines, out_.duplicate_lines, out_.duplicate_line_characters);
    duplicates(scratch_.paragraphs, out_.paragraphs, out_.duplicate_paragraphs, out_.duplicate_paragraph_characters);
  }

  void kind_of(size_t first, size_t end, int64_t short_line) {
    size_t solid = first;
    while (text_.flags(solid) & kSpace) ++solid;
    const Code* last = &text_.codes[end - 1];
    out_.bullet_lines += (text_.flags(solid) & kBullet) != 0;
    out_.ellipsis_lines += *last == 0x2026 || (end - first >= 3 && *last == '.' && last[-1] == '.' && last[-2] == '.');
    out_.terminal_lines += (text_.flags(end - 1) & kTerminal) != 0;
    out_.short_lines += static_cast<int64_t>(end - first) <= short_line;
  }

  void duplicates(const std::vector<Span>& parts, int64_t& all, int64_t& count, int64_t& characters) {
    size_t next = 0;
    scratch_.parts.each(text_.codes, parts, [&](Span part, uint32_t number) {
      if (number == next) {
        ++next;
        return;
      }
      ++count;
      characters += part.end - part.first;
    });
    all = static_cast<int64_t>(parts.size());
  }

  void words() {
    scratch_.words.clear();
    each_word(text_, scratch_.back, [this](size_t first, size_t end) {
      scratch_.words.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(end)});
      return true;
    });
    scratch_.ids.clear();
    scratch_.ends.assign(1, 0);
    scratch_.parts.each(text_.codes, scratch_.words, [&](Span word, uint32_t number) {
      Flags all = 0;
      for (size_t i = word.first; i < word.end; ++i) all |= text_.flags(i);
      const uint32_t size = word.end - word.first;
      out_.alphabetic_words += (all & kLetter) != 0;
      out_.plain_words += (all & (kLetter | kDigit)) != 0;
      out_.plain_word_characters += (all & (kLetter | kDigit)) ? size : 0;
      out_.unspaced_words += (text_.flags(word.first) & (kPaired | kFourfold)) != 0;
      scratch_.ids.push_back(number);
      scratch_.ends.push_back(scratch_.ends.back() + size);
    });
    out_.words = static_cast<int64_t>(scratch_.words.size());
  }

  void grams() {
    const size_t num_words = scratch_.words.size();
    scratch_.grams.start(scratch_.ids, scratch_.parts.count());
    for (size_t n = 2; n <= 10 && n <= num_words; ++n) {
      scratch_.grams.longer();
      if (n <= 4) {
        const auto [place, count] = scratch_.grams.top();
        out_.top[n - 2] = static_cast<int64_t>((scratch_.ends[place + n] - scratch_.ends[place] + n - 1) * count);
      } else {
        out_.duplicated[n - 5] = scratch_.grams.duplicated(n, scratch_.ends);
      }
    }
  }

  const Characters<Code> text_;
  Scratch& scratch_;
  TextStatistics out_;
};

// How many different words of a list a text contains.
// Words are compared as four bytes per code point.
class WordFinder {
 public:
  // `codes` are the words one after the other, ends[i] is where word i ends.
  WordFinder(std::vector<uint32_t> codes, std::vector<size_t> ends) : wanted_(std::move(codes)), ends_(std::move(ends)) {
    size_t size = 16;
    while (size < 2 * ends_.size()) size *= 2;
    slots_.assign(size, 0);
    for (size_t i = 0; i < ends_.size(); ++i) {
      const size_t first = i ? ends_[i - 1] : 0;
      longest_ = std::max(longest_, ends_[i] - first);
      size_t at = hash(wanted_.data() + first, ends_[i] - first) & (size - 1);
      while (slots_[at]) at = (at + 1) & (size - 1);
      slots_[at] = static_cast<uint32_t>(i + 1);
    }
  }

  template <class Code>
  int64_t count(const Characters<Code>& text, int64_t enough) const {
    if (enough <= 0) return 0;
    std::vector<Span> back;
    std::vector<char> seen(ends_.size(), 0);
    int64_t found = 0;
    each_word(text, back, [&](size_t first, size_t end) {
      const size_t index = find(text.codes + first, end - first);
      if (index && !seen[index - 1]) {
        seen[index - 1] = 1;
        ++found;
      }
      return found < enough;
    });
    return found;
  }

 private:
  template <class Code>
  static uint64_t hash(const Code* word, size_t size) {
    uint64_t state = size;
    for (size_t i = 0; i < size; ++i) state = (state ^ word[i]) * 0x9E3779B97F4A7C15ull;
    return state ^ state >> 32;
  }

  // Index + 1, 0: not in the list.
  template <class Code>
  size_t find(const Code* word, size_t size) const {
    if (size > longest_) return 0;
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash(word, size) & mask; slots_[at]; at = (at + 1) & mask) {
      const size_t index = slots_[at], first = index > 1 ? ends_[index - 2] : 0;
      if (ends_[index - 1] - first == size && std::equal(word, word + size, &wanted_[first])) return index;
    }
    return 0;
  }

  std::vector<uint32_t> wanted_;
  std::vector<size_t> ends_;
  std::vector<uint32_t> slots_;
  size_t longest_ = 0;
};

}  // namespace ownlm::rules
