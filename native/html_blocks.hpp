// Tokens -> blocks of text in a light tree, as _Builder of src/ownlm/data/extract/blocks.py: the reference. Methods
// bear its names; where they differ, a comment says so. Tags are numbers here, and "open elements by tag within the
// innermost cell" is, per tag, the place of its innermost open element (`last_open_`) compared with that of the cell.
#pragma once
#include <utility>
#include <vector>

#include "html_tokens.hpp"

namespace ownlm::html {

enum Tag : int {
  kP, kLi, kDt, kDd, kTr, kTd, kTh, kTable, kUl, kOl, kMenu, kDir, kBlockquote, kPre, kListing,
  kH1, kH2, kH3, kH4, kH5, kH6, kDiv, kAddress, kA, kBr, kCode, kTt, kHr, kMeta, kHtml, kTime, kBody, kNumTags,
};
constexpr std::string_view kTagNames[kNumTags] = {
    "p", "li", "dt", "dd", "tr", "td", "th", "table", "ul", "ol", "menu", "dir", "blockquote", "pre", "listing",
    "h1", "h2", "h3", "h4", "h5", "h6", "div", "address", "a", "br", "code", "tt", "hr", "meta", "html", "time", "body",
};
enum Kind : int { kIgnored, kInline, kContainer };
inline bool is_heading(int tag) { return tag >= kH1 && tag <= kH6; }
inline bool in_table(int tag) { return tag >= kTr && tag <= kTable; }
inline bool is_stateful(int tag) { return tag != kP && tag != kDt && tag >= 0 && tag <= kH6; }
inline bool makes_room(int tag) { return (tag >= kLi && tag <= kTh) || is_heading(tag); }

// Markers as numbers: a number n >= 0 stands for "n. ".
constexpr int64_t kNone = -3, kBullet = -2, kColon = -1;
enum BlockKind : int { kParagraph, kPreformatted, kRow, kItem, kTerm, kDefinition, kHeading };  // kHeading + 0 ... 5
constexpr size_t kNear = 8, kLongestCell = 300, kLongText = 1 << 16;
using Text32 = std::basic_string<char32_t>;

struct BlockRow {
  Text32 text;
  int64_t node;
  int kind;
  int64_t links, num_links, indent, marker, quote;
};
struct HeadRow {
  const char* kind;
  size_t begin, end;
};
struct Frame {
  int64_t table, row = -1, cell = -1;
  size_t row_block = 0, cell_block = 0;
  bool has_cells = false;
  std::vector<Text32> cells;
};
enum class Refused { kNo, kElements, kBlocks };

// What the module knows and keeps between pages; see extract.cpp.
//   tag(name, name_end) -> number of the tag, kind, bits;  attribute_bits(begin, end);  is_space(c);
//   decode(text): entities;  list_start(begin, end)
template <class Code, class Knowledge>
class BlockReader {
 public:
  BlockReader(const Code* source, size_t size, Knowledge& knowledge)
      : source_(source), tokens_(source, size), know_(knowledge) {
    add_node(kBody, 0, 0);
    starts[0] = 0;
    stack_.push_back(0);
  }

  std::vector<BlockRow> blocks;
  std::vector<int> tags;
  std::vector<int64_t> parents, own, inherited, starts, ends;
  std::vector<HeadRow> head;

  Refused read() {
    const Code* last = source_;
    for (Token found = tokens_.next(); found != Token::kText; found = tokens_.next()) {
      add_text(last, tokens_.start);
      last = tokens_.at;
      if (found == Token::kTag) {
        const auto tag = know_.tag(tokens_.name, tokens_.name_end);
        if (tag.kind == kContainer) {
          read_tag(tag);
        } else if (tag.kind == kInline) {
          read_inline(tag.number);
        }
        if (refused_ != Refused::kNo) return refused_;
      } else if (found == Token::kTitle) {
        head.push_back({"title", place(tokens_.content), place(tokens_.content_end)});
      } else if (found == Token::kScript && contains(tokens_.attributes, tokens_.attributes_end, "ld+json")) {
        head.push_back({"json", place(tokens_.content), place(tokens_.content_end)});
      }
    }
    add_text(last, tokens_.end);
    flush();
    while (stack_.size() > 1) pop();
    ends[0] = static_cast<int64_t>(blocks.size());
    return refused_;
  }

 private:
  struct Piece {
    const Code* begin;
    size_t size;
    bool is_gap;
  };
  static constexpr Code kTick[] = {'`'}, kBreak[] = {0x0b}, kNewline[] = {'\n'};

