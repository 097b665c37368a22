// ownlm._native: arrays and strings in, arrays out; the interpreter lock is released while the work runs.
// Nothing here decides anything: each kernel has its reference in the Python room that owns it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <thread>
#include <vector>

#include "bindings.hpp"
#include "count.hpp"
#include "encode.hpp"
#include "learn.hpp"
#include "pieces.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using ownlm::Texts;
using ownlm::allocate;
using ownlm::owned;
using ownlm::utf8;

using Classes = nb::ndarray<const uint8_t, nb::shape<0x110000>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const uint32_t, nb::shape<256>, nb::c_contig, nb::device::cpu>;
using MergeRows = nb::ndarray<const uint32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;

class WordCounter {
 public:
  WordCounter(int family, Classes classes) : classes_(classes), splitter_(family, classes.data()) {}

  void add(nb::list list, size_t threads) {
    Texts texts(list);
    nb::gil_scoped_release unlocked;
    const size_t n = std::max<size_t>(1, std::min(threads, texts.texts.size()));
    tables_.resize(std::max(tables_.size(), n));
    size_t total = 0;
    for (const ownlm::Text& text : texts.texts) total += text.size;
    num_bytes_ += total;
    std::vector<std::thread> pool;
    size_t at = 0, bytes = 0;
    for (size_t i = 0; i < n; ++i) {
      const size_t from = at;
      while (at < texts.texts.size() && (i + 1 == n || bytes < total * (i + 1) / n)) bytes += texts.texts[at++].size;
      const auto work = [this, i, from, to = at, &texts] { count(tables_[i], &texts.texts[0] + from, &texts.texts[0] + to); };
      if (i + 1 < n)
        pool.emplace_back(work);
      else
        work();
    }
    for (std::thread& thread : pool) thread.join();
  }

  nb::ndarray<nb::numpy, uint32_t> learn(size_t num_merges, int64_t min_count) {
    std::vector<std::pair<uint32_t, uint32_t>> merges;
    {
      nb::gil_scoped_release unlocked;
      gather();
      merges = ownlm::Learner(tables_[0], std::max<int64_t>(1, min_count)).learn(num_merges);
    }
    uint32_t* rows = allocate<uint32_t>(2 * merges.size());
    for (size_t i = 0; i < merges.size(); ++i) {
      rows[2 * i] = merges[i].first;
      rows[2 * i + 1] = merges[i].second;
    }
    return owned(rows, merges.size(), 2);
  }

  size_t num_words() {
    gather();
    return tables_[0].size();
  }
  size_t num_bytes() const { return num_bytes_; }

 private:
  void count(ownlm::WordTable& table, const ownlm::Text* text, const ownlm::Text* stop) {
    for (; text < stop; ++text) {
      const ownlm::Byte* limit = text->data + text->size;
      splitter_.split(text->data, text->size,
                      [&](const ownlm::Byte* b, const ownlm::Byte* e) { table.add(b, e - b, limit); });
    }
  }

  // All counts into the first table.
  void gather() {
    if (tables_.empty()) tables_.resize(1);
    for (size_t i = 1; i < tables_.size(); ++i) {
      tables_[i].each([&](const ownlm::Byte* word, size_t size, uint64_t count) {
        tables_[0].add(word, size, word + size, count);
      });
      tables_[i].clear();
    }
  }

  Classes classes_;
  ownlm::Splitter splitter_;
  std::vector<ownlm::WordTable> tables_;
  size_t num_bytes_ = 0;
};

class Encoder {
 public:
  Encoder(int family, Classes classes, Ids byte_ids, MergeRows merges)
      : classes_(classes),
        splitter_(family, classes.data()),
        merges_(byte_ids.data(), merges.data(), merges.shape(0)),
        narrow_(splitter_, merges_),
        wide_(splitter_, merges_) {}

