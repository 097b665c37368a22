// Binding of the reader of HTML pages, and what it keeps from page to page: the bits of words, decoded entities.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <unordered_map>

#include "bindings.hpp"
#include "html_blocks.hpp"

namespace ownlm {

namespace {

using namespace nb::literals;
using html::Text32;

constexpr size_t kMostWords = 50'000, kMostReferences = 20'000;  // kept; beyond, the table is begun anew
constexpr size_t kMostHints = 500, kLongestWord = 40, kLongestName = 32, kLongestReference = 40;

template <class Code>
nb::object string_of(const Code* begin, const Code* end) {
  PyObject* made = PyUnicode_FromKindAndData(sizeof(Code), begin, end - begin);
  if (!made) throw nb::python_error();
  return nb::steal(made);
}

nb::object string_of(const Text32& text) { return string_of(text.data(), text.data() + text.size()); }

// What is asked of Python. Handed in with each page: kept here, they would hold the module that holds the reader.
struct Asked {
  nb::callable word_bits, decoded, lowered;
};

// What is kept from page to page. Asks for every word and reference that it has not seen; another thread may come in
// while it asks, so nothing of a page is kept here, and tables change only after the answer.
struct Memory {
  std::unordered_map<std::string, int64_t> words;
  std::unordered_map<Text32, Text32> references;

  int64_t bits_of(const std::string& word, const Asked& asked) {
    if (const auto found = words.find(word); found != words.end()) return found->second;
    const int64_t bits = nb::cast<int64_t>(asked.word_bits(word));
    if (words.size() >= kMostWords) words.clear();
    words.emplace(word, bits);
    return bits;
  }

  void append_decoded(const Text32& reference, const Asked& asked, Text32& text) {
    if (const auto found = references.find(reference); found != references.end()) {
      text += found->second;
      return;
    }
    const nb::object answer = asked.decoded(string_of(reference));
    Text32 made(static_cast<size_t>(PyUnicode_GET_LENGTH(answer.ptr())), U'\0');
    for (size_t i = 0; i < made.size(); ++i) made[i] = PyUnicode_READ_CHAR(answer.ptr(), static_cast<Py_ssize_t>(i));
    text += made;
    if (reference.size() > kLongestReference) return;
    if (references.size() >= kMostReferences) references.clear();
    references.emplace(reference, std::move(made));
  }
};

struct Known {
  int number, kind;
  int64_t bits;
};

// Tags by number. A page has a second table, of those of its own making, whose numbers follow.
struct Names {
  std::vector<nb::object> strings;
  std::vector<Known> facts;
  std::unordered_map<std::string, int> numbers;

  const Known& add(const std::string& name, int first, int kind, int64_t bits) {
    const auto [found, is_new] = numbers.emplace(name, static_cast<int>(facts.size()));
    const int at = found->second;
    if (is_new) {
      PyObject* made = PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), "surrogatepass");
      if (!made) throw nb::python_error();
      strings.push_back(nb::steal(made));
      facts.emplace_back();
    }
    return facts[at] = {first + at, kind, bits};
  }
};

struct Masks {
  int64_t article, text, both, hidden, marked;
};

// What BlockReader asks about one page.
class Page {
 public:
  Page(Memory& memory, const Asked& asked, const Names& names, const Masks& masks, int64_t most_elements, int64_t most_blocks)
      : marked(masks.marked), most_elements(most_elements), most_blocks(most_blocks), memory_(memory), asked_(asked),
        names_(names), masks_(masks) {}

  const int64_t marked, most_elements, most_blocks;

  static bool is_space(uint32_t c) { return Py_UNICODE_ISSPACE(static_cast<Py_UCS4>(c)); }

  int64_t bits_of(int number) const { return names_.facts[number].bits; }

  nb::object name_of(int number) const {
    const int num_known = static_cast<int>(names_.strings.size());
    return number < num_known ? names_.strings[number] : own_.strings[number - num_known];
  }