  size_t place(const Code* p) const { return static_cast<size_t>(p - source_); }

  bool all_space(const Code* begin, const Code* end) const {
    return begin < end && std::all_of(begin, end, [this](Code c) { return know_.is_space(c); });
  }

  void add_text(const Code* begin, const Code* end) {
    if (begin == end) return;
    const bool gap = all_space(begin, end);
    if (!line_.empty() || !gap) line_.push_back({begin, static_cast<size_t>(end - begin), gap});
  }

  void add_mark(const Code* mark, bool gap) { line_.push_back({mark, 1, gap}); }

  void read_inline(int tag) {
    const bool slash = tokens_.slash;
    if (tag == kA) {
      end_link();
      if (!slash) link_start_ = static_cast<int64_t>(line_.size());
    } else if (tag == kBr) {
      read_break();
    } else if (tag == kCode || tag == kTt) {
      if (!pre_ && code_ == slash) {
        add_mark(kTick, false);
        code_ = !slash;
      }
    } else if (tag == kHr) {
      flush();
    } else if (!slash && (tag == kMeta || tag == kHtml || tag == kTime)) {
      head.push_back({kTagNames[tag].data(), place(tokens_.attributes), place(tokens_.attributes_end)});
    }
  }

  static bool is_break(const Piece& piece) { return piece.size == 1 && *piece.begin == kBreak[0]; }

  void read_break() {
    const size_t n = line_.size();
    if (pre_) {
      add_mark(kNewline, true);
    } else if (n && line_[n - 1].is_gap && (is_break(line_[n - 1]) || (n > 1 && is_break(line_[n - 2])))) {
      flush();
    } else {
      add_mark(kBreak, true);
      has_breaks_ = true;
    }
  }

  int top() const { return tags[stack_.back()]; }

  template <class Known>
  void read_tag(const Known& known) {
    int tag = known.number;
    if (pre_ && tag != kPre) {
      line_.push_back(tokens_.slash ? Piece{kNewline, 1, true} : Piece{kNewline, 0, false});
    } else if (!line_.empty()) {
      flush();
    }
    if (tokens_.slash) {
      close(tag);
      return;
    }
    if (top() == kP) pop();
    int64_t bits = known.bits;
    if (makes_room(tag)) {
      make_room(tag);
      if (in_table(tag) && frames_.empty()) {
        tag = kDiv;
        bits = know_.bits_of(kDiv);
      }
    }
    open(tag, bits);
  }

  void make_room(int tag) {
    if (tag == kLi) {
      close_near(kLi, kLi);
    } else if (tag == kDt || tag == kDd) {
      close_near(kDt, kDd);
    } else if (in_table(tag)) {
      if (frames_.empty()) return;
      const int64_t end = tag == kTr ? frames_.back().row : frames_.back().cell;
      if (end >= 0) pop_to(end);
    } else if (is_heading(top())) {
      pop();
    }
  }

  void close_near(int first, int second) {
    for (size_t i = 1; i <= kNear && i < stack_.size(); ++i) {
      const int tag = tags[stack_[stack_.size() - i]];
      if (tag == first || tag == second) {
        pop_to(static_cast<int64_t>(stack_.size() - i));
        return;
      }
      if (tag != kDiv && tag != kP && tag != kAddress) return;
    }
  }

  void add_node(int tag, int64_t parent, int64_t bits) {
    tags.push_back(tag);
    parents.push_back(parent);
    own.push_back(bits);
    inherited.push_back(bits | (tags.size() > 1 ? inherited[parent] : 0));
    starts.push_back(static_cast<int64_t>(blocks.size()));
    ends.push_back(0);
  }

  void open(int tag, int64_t bits) {
    bits |= know_.attribute_bits(tokens_.attributes, tokens_.attributes_end);
    if (static_cast<int64_t>(tags.size()) > know_.most_elements) {
      if (refused_ == Refused::kNo) refused_ = Refused::kElements;
      return;
    }
    add_node(tag, stack_.back(), bits);
    if (static_cast<size_t>(tag) >= last_open_.size()) last_open_.resize(tag + 1, 0);
    before_.resize(stack_.size() + 1);
    before_[stack_.size()] = last_open_[tag];
    last_open_[tag] = static_cast<int64_t>(stack_.size());
    stack_.push_back(static_cast<int64_t>(tags.size()) - 1);
    if (is_stateful(tag)) enter(tag);
  }