  nb::list encode(nb::str string) {
    std::vector<ownlm::Text> texts{utf8(string.ptr())};
    uint64_t end;
    size_t count;
    std::unique_ptr<uint32_t, void (*)(void*)> ids(allocate<uint32_t>(texts[0].size + ownlm::kSlack), std::free);
    if (texts[0].size > 4096) {  // below, releasing the lock would cost more than the work
      nb::gil_scoped_release unlocked;
      count = wide_.encode(texts, 1, ids.get(), &end);
    } else {
      count = wide_.encode(texts, 1, ids.get(), &end);
    }
    PyObject* list = PyList_New(static_cast<Py_ssize_t>(count));
    if (!list) throw nb::python_error();
    for (size_t i = 0; i < count; ++i) PyList_SET_ITEM(list, i, PyLong_FromUnsignedLong(ids.get()[i]));
    return nb::steal<nb::list>(list);
  }

  // (ids of all texts one after the other, end of each text in them)
  template <class Id>
  nb::tuple encode_batch(ownlm::Encoder<Id>& encoder, nb::list list, size_t threads) {
    Texts texts(list);
    threads = std::max<size_t>(1, std::min<size_t>(threads, 64));
    size_t total = threads * ownlm::kSlack;
    for (const ownlm::Text& text : texts.texts) total += text.size;
    std::unique_ptr<Id, void (*)(void*)> ids(allocate<Id>(total), std::free);
    std::unique_ptr<uint64_t, void (*)(void*)> ends(allocate<uint64_t>(texts.texts.size()), std::free);
    size_t count;
    {
      nb::gil_scoped_release unlocked;
      count = encoder.encode(texts.texts, threads, ids.get(), ends.get());
    }
    Id* block = ids.release();
    if (void* smaller = std::realloc(block, std::max<size_t>(1, count) * sizeof(Id))) block = static_cast<Id*>(smaller);
    return nb::make_tuple(owned(block, count), owned(ends.release(), texts.texts.size()));
  }
  nb::tuple encode_batch16(nb::list list, size_t threads) { return encode_batch(narrow_, list, threads); }
  nb::tuple encode_batch32(nb::list list, size_t threads) { return encode_batch(wide_, list, threads); }

 private:
  Classes classes_;
  ownlm::Splitter splitter_;
  ownlm::Merges merges_;
  ownlm::Encoder<uint16_t> narrow_;
  ownlm::Encoder<uint32_t> wide_;
};

template <class T>
auto copied(const std::vector<T>& values) {
  T* copy = allocate<T>(values.size());
  std::copy(values.begin(), values.end(), copy);
  return owned(copy, values.size());
}

using Codes = nb::ndarray<const uint32_t, nb::shape<-1>, nb::c_contig, nb::device::cpu>;

class PieceMerger {
 public:
  using Rows = nb::ndarray<const uint32_t, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;

  explicit PieceMerger(Rows rows) : merger_(rows.data(), rows.shape(0)) {}

  nb::ndarray<nb::numpy, uint32_t> merge(Codes ids) {
    std::vector<uint32_t> out;
    {
      nb::gil_scoped_release unlocked;
      out = merger_.merge(ids.data(), ids.shape(0));
    }
    return copied(out);
  }

 private:
  ownlm::PieceMerger merger_;
};

class PieceCutter {
 public:
  template <class T>
  using Column = nb::ndarray<const T, nb::shape<-1>, nb::c_contig, nb::device::cpu>;

  PieceCutter(Codes codes, Column<uint64_t> ends, Column<double> scores, Column<int64_t> ids)
      : cutter_(codes.data(), checked(codes, ends, scores.shape(0), ids.shape(0)), scores.data(), ids.data(), ends.shape(0)) {}

  nb::tuple cut(Codes text, double unknown_score, int64_t unknown_id, bool single) {
    ownlm::PieceCutter::Cut found;
    {
      nb::gil_scoped_release unlocked;
      found = single ? cutter_.cut<float>(text.data(), text.shape(0), unknown_score, unknown_id)
                     : cutter_.cut<double>(text.data(), text.shape(0), unknown_score, unknown_id);
    }
    return nb::make_tuple(copied(found.ends), copied(found.ids));
  }

