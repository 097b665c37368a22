// Bindings of the language kernel: letter n-grams of a text, gathered and added up.
#include <algorithm>
#include <cmath>
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
  LanguageTable(Plane is_letter, Column<int32_t> slots, Column<uint32_t> keys, Rows weights, Column<double> prior,
                double word, double steps, double within)
      : is_letter_(is_letter), slots_(slots), keys_(keys), weights_(weights), prior_(prior), word_(word), steps_(steps),
        within_(within), table_(checked()) {}

  // (letters, best, sum of the best, words of the best, [(language, logit)]). The lock is kept: this takes microseconds.
  nb::tuple rank(nb::bytes utf32, nb::list small) const {
    const size_t size = utf32.size() / sizeof(uint32_t), languages = prior_.shape(0);
    std::vector<uint32_t> codes(size);
    if (size) std::memcpy(codes.data(), utf32.data(), size * sizeof(uint32_t));
    std::vector<uint64_t> sums(weights_.shape(1));
    std::vector<uint32_t> words(languages);
    const size_t letters = table_.score(codes.data(), size, sums.data());
    for (nb::handle index : small) ++words.at(nb::cast<size_t>(index));  // std::out_of_range becomes IndexError
    const double heat = 1.0 / std::sqrt(static_cast<double>(std::max<size_t>(letters, 1)));
    std::vector<double> logits(languages);
    for (size_t i = 0; i < languages; ++i)
      logits[i] = (static_cast<double>(sums[i]) + word_ * words[i]) / steps_ * heat + prior_.data()[i];
    const size_t best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    nb::list near;
    for (size_t i = 0; i < languages; ++i)
      if (logits[i] >= logits[best] - within_) near.append(nb::make_tuple(i, logits[i]));
    return nb::make_tuple(letters, best, sums[best], words[best], near);
  }

 private:
  GramTable::View checked() const {
    int bits = 0;
    while ((size_t{1} << bits) < slots_.shape(0)) ++bits;
    if ((size_t{1} << bits) != slots_.shape(0) || bits < 16 || bits > 31) throw std::invalid_argument("2^bits slots");
    if (keys_.shape(0) != weights_.shape(0)) throw std::invalid_argument("one row of weights per key");
    for (size_t i = 0; i < slots_.shape(0); ++i)
      if (slots_.data()[i] < 0 || static_cast<size_t>(slots_.data()[i]) >= keys_.shape(0))
        throw std::invalid_argument("a slot names a row that is not there");
    if (!GramTable::fits(keys_.shape(0), bits)) throw std::invalid_argument("more grams than slots");
    if (weights_.shape(1) % GramTable::kLanes) throw std::invalid_argument("weights come in rows of 16");
    if (!prior_.shape(0) || prior_.shape(0) > weights_.shape(1)) throw std::invalid_argument("one weight per language");
    return {is_letter_.data(), slots_.data(), keys_.data(), weights_.data(), keys_.shape(0), weights_.shape(1), bits};
  }

  Plane is_letter_;
  Column<int32_t> slots_;
  Column<uint32_t> keys_;
  Rows weights_;
  Column<double> prior_;
  double word_, steps_, within_;
  GramTable table_;
};

}  // namespace

void bind_language(nb::module_& m) {
  nb::class_<LanguageTable>(m, "LanguageTable", "Ranks languages by the letter n-grams and small words of a text.")
      .def(nb::init<Plane, Column<int32_t>, Column<uint32_t>, Rows, Column<double>, double, double, double>(), "is_letter"_a,
           "slots"_a, "keys"_a, "weights"_a, "prior"_a, "word"_a, "steps"_a, "within"_a)
      .def("rank", &LanguageTable::rank, "utf32"_a, "small"_a);
}

}  // namespace ownlm