  void enter(int tag) {
    if (tag == kUl || tag == kMenu || tag == kDir) {
      lists_.push_back(-1);
    } else if (tag == kOl) {
      lists_.push_back(list_start());
    } else if (tag == kLi) {
      marker_ = lists_.empty() || lists_.back() < 0 ? kBullet : lists_.back()++;
    } else if (tag == kDd) {
      marker_ = kColon;
    } else if (is_heading(tag)) {
      heading_ = tag - kH1 + 1;
      marker_ = kNone;
    } else if (tag == kBlockquote) {
      ++quote_;
    } else if (tag == kPre || tag == kListing) {
      ++pre_;
    } else if (in_table(tag)) {
      enter_table(tag);
    }
  }

  int64_t list_start() const {
    int64_t start = 1;
    each_value(tokens_.attributes, tokens_.attributes_end, {"start"}, [&start](const Value<Code>& value) {
      const size_t size = static_cast<size_t>(value.end - value.begin);
      if (!size || size > 8 || !std::all_of(value.begin, value.end, [](Code c) { return is_digit(c); })) return false;
      start = 0;
      for (const Code* p = value.begin; p < value.end; ++p) start = 10 * start + (*p - '0');
      return false;
    });
    return start;
  }

  void enter_table(int tag) {
    const int64_t position = static_cast<int64_t>(stack_.size()) - 1;
    if (tag == kTable) {
      frames_.emplace_back();
      frames_.back().table = position;
    } else if (tag == kTr) {
      Frame& frame = frames_.back();
      frame.row = position;
      frame.row_block = blocks.size();
      frame.has_cells = true;
      frame.cells.clear();
      return;
    } else {
      frames_.back().cell = position;
      frames_.back().cell_block = blocks.size();
    }
    scopes_.push_back(position);
  }

  void close(int tag) {
    if (in_table(tag)) {
      if (frames_.empty()) return;
      const Frame& frame = frames_.back();
      const int64_t end = tag == kTable ? frame.table : tag == kTr ? frame.row : frame.cell;
      if (end >= 0) pop_to(end);
    } else if (static_cast<size_t>(tag) < last_open_.size() && last_open_[tag] > (scopes_.empty() ? 0 : scopes_.back())) {
      while (top() != tag) pop();
      pop();
    }
  }

  void pop_to(int64_t position) {
    flush();
    while (static_cast<int64_t>(stack_.size()) > position) pop();
  }

  void pop() {
    const int64_t node = stack_.back();
    stack_.pop_back();
    const int tag = tags[node];
    last_open_[tag] = before_[stack_.size()];
    if (is_stateful(tag)) leave(tag, node);
    ends[node] = static_cast<int64_t>(blocks.size());
  }

  void leave(int tag, int64_t node) {
    if (tag == kPre || tag == kListing) {
      flush();
      --pre_;
    } else if (in_table(tag)) {
      leave_table(tag, node);
    } else if (is_heading(tag)) {
      heading_ = 0;
    } else if (tag == kLi || tag == kDd) {
      marker_ = kNone;
    } else if (tag == kBlockquote) {
      --quote_;
    } else {
      lists_.pop_back();
    }
  }

  void leave_table(int tag, int64_t node) {
    Frame& frame = frames_.back();
    if (tag == kTr) {
      const auto filled = std::count_if(frame.cells.begin(), frame.cells.end(), [](const Text32& c) { return !c.empty(); });
      if (frame.has_cells && filled > 1) merge_row(frame, node);
      frame.row = -1;
      frame.has_cells = false;
      return;
    }
    scopes_.pop_back();
    if (tag == kTable) {
      frames_.pop_back();
      return;
    }
    const size_t num_made = blocks.size() - frame.cell_block;
    frame.cell = -1;
    if (!frame.has_cells) return;
    if (!num_made) {
      frame.cells.emplace_back();
    } else if (num_made == 1 && blocks.back().kind == kParagraph && blocks.back().text.size() <= kLongestCell) {
      frame.cells.push_back(blocks.back().text);
      std::replace(frame.cells.back().begin(), frame.cells.back().end(), U'\n', U' ');
    } else {
      frame.has_cells = false;
    }
  }

  void merge_row(const Frame& frame, int64_t row) {
    BlockRow merged{U"|", row, kRow, 0, 0, 0, kNone, quote_};
    for (size_t i = frame.row_block; i < blocks.size(); ++i) {
      merged.links += blocks[i].links;
      merged.num_links += blocks[i].num_links;
    }
    blocks.resize(frame.row_block);
    for (size_t node = row + 1; node < tags.size(); ++node)
      starts[node] = ends[node] = static_cast<int64_t>(frame.row_block);
    for (const Text32& cell : frame.cells) {
      merged.text += U' ';
      for (const char32_t c : cell) {
        if (c == U'|') merged.text += U'\\';
        merged.text += c;
      }
      merged.text += U" |";
    }
    blocks.push_back(std::move(merged));
  }