 private:
  static const uint64_t* checked(const Codes& codes, const Column<uint64_t>& ends, size_t scores, size_t ids) {
    uint64_t before = 0;
    for (size_t i = 0; i < ends.shape(0); ++i) {
      if (ends.data()[i] <= before || ends.data()[i] > codes.shape(0)) throw std::invalid_argument("ends must rise");
      before = ends.data()[i];
    }
    if (scores != ends.shape(0) || ids != ends.shape(0)) throw std::invalid_argument("one score and id per piece");
    return ends.data();
  }

  ownlm::PieceCutter cutter_;
};

// End of every piece, in UTF-8 bytes.
nb::ndarray<nb::numpy, uint64_t> split_ends(nb::str string, int family, Classes classes) {
  const ownlm::Text text = utf8(string.ptr());
  const ownlm::Splitter splitter(family, classes.data());
  std::vector<uint64_t> ends;
  {
    nb::gil_scoped_release unlocked;
    splitter.split(text.data, text.size, [&](const ownlm::Byte*, const ownlm::Byte* e) { ends.push_back(e - text.data); });
  }
  uint64_t* copy = allocate<uint64_t>(ends.size());
  std::copy(ends.begin(), ends.end(), copy);
  return owned(copy, ends.size());
}

// What the processor offers to kernels that dispatch at run time.
std::string isa() {
#if defined(__x86_64__) && defined(__GNUC__)
  std::string found = "x86-64";
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) found += " avx2";
  if (__builtin_cpu_supports("avx512bw")) found += " avx512";
  if (__builtin_cpu_supports("avx512vnni")) found += " vnni";
  return found;
#elif defined(__aarch64__)
  return "aarch64 neon";
#else
  return "plain";
#endif
}

}  // namespace

NB_MODULE(_native, m) {
  m.attr("version") = OWNLM_VERSION;
  m.def("isa", isa, "The instruction sets of this processor that kernels may choose.");
  m.def("split_ends", split_ends, "text"_a, "family"_a, "classes"_a, "uint64 [P]: where each piece ends, in bytes.");
  nb::class_<WordCounter>(m, "WordCounter", "Counts the pieces of texts, then learns BPE merges from them.")
      .def(nb::init<int, Classes>(), "family"_a, "classes"_a)
      .def("add", &WordCounter::add, "texts"_a, "threads"_a = 1)
      .def("learn", &WordCounter::learn, "num_merges"_a, "min_count"_a, "uint32 [M, 2]: left and right ids, in order.")
      .def_prop_ro("num_words", &WordCounter::num_words)
      .def_prop_ro("num_bytes", &WordCounter::num_bytes);
  nb::class_<Encoder>(m, "Encoder", "Text to ids by byte-level BPE; safe to use from several threads.")
      .def(nb::init<int, Classes, Ids, MergeRows>(), "family"_a, "classes"_a, "byte_ids"_a, "merges"_a)
      .def("encode", &Encoder::encode, "text"_a)
      .def("encode_batch16", &Encoder::encode_batch16, "texts"_a, "threads"_a = 1)
      .def("encode_batch32", &Encoder::encode_batch32, "texts"_a, "threads"_a = 1);
  nb::class_<PieceMerger>(m, "PieceMerger", "Merges ids pair by pair, lowest rank first.")
      .def(nb::init<PieceMerger::Rows>(), "rows"_a)
      .def("merge", &PieceMerger::merge, "ids"_a);
  nb::class_<PieceCutter>(m, "PieceCutter", "The most likely cut of a text into scored pieces.")
      .def(nb::init<Codes, PieceCutter::Column<uint64_t>, PieceCutter::Column<double>, PieceCutter::Column<int64_t>>(), "codes"_a,
           "ends"_a, "scores"_a, "ids"_a)
      .def("cut", &PieceCutter::cut, "text"_a, "unknown_score"_a, "unknown_id"_a, "single"_a);
  ownlm::bind_filters(m);
  ownlm::bind_duplicates(m);
  ownlm::bind_extract(m);
  ownlm::bind_language(m);
  ownlm::bind_contamination(m);
}
