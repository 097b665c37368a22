// Bindings of the duplicates kernels: signatures and comparisons that find duplicate texts.
#include <limits>
#include <stdexcept>
#include <string>

#include "bindings.hpp"
#include "minhash.hpp"
#include "suffix.hpp"
#include "words.hpp"

using namespace nb::literals;

namespace ownlm {
namespace {

template <class T>
using Column = nb::ndarray<const T, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Letters = nb::ndarray<const uint32_t, nb::shape<kTable>, nb::c_contig, nb::device::cpu>;

template <class T>
auto moved(const std::vector<T>& values) {
  T* copy = allocate<T>(values.size());
  std::copy(values.begin(), values.end(), copy);
  return owned(copy, values.size());
}

nb::tuple words(nb::list list, Letters table) {
  const Texts texts(list);
  std::vector<uint64_t> hashes, ends;
  std::vector<uint32_t> starts, stops;
  {
    nb::gil_scoped_release unlocked;
    for (const Text& text : texts.texts) {
      if (text.size > std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("a text is above 4 GiB");
      each_word(text.data, text.size, table.data(), [&](uint64_t hash, uint64_t start, uint64_t stop) {
        hashes.push_back(hash);
        starts.push_back(static_cast<uint32_t>(start));
        stops.push_back(static_cast<uint32_t>(stop));
      });
      ends.push_back(hashes.size());
    }
  }
  return nb::make_tuple(moved(hashes), moved(starts), moved(stops), moved(ends));
}

nb::tuple shingles(nb::list list, Letters table, size_t k) {
  const Texts texts(list);
  std::vector<uint64_t> found, ends, row;
  {
    nb::gil_scoped_release unlocked;
    for (const Text& text : texts.texts) {
      row.clear();
      each_word(text.data, text.size, table.data(), [&](uint64_t hash, uint64_t, uint64_t) { row.push_back(hash); });
      append_shingles(row, k, found);
      ends.push_back(found.size());
    }
  }
  return nb::make_tuple(moved(found), moved(ends));
}

nb::tuple signatures(nb::list list, Letters table, size_t k, Column<uint32_t> multiply, Column<uint32_t> add) {
  const Texts texts(list);
  const size_t hashes = multiply.shape(0);
  if (add.shape(0) != hashes) throw std::invalid_argument("multiply and add must have the same length");
  std::vector<uint64_t> row, long_form, ends;
  std::vector<uint32_t> set, spare, sets;
  std::unique_ptr<uint32_t, void (*)(void*)> rows(allocate<uint32_t>(texts.texts.size() * hashes), std::free);
  {
    nb::gil_scoped_release unlocked;
    for (size_t i = 0; i < texts.texts.size(); ++i) {
      const Text& text = texts.texts[i];
      row.clear(), long_form.clear(), set.clear();
      each_word(text.data, text.size, table.data(), [&](uint64_t hash, uint64_t, uint64_t) { row.push_back(hash); });
      append_shingles(row, k, long_form);
      for (const uint64_t hash : long_form) set.push_back(static_cast<uint32_t>(hash >> 32));
      sort_unique(set, spare);
      minhash(set.data(), set.size(), multiply.data(), add.data(), hashes, rows.get() + i * hashes);
      sets.insert(sets.end(), set.begin(), set.end());
      ends.push_back(sets.size());
    }
  }
  return nb::make_tuple(owned(rows.release(), texts.texts.size(), hashes), moved(sets), moved(ends));
}

void check_starts(const Column<uint64_t>& starts, size_t size) {
  if (starts.shape(0) == 0) throw std::invalid_argument("starts must have one entry more than there are sets");
  for (size_t i = 0; i < starts.shape(0); ++i)
    if (starts.data()[i] > size || (i && starts.data()[i] < starts.data()[i - 1])) throw std::invalid_argument("starts must rise");
}

nb::ndarray<nb::numpy, uint32_t> overlaps(Column<uint32_t> a, Column<uint64_t> a_starts, Column<uint32_t> b, Column<uint64_t> b_starts,
                                          Column<int64_t> left, Column<int64_t> right) {
  check_starts(a_starts, a.shape(0)), check_starts(b_starts, b.shape(0));
  const size_t n = left.shape(0);
  if (right.shape(0) != n) throw std::invalid_argument("left and right must have the same length");
  for (size_t i = 0; i < n; ++i)
    if (left.data()[i] < 0 || static_cast<size_t>(left.data()[i]) + 1 >= a_starts.shape(0) || right.data()[i] < 0 ||
        static_cast<size_t>(right.data()[i]) + 1 >= b_starts.shape(0))
      throw std::invalid_argument("a pair names a set that does not exist");
  uint32_t* out = allocate<uint32_t>(n);
  {
    nb::gil_scoped_release unlocked;
    for (size_t i = 0; i < n; ++i) {
      const uint64_t *x = a_starts.data() + left.data()[i], *y = b_starts.data() + right.data()[i];
      out[i] = overlap(a.data() + x[0], a.data() + x[1], b.data() + y[0], b.data() + y[1]);
    }
  }
  return owned(out, n);
}

// Symbols with the closing 0, checked.
std::vector<uint32_t> closed(const Column<uint32_t>& symbols, uint32_t alphabet) {
  const size_t n = symbols.shape(0);
  if (n >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) || alphabet > static_cast<uint32_t>(std::numeric_limits<int32_t>::max()))
    throw std::invalid_argument("2^31 tokens or more");
  std::vector<uint32_t> copy(symbols.data(), symbols.data() + n);
  for (const uint32_t symbol : copy)
    if (symbol == 0 || symbol >= alphabet) throw std::invalid_argument("symbols must be in 1 .. alphabet - 1");
  copy.push_back(0);
  return copy;
}

nb::ndarray<nb::numpy, int32_t> suffix_array(Column<uint32_t> symbols, uint32_t alphabet) {
  const size_t n = symbols.shape(0);
  const std::vector<uint32_t> s = closed(symbols, alphabet);
  std::unique_ptr<int32_t, void (*)(void*)> out(allocate<int32_t>(n), std::free);
  {
    nb::gil_scoped_release unlocked;
    std::vector<int32_t> sa(n + 1);
    suffix::sort(s.data(), sa.data(), static_cast<int32_t>(n + 1), static_cast<int32_t>(std::max(1u, alphabet)));
    std::copy(sa.begin() + 1, sa.end(), out.get());
  }
  return owned(out.release(), n);
}

nb::ndarray<nb::numpy, uint8_t> repeats(Column<uint32_t> symbols, uint32_t alphabet, Column<uint32_t> left, uint32_t length) {
  const size_t n = symbols.shape(0);
  if (left.shape(0) != n || length == 0) throw std::invalid_argument("one `left` per symbol and a length of at least 1");
  const std::vector<uint32_t> s = closed(symbols, alphabet);
  std::unique_ptr<uint8_t, void (*)(void*)> out(allocate<uint8_t>(n), std::free);
  {
    nb::gil_scoped_release unlocked;
    repeated_windows(s.data(), left.data(), n, std::max(1u, alphabet), length, out.get());
  }
  return owned(out.release(), n);
}

}  // namespace

void bind_duplicates(nb::module_& m) {
  m.def("words", words, "texts"_a, "table"_a, "hashes uint64 [W], first character and one after the last uint32 [W], ends uint64 [D].");
  m.def("shingles", shingles, "texts"_a, "table"_a, "k"_a, "hashes of k words in a row uint64 [S], ends uint64 [D].");
  m.def("minhash", signatures, "texts"_a, "table"_a, "k"_a, "multiply"_a, "add"_a,
        "signatures uint32 [D, H], sorted shingle numbers uint32 [S], ends uint64 [D].");
  m.def("overlaps", overlaps, "a"_a, "a_starts"_a, "b"_a, "b_starts"_a, "left"_a, "right"_a, "common numbers of sorted sets uint32 [P].");
  m.def("suffix_array", suffix_array, "symbols"_a, "alphabet"_a, "int32 [n]; symbols in 1 .. alphabet - 1.");
  m.def("repeats", repeats, "symbols"_a, "alphabet"_a, "left"_a, "length"_a,
        "uint8 [n]: the `length` symbols from here occurred before; `left` symbols remain in the document.");
}

}  // namespace ownlm
