// Language scores of a text: hash its letter n-grams, look them up, add up their rows of weights.
// The reference is ownlm.data.language.grams and table; the two agree to the last unit.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ownlm {

// Every letter n-gram of orders 1 to 4 in a text, as rows of a table of G grams by W weights; row 0 is no gram.
class GramTable {
 public:
  static constexpr int kOrders = 4;
  static constexpr size_t kPlane = 1 << 16;
  static constexpr size_t kLanes = 16;

  struct View {
    const uint8_t* is_letter;  // [kPlane]
    const int32_t* slots;      // [2^slot_bits], row of the gram whose key has these upper bits; 0 for none
    const uint32_t* keys;      // [num_rows]
    const uint8_t* weights;    // [num_rows, width], width a multiple of kLanes
    size_t num_rows, width;
    int slot_bits;
  };

  // The lower bits of a key and its row fit one word, so that a lookup touches memory once.
  explicit GramTable(View view) : view_(view), low_bits_(32 - view.slot_bits), packed_(size_t{1} << view.slot_bits) {
    for (size_t slot = 0; slot < packed_.size(); ++slot) {
      const uint32_t row = static_cast<uint32_t>(view.slots[slot]);
      packed_[slot] = (row << low_bits_) | (view.keys[row] & low_mask());
    }
  }

  static bool fits(size_t num_rows, int slot_bits) { return num_rows <= (size_t{1} << slot_bits); }

  // Adds to sums [width]; returns the number of letters counted.
  size_t score(const uint32_t* codes, size_t size, uint64_t* sums) const {
    std::vector<uint8_t> letter(size);
    const size_t letters = choose_script(codes, size, letter.data());
    std::vector<uint32_t> rows(size * kOrders);
    size_t found = 0;
    uint64_t running[kOrders] = {};  // hash of the letters of this run that end here, per order
    size_t run = 0;
    for (size_t i = 0; i < size; ++i) {
      if (!letter[i]) {
        run = 0;
        continue;
      }
      ++run;
      const uint64_t wide = uint64_t{codes[i]} + 1;
      for (int n = kOrders - 1; n >= 0; --n) {
        if (run <= static_cast<size_t>(n)) continue;
        uint64_t hash = ((n ? running[n - 1] : 0) + wide) * kMultiplier;
        hash ^= hash >> 29;
        running[n] = hash;
        const uint32_t upper = static_cast<uint32_t>(hash >> 32);
        const uint32_t packed = packed_[upper >> low_bits_];
        rows[found] = packed >> low_bits_;  // kept only when the key is right: no branch to guess wrong
        found += ((packed ^ upper) & low_mask()) == 0;
      }
    }
    add(rows.data(), found, sums);
    return letters;
  }

 private:
  static constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;
  static constexpr size_t kExact = 256;  // weights of at most 255 that a sum of 16 bits holds

  // Marks the letters of the script, Latin or other, that fills more bytes of UTF-8.
  size_t choose_script(const uint32_t* codes, size_t size, uint8_t* letter) const {
    size_t latin = 0, other = 0, bytes_of_others = 0;
    for (size_t i = 0; i < size; ++i) {
      const uint32_t code = codes[i];
      if (!view_.is_letter[std::min<uint32_t>(code, kPlane - 1)]) continue;
      const bool is_latin = code < 0x2B0 || (code >= 0x1E00 && code < 0x1F00);
      letter[i] = is_latin ? 1 : 2;
      latin += is_latin;
      other += !is_latin;
      bytes_of_others += is_latin ? 0 : 2 + (code >= 0x800);
    }
    const uint8_t kept = bytes_of_others > latin ? 2 : 1;
    for (size_t i = 0; i < size; ++i) letter[i] = letter[i] == kept;
    return kept == 2 ? other : latin;
  }

  void add(const uint32_t* rows, size_t count, uint64_t* sums) const {
    std::vector<uint16_t> part(view_.width);
    for (size_t from = 0; from < count; from += kExact) {
      std::fill(part.begin(), part.end(), uint16_t{0});
      const size_t to = std::min(count, from + kExact);
      for (size_t r = from; r < to; ++r) {
        const uint8_t* row = view_.weights + size_t{rows[r]} * view_.width;
        for (size_t j = 0; j < view_.width; j += kLanes) add_lanes(row + j, part.data() + j);
      }
      for (size_t j = 0; j < view_.width; ++j) sums[j] += part[j];
    }
  }

  static void add_lanes(const uint8_t* __restrict row, uint16_t* __restrict into) {
    for (size_t j = 0; j < kLanes; ++j) into[j] = static_cast<uint16_t>(into[j] + row[j]);
  }

  uint32_t low_mask() const { return (uint32_t{1} << low_bits_) - 1; }

  View view_;
  int low_bits_;
  std::vector<uint32_t> packed_;
};

}  // namespace ownlm