  template <class Code>
  Known tag(const Code* begin, const Code* end) {
    name_.clear();
    bool plain = true;
    for (const Code* p = begin; p < end; ++p) {
      plain &= *p < 128;
      name_ += static_cast<char>(html::lower(*p));
    }
    if (!plain) {
      const nb::bytes bytes = nb::cast<nb::bytes>(asked_.lowered(string_of(begin, end)));
      name_.assign(bytes.c_str(), bytes.size());
    }
    if (const auto found = names_.numbers.find(name_); found != names_.numbers.end()) return names_.facts[found->second];
    if (name_.find('-') == std::string::npos) return {0, html::kIgnored, 0};
    return own_.add(name_, static_cast<int>(names_.strings.size()), html::kContainer, 0);
  }

  template <class Code>
  int64_t attribute_bits(const Code* begin, const Code* end) {
    hints_.clear();
    bool first = true;
    html::each_value(begin, end, {"class", "id", "role", "itemprop"}, [&](const html::Value<Code>& value) {
      if (!first) hints_ += ' ';
      first = false;
      for (const Code* p = value.begin; p < value.end && hints_.size() < kMostHints; ++p) add_lower(*p);
      return hints_.size() < kMostHints;
    });
    if (hints_.size() > kMostHints) hints_.resize(kMostHints);
    int64_t bits = 0;
    for (size_t at = 0; at < hints_.size();) {
      size_t stop = at;
      while (stop < hints_.size() && stop - at < kLongestWord && hints_[stop] >= 'a' && hints_[stop] <= 'z') ++stop;
      if (stop - at > 1) bits |= memory_.bits_of(hints_.substr(at, stop - at), asked_);
      at = std::max(stop, at + 1);
    }
    if (bits & masks_.article && bits & masks_.text) bits |= masks_.both;
    return html::is_hidden(begin, end) ? bits | masks_.hidden : bits;
  }

  // html.unescape: every reference by itself.
  void decode(Text32& text) {
    scratch_.clear();
    size_t last = 0;
    for (size_t at = text.find(U'&'); at != Text32::npos; at = text.find(U'&', at)) {
      const size_t end = reference_end(text, at + 1);
      if (end == at + 1) {
        at = end;
        continue;
      }
      scratch_.append(text, last, at - last);
      memory_.append_decoded(text.substr(at, end - at), asked_, scratch_);
      last = at = end;
    }
    if (!last) return;
    scratch_.append(text, last);
    text.swap(scratch_);
  }

 private:
  // str.lower, as far as it matters for the letters a to z.
  void add_lower(uint32_t c) {
    if (c == 0x130) {
      hints_ += "i?";
    } else {
      hints_ += c == 0x212A ? 'k' : c < 128 ? static_cast<char>(html::lower(c)) : '?';
    }
  }

  static bool in_reference(char32_t c) {
    return !(c == U'\t' || c == U'\n' || c == U'\f' || c == U' ' || c == U'<' || c == U'&' || c == U'#' || c == U';');
  }

  // The pattern of html.unescape behind the &: `at` where there is no reference.
  static size_t reference_end(const Text32& text, size_t at) {
    const size_t size = text.size();
    size_t p = at;
    if (p < size && text[p] == U'#') {
      const bool hex = p + 1 < size && (text[p + 1] == U'x' || text[p + 1] == U'X');
      const size_t first = p += 1 + hex;
      while (p < size && (html::is_digit(text[p]) || (hex && html::lower(text[p]) >= 'a' && html::lower(text[p]) <= 'f'))) ++p;
      if (p == first) return at;
    } else {
      while (p < size && p - at < kLongestName && in_reference(text[p])) ++p;
      if (p == at) return at;
    }
    return p + (p < size && text[p] == U';');
  }

  Memory& memory_;
  const Asked& asked_;
  const Names& names_;
  const Masks& masks_;
  Names own_;  // tags of the page's own making
  std::string name_, hints_;
  Text32 scratch_;
};

