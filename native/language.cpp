// Bindings of the language kernel: letter n-grams of a text, gathered and added up.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bindings.hpp"
#include "gather.hpp"

using namespace nb::literals;

namespace ownlm {
namespace {

template <class T>
using Column = nb::ndarray<const T, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Plane = nb::ndarray<const uint8_t, nb::shape<GramTable::kPlane>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

class LanguageTable {
 public:
  LanguageTable(Plane is_letter, Column<int32_t> slots, Column<uint32_t> keys, Rows weights)
      : is_letter_(is_letter), slots_(slots), keys_(keys), weights_(weights), table_(checked()) {}

  // The lock is kept: a window takes microseconds.
  nb::tuple scores(nb::bytes utf32) const {
    const size_t size = utf32.size() / sizeof(uint32_t);
    std::vector<uint32_t> codes(size);
    std::memcpy(codes.data(), utf32.data(), size * sizeof(uint32_t));
    uint64_t* sums = allocate<uint64_t>(weights_.shape(1));
    std::fill(sums, sums + weights_.shape(1), uint64_t{0});
    const size_t letters = table_.score(codes.data(), size, sums);
    return nb::make_tuple(owned(sums, weights_.shape(1)), letters);
  }

 private:
  GramTable::View checked() const {
    int bits = 0;
    while ((size_t{1} << bits) < slots_.shape(0)) ++bits;
    if ((size_t{1} << bits) != slots_.shape(0) || bits < 1 || bits > 31) throw std::invalid_argument("2^bits slots");
    if (keys_.shape(0) != weights_.shape(0)) throw std::invalid_argument("one row of weights per key");
    for (size_t i = 0; i < slots_.shape(0); ++i)
      if (slots_.data()[i] < 0 || static_cast<size_t>(slots_.data()[i]) >= keys_.shape(0))
        throw std::invalid_argument("a slot names a row that is not there");
    return {is_letter_.data(), slots_.data(),      keys_.data(),      weights_.data(),
            slots_.shape(0),   weights_.shape(0),  weights_.shape(1), bits};
  }

  Plane is_letter_;
  Column<int32_t> slots_;
  Column<uint32_t> keys_;
  Rows weights_;
  GramTable table_;
};

}  // namespace

void bind_language(nb::module_& m) {
  nb::class_<LanguageTable>(m, "LanguageTable", "Sums of the weights of a text's letter n-grams, per language.")
      .def(nb::init<Plane, Column<int32_t>, Column<uint32_t>, Rows>(), "is_letter"_a, "slots"_a, "keys"_a, "weights"_a)
      .def("scores", &LanguageTable::scores, "utf32"_a, "uint64 [width] and the number of letters.");
}

}  // namespace ownlm
