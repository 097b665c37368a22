// Binding of the contamination kernel: where in a document a seed of an evaluation item stands.
// The reference is ownlm.data.eval_index: gram_hashes and the look into the bitmap.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "bindings.hpp"

using namespace nb::literals;

namespace ownlm {
namespace {

template <class T>
using Column = nb::ndarray<const T, nb::shape<-1>, nb::c_contig, nb::device::cpu>;

constexpr size_t kSeed = 5;  // words

uint64_t gram_hash(const uint32_t* w) {
  const uint64_t first = w[0] * uint64_t{0x9E3779B97F4A7C15} + w[1];
  const uint64_t second = w[2] * uint64_t{0x9E3779B97F4A7C15} + w[3];
  uint64_t mixed = ((first * uint64_t{0xC2B2AE3D27D4EB4F}) ^ second) * uint64_t{0x165667B19E3779F9} + w[4];
  mixed ^= mixed >> 32;
  return mixed * uint64_t{0x94D049BB133111EB};
}

// Places whose gram is one of the seeds (sorted), rising, and the hash of each gram.
nb::tuple seed_places(Column<uint32_t> ids, Column<uint8_t> bitmap, int shift, Column<uint64_t> seeds) {
  if (shift < 1 || shift > 61 || (uint64_t{1} << (61 - shift)) != bitmap.shape(0))
    throw std::invalid_argument("a bitmap of 2^(64 - shift) bits");
  std::vector<int64_t> places;
  std::vector<uint64_t> hashes;
  for (size_t i = 0; i + kSeed <= ids.shape(0); ++i) {
    const uint64_t hash = gram_hash(ids.data() + i), low = hash >> shift;
    if (!(bitmap.data()[low >> 3] >> (low & 7) & 1)) continue;  // most end here
    if (!std::binary_search(seeds.data(), seeds.data() + seeds.shape(0), hash)) continue;
    places.push_back(static_cast<int64_t>(i));
    hashes.push_back(hash);
  }
  int64_t* at = allocate<int64_t>(places.size());
  uint64_t* of = allocate<uint64_t>(hashes.size());
  std::copy(places.begin(), places.end(), at);
  std::copy(hashes.begin(), hashes.end(), of);
  return nb::make_tuple(owned(at, places.size()), owned(of, hashes.size()));
}

}  // namespace

void bind_contamination(nb::module_& m) {
  m.def("seed_places", seed_places, "ids"_a, "bitmap"_a, "shift"_a, "seeds"_a,
        "int64 [C] places and uint64 [C] hashes.");
}

}  // namespace ownlm