class PageReader {
 public:
  // tags: name -> (kind, bits), in any order. masks: bits of an article's hints, of a text's, what both mean, of what
  // is hidden, of an element whose text is dropped.
  PageReader(nb::dict tags, std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t> masks, int64_t most_elements,
             int64_t most_blocks)
      : masks_{std::get<0>(masks), std::get<1>(masks), std::get<2>(masks), std::get<3>(masks), std::get<4>(masks)},
        most_elements_(most_elements), most_blocks_(most_blocks) {
    for (const std::string_view name : html::kTagNames) names_.add(std::string(name), 0, html::kIgnored, 0);
    for (auto [name, facts] : tags) {
      const auto [kind, bits] = nb::cast<std::pair<int, int64_t>>(facts);
      names_.add(nb::cast<std::string>(name), 0, kind, bits);
    }
    for (const char* kind : {"p", "pre", "row", "li", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6"})
      kinds_.push_back(nb::str(kind));
    for (const char* marker : {"", "- ", ": "}) markers_.push_back(nb::str(marker));
  }

  // (blocks, tags, parents, own, inherited, starts, ends, head) of tree.Tree, or the name of the limit that it breaks.
  // block: the class of a Block.
  nb::object read(nb::str string, nb::callable word_bits, nb::callable decoded, nb::callable lowered, nb::type_object block) {
    const Asked asked{word_bits, decoded, lowered};
    PyObject* text = string.ptr();
    const size_t size = static_cast<size_t>(PyUnicode_GET_LENGTH(text));
    switch (PyUnicode_KIND(text)) {
      case PyUnicode_1BYTE_KIND: return read_as(string, PyUnicode_1BYTE_DATA(text), size, asked, block);
      case PyUnicode_2BYTE_KIND: return read_as(string, PyUnicode_2BYTE_DATA(text), size, asked, block);
      default: return read_as(string, PyUnicode_4BYTE_DATA(text), size, asked, block);
    }
  }

 private:
  template <class Code>
  nb::object read_as(nb::str string, const Code* source, size_t size, const Asked& asked, nb::type_object block) {
    Page page(memory_, asked, names_, masks_, most_elements_, most_blocks_);
    html::BlockReader<Code, Page> reader(source, size, page);
    const html::Refused refused = reader.read();
    if (refused != html::Refused::kNo) return nb::str(refused == html::Refused::kBlocks ? "blocks" : "elements");
    nb::list blocks, tags, head;
    for (const html::BlockRow& row : reader.blocks) blocks.append(block_of(row, block));
    for (const int tag : reader.tags) tags.append(page.name_of(tag));
    for (const html::HeadRow& row : reader.head) {
      PyObject* value = PyUnicode_Substring(string.ptr(), static_cast<Py_ssize_t>(row.begin), static_cast<Py_ssize_t>(row.end));
      if (!value) throw nb::python_error();
      head.append(nb::make_tuple(nb::str(row.kind), nb::steal(value)));
    }
    return nb::make_tuple(blocks, tags, array(reader.parents), array(reader.own), array(reader.inherited), array(reader.starts),
                          array(reader.ends), head);
  }

  static auto array(const std::vector<int64_t>& values) {
    int64_t* copy = allocate<int64_t>(values.size());
    std::copy(values.begin(), values.end(), copy);
    return owned(copy, values.size());
  }

  // A tree.Block: made as tuple.__new__ makes it, without the call of the class.
  nb::object block_of(const html::BlockRow& row, nb::type_object block) const {
    const nb::object marker = row.marker >= 0 ? nb::object(nb::str((std::to_string(row.marker) + ". ").c_str()))
                                              : markers_[row.marker - html::kNone];
    PyTypeObject* type = reinterpret_cast<PyTypeObject*>(block.ptr());
    nb::object made = nb::steal(type->tp_alloc(type, 8));
    if (!made.is_valid()) throw nb::python_error();
    nb::object parts[] = {string_of(row.text), nb::int_(row.node), kinds_[row.kind], nb::int_(row.links),
                          nb::int_(row.num_links), nb::int_(row.indent), marker, nb::int_(row.quote)};
    for (Py_ssize_t i = 0; i < 8; ++i) PyTuple_SET_ITEM(made.ptr(), i, parts[i].release().ptr());
    return made;
  }

  Memory memory_;
  Masks masks_;
  int64_t most_elements_, most_blocks_;
  Names names_;
  std::vector<nb::object> kinds_, markers_;
};

}  // namespace

void bind_extract(nb::module_& m) {
  nb::class_<PageReader>(m, "PageReader", "HTML source -> the lists of data.extract.tree.Tree.")
      .def(nb::init<nb::dict, std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>, int64_t, int64_t>(), "tags"_a, "masks"_a,
           "most_elements"_a, "most_blocks"_a)
      .def("read", &PageReader::read, "source"_a, "word_bits"_a, "decoded"_a, "lowered"_a, "block"_a);
}

}  // namespace ownlm
