// HTML source -> tokens, as src/ownlm/data/extract/tags.py: the reference, whose patterns the comments name.
// Linear: every function ends behind the last character it has looked at, or at the end of the source.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

namespace ownlm::html {

inline bool is_gap(uint32_t c) { return c == ' ' || (c >= 9 && c <= 13); }  // \s of ASCII patterns
inline uint32_t lower(uint32_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
inline bool is_letter(uint32_t c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
inline bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }
inline bool in_name(uint32_t c) { return is_letter(c) || is_digit(c) || c == '_' || c == '-'; }  // [\w-]

template <class Code>
const Code* find(const Code* at, const Code* end, Code wanted) {
  if constexpr (sizeof(Code) == 1) {
    const void* found = at < end ? std::memchr(at, wanted, end - at) : nullptr;
    return found ? static_cast<const Code*>(found) : end;
  }
  return std::find(at, end, wanted);
}

// Whether the lower-case `word` stands at `at`, in any case.
template <class Code>
bool stands(const Code* at, const Code* end, std::string_view word) {
  if (static_cast<size_t>(end - at) < word.size()) return false;
  for (size_t i = 0; i < word.size(); ++i)
    if (lower(at[i]) != static_cast<unsigned char>(word[i])) return false;
  return true;
}

template <class Code>
bool contains(const Code* at, const Code* end, std::string_view word) {
  return std::search(at, end, word.begin(), word.end()) != end;
}

enum class Token { kText, kTag, kScript, kTitle, kSkipped };

template <class Code>
struct Tokens {
  const Code* at;  // where the next token is looked for
  const Code* end;
  // Of the token that was found:
  const Code* start = nullptr;
  const Code *name = nullptr, *name_end = nullptr;
  const Code *attributes = nullptr, *attributes_end = nullptr;
  const Code *content = nullptr, *content_end = nullptr;
  bool slash = false;

  Tokens(const Code* source, size_t size) : at(source), end(source + size) {}

  // kText: there is none any more.
  Token next() {
    for (const Code* from = at;; ++from) {
      from = start = find<Code>(from, end, '<');
      if (from == end) return Token::kText;
      const Code* p = from + 1;
      if (p == end) continue;
      if (const Token found = read_raw(p); found != Token::kText) return found;
      slash = *p == '/';
      if (p + slash < end && is_letter(p[slash])) return read_tag(p + slash);
      if (*p == '!' || *p == '?' || *p == '/') {
        skip_declaration(p);
        return Token::kSkipped;
      }
    }
  }

 private:
  Token read_tag(const Code* p) {
    name = p;
    while (p < end && !is_gap(*p) && *p != '/' && *p != '>') ++p;
    name_end = p;
    read_attributes(p);
    return Token::kTag;
  }

  // _ATTRIBUTES and the end of the tag; `at` is behind it.
  void read_attributes(const Code* p) {
    attributes = p;
    while (p < end && *p != '>') {
      if (*p++ != '=') continue;
      while (p < end && is_gap(*p)) ++p;
      if (p < end && (*p == '"' || *p == '\'')) {
        p = find<Code>(p + 1, end, *p);
        p += p < end;
      } else {
        while (p < end && !is_gap(*p) && *p != '>') ++p;
      }
    }
    attributes_end = p;
    at = p + (p < end);
  }

  // Elements whose content is no markup, at their name; kText where none begins here.
  Token read_raw(const Code* p) {
    static constexpr std::string_view kNames[] = {"script",   "title",    "style",   "textarea", "iframe", "noframes",
                                                  "noembed", "xmp", "svg", "math", "noscript"};
    switch (lower(*p)) {
      case 's': case 't': case 'i': case 'n': case 'x': case 'm': break;
      default: return Token::kText;
    }
    for (const std::string_view word : kNames) {
      if (!stands(p, end, word)) continue;
      const Code* q = p + word.size();
      if (q == end || !(is_gap(*q) || *q == '/' || *q == '>')) continue;
      read_attributes(q);
      content = at;
      for (at = find<Code>(at, end, '<'); at < end && !ends_here(word); at = find<Code>(at + 1, end, '<')) {
      }
      content_end = at;
      return word == "script" ? Token::kScript : word == "title" ? Token::kTitle : Token::kSkipped;
    }
    return Token::kText;
  }

  bool ends_here(std::string_view word) const {
    if (end - at < 2 || at[1] != '/' || !stands(at + 2, end, word)) return false;
    const Code* q = at + 2 + word.size();
    return q < end && (is_gap(*q) || *q == '/' || *q == '>');
  }

  void skip_declaration(const Code* p) {
    if (*p == '!' && end - p > 2 && p[1] == '-' && p[2] == '-') {
      p += 3;
      const Code* q = p + (p < end && *p == '-');
      if (q < end && *q == '>') {
        at = q + 1;
        return;
      }
      for (; (p = find<Code>(p, end, '-')) < end; ++p) {
        if (end - p < 3 || p[1] != '-') continue;
        q = p + 2 + (p[2] == '!');
        if (q < end && *q == '>') {
          at = q + 1;
          return;
        }
      }
      at = end;
    } else {
      p = find<Code>(p + 1, end, '>');
      at = p + (p < end);
    }
  }
};

template <class Code>
struct Value {
  const Code *begin, *end;
  const Code* stop;  // where the search goes on; nullptr for no value here
};

// _VALUE at `p`.
template <class Code>
Value<Code> read_value(const Code* p, const Code* end) {
  while (p < end && is_gap(*p)) ++p;
  if (p == end || *p++ != '=') return {p, p, nullptr};
  while (p < end && is_gap(*p)) ++p;
  if (p < end && (*p == '"' || *p == '\'')) {
    const Code* q = find<Code>(p + 1, end, *p);
    return {p + 1, q, q < end ? q + 1 : nullptr};
  }
  const Code* q = p;
  while (q < end && !is_gap(*q) && *q != '>' && *q != '"' && *q != '\'') ++q;
  return {p, q, q > p ? q : nullptr};
}

// use(value) for each value of one of the names, left to right, until it returns false.
template <class Code, class Use>
void each_value(const Code* begin, const Code* end, std::initializer_list<std::string_view> names, Use&& use) {
  for (const Code* p = begin; p < end;) {
    if (p > begin && in_name(p[-1])) {
      ++p;
      continue;
    }
    const Code* next = p + 1;
    for (const std::string_view name : names) {
      if (!stands(p, end, name)) continue;
      const Value<Code> value = read_value(p + name.size(), end);
      if (!value.stop) continue;
      if (!use(value)) return;
      next = value.stop;
      break;
    }
    p = next;
  }
}

// is_hidden of tags.py.
template <class Code>
bool is_hidden(const Code* begin, const Code* end) {
  if (!contains(begin, end, "idden") && !contains(begin, end, "none")) return false;
  const auto with_value = [end](const Code* p, std::string_view name, uint32_t sign, std::string_view value, bool quoted) {
    if (!stands(p, end, name)) return false;
    p += name.size();
    if (p < end && is_gap(*p)) ++p;
    if (p == end || *p++ != sign) return false;
    if (p < end && is_gap(*p)) ++p;
    if (quoted && p < end && (*p == '"' || *p == '\'')) ++p;
    return stands(p, end, value);
  };
  for (const Code* p = begin; p < end; ++p) {
    switch (lower(*p)) {
      case 'd':
        if (with_value(p, "display", ':', "none", false)) return true;
        break;
      case 'v':
        if (with_value(p, "visibility", ':', "hidden", false)) return true;
        break;
      case 'a':
        if (with_value(p, "aria-hidden", '=', "true", true)) return true;
        break;
      case 'h':
        if (stands(p, end, "hidden") && (p == begin || !in_name(p[-1])) && (end - p == 6 || !in_name(p[6]))) return true;
        break;
      default:
        break;
    }
  }
  return false;
}

}  // namespace ownlm::html