  void end_link() {
    if (link_start_ < 0) return;
    int64_t words = 0, letters = 0;
    bool inside = false;
    for (size_t i = static_cast<size_t>(link_start_); i < line_.size(); ++i) {
      for (const Code *p = line_[i].begin, *end = p + line_[i].size; p < end; ++p) {
        const bool space = know_.is_space(*p);
        words += !space && !inside;
        letters += !space;
        inside = !space;
      }
    }
    if (words) {
      ++num_links_;
      link_characters_ += letters + words - 1;
    }
    link_start_ = -1;
  }

  void flush() {
    if (line_.empty()) return;
    const bool reopen = link_start_ >= 0;
    end_link();
    if (code_) {
      add_mark(kTick, false);
      code_ = false;
    }
    text_.clear();
    size_t size = 0;
    for (const Piece& piece : line_) size += piece.size;
    text_.reserve(size);
    bool blank = true, entities = false;
    for (const Piece& piece : line_) {
      text_.append(piece.begin, piece.begin + piece.size);
      blank &= piece.is_gap || !piece.size;
      entities |= find<Code>(piece.begin, piece.begin + piece.size, '&') != piece.begin + piece.size;
    }
    line_.clear();
    const int64_t links = link_characters_, num_links = num_links_;
    const bool breaks = has_breaks_;
    link_characters_ = num_links_ = 0;
    has_breaks_ = false;
    if (reopen) link_start_ = 0;
    if (blank || inherited[stack_.back()] & know_.marked) return;  // the reference looks at the mark last
    if (entities) know_.decode(text_);
    if (pre_) {
      strip();
    } else {
      squeeze(breaks);
    }
    if (!text_.empty()) add(taken(), links, num_links);
  }

  // A copy of its size; a long text itself, so that no second one of its length is made.
  Text32 taken() { return text_.size() < kLongText ? Text32(text_) : std::exchange(text_, Text32()); }

  // text.strip("\n").rstrip(), "" for a blank one
  void strip() {
    size_t begin = 0, end = text_.size();
    while (begin < end && text_[begin] == '\n') ++begin;
    while (end > begin && know_.is_space(text_[end - 1])) --end;
    text_.resize(end);
    text_.erase(0, begin);
  }

  // Words with one space between; where there are breaks, lines with one line end between. In place.
  void squeeze(bool breaks) {
    size_t size = 0;
    char32_t gap = 0;
    for (const char32_t c : text_) {
      if (know_.is_space(c)) {
        if (gap != U'\n') gap = breaks && c == kBreak[0] ? U'\n' : U' ';
      } else {
        if (gap && size) text_[size++] = gap;
        gap = 0;
        text_[size++] = c;
      }
    }
    text_.resize(size);
  }

  void add(Text32&& text, int64_t links, int64_t num_links) {
    const int64_t node = stack_.back();
    int kind = tags[node] == kDt ? kTerm : kParagraph;
    if (pre_) {
      kind = kPreformatted;
    } else if (heading_) {
      kind = kHeading + heading_ - 1;
    } else if (marker_ != kNone) {
      kind = lists_.empty() ? kDefinition : kItem;
    }
    if (static_cast<int64_t>(blocks.size()) >= know_.most_blocks) {
      if (refused_ == Refused::kNo) refused_ = Refused::kBlocks;
      return;
    }
    const int64_t size = static_cast<int64_t>(text.size());
    blocks.push_back({std::move(text), node, kind, std::min(links, size), num_links, static_cast<int64_t>(lists_.size()),
                      marker_, quote_});
    marker_ = kNone;
  }

  const Code* source_;
  Tokens<Code> tokens_;
  Knowledge& know_;
  Text32 text_;
  std::vector<Piece> line_;
  std::vector<int64_t> stack_, before_, scopes_, lists_;  // before_[i]: last_open_ of the tag of stack_[i] before it
  std::vector<int64_t> last_open_ = std::vector<int64_t>(kNumTags, 0);
  std::vector<Frame> frames_;
  int64_t marker_ = kNone, heading_ = 0, quote_ = 0, pre_ = 0, link_start_ = -1, num_links_ = 0, link_characters_ = 0;
  bool has_breaks_ = false, code_ = false;
  Refused refused_ = Refused::kNo;
};

}  // namespace ownlm::html
