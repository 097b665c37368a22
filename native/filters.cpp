// Bindings of the filters kernels: statistics of a text that quality filters decide on.
#include <cstring>
#include <stdexcept>

#include "bindings.hpp"
#include "text_rules.hpp"

namespace ownlm {

namespace {

using namespace nb::literals;

using FlagTable = nb::ndarray<const uint16_t, nb::shape<0x110000>, nb::c_contig, nb::device::cpu>;

// work(characters) on the string as Python keeps it: nothing is copied, lone surrogates are characters as others.
template <class Work>
auto with_characters(nb::str string, const FlagTable& table, Work&& work) {
  PyObject* text = string.ptr();
  const size_t size = static_cast<size_t>(PyUnicode_GET_LENGTH(text));
  if (size >= 0xFFFFFFFFull) throw std::invalid_argument("a text of 2^32 characters or more");
  switch (PyUnicode_KIND(text)) {
    case PyUnicode_1BYTE_KIND:
      return work(rules::Characters<Py_UCS1>{PyUnicode_1BYTE_DATA(text), size, table.data()});
    case PyUnicode_2BYTE_KIND:
      return work(rules::Characters<Py_UCS2>{PyUnicode_2BYTE_DATA(text), size, table.data()});
    default:
      return work(rules::Characters<Py_UCS4>{PyUnicode_4BYTE_DATA(text), size, table.data()});
  }
}

template <class Code>
rules::TextStatistics measured(const rules::Characters<Code>& text, int64_t short_line) {
  thread_local rules::Scratch scratch;
  return rules::TextRules<Code>(text, scratch).measure(short_line);
}

nb::tuple text_statistics(nb::str string, FlagTable table, int64_t short_line) {
  const rules::TextStatistics statistics = with_characters(string, table, [short_line](const auto& text) {
    if (text.size < 65536) return measured(text, short_line);  // releasing the lock would cost more than the work
    nb::gil_scoped_release unlocked;
    return measured(text, short_line);
  });
  int64_t row[rules::kNumStatistics];
  std::memcpy(row, &statistics, sizeof(row));
  PyObject* tuple = PyTuple_New(rules::kNumStatistics);
  if (!tuple) throw nb::python_error();
  for (size_t i = 0; i < rules::kNumStatistics; ++i)
    PyTuple_SET_ITEM(tuple, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(row[i]));
  return nb::steal<nb::tuple>(tuple);
}

class Finder {
 public:
  Finder(FlagTable table, nb::list words) : table_(table), finder_(made(table, words)) {}

  int64_t count(nb::str string, int64_t enough) const {
    return with_characters(string, table_, [&](const auto& text) { return finder_.count(text, enough); });
  }

 private:
  static rules::WordFinder made(const FlagTable& table, nb::list words) {
    std::vector<uint32_t> codes;
    std::vector<size_t> ends;
    for (nb::handle word : words) {
      with_characters(nb::cast<nb::str>(word), table, [&](const auto& text) {
        codes.insert(codes.end(), text.codes, text.codes + text.size);
        return 0;
      });
      ends.push_back(codes.size());
    }
    return {std::move(codes), std::move(ends)};
  }

  FlagTable table_;
  rules::WordFinder finder_;
};

}  // namespace

void bind_filters(nb::module_& m) {
  m.def("text_statistics", text_statistics, "text"_a, "flags"_a, "short_line"_a, "The counts of data.filters.statistics.");
  nb::class_<Finder>(m, "WordFinder", "Counts the different words of a list that a text contains.")
      .def(nb::init<FlagTable, nb::list>(), "flags"_a, "words"_a)
      .def("count", &Finder::count, "text"_a, "enough"_a);
}

}  // namespace ownlm
