#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "helper/check/check.h"
#include "helper/protocol/utf8.h"

namespace stillpoint {
namespace {

constexpr size_t kNarrowestText = 30;

// Breaks `text` at blanks into lines of at most `width` characters; longer words stand alone.
std::vector<std::string> wrap(absl::string_view text, size_t width) {
  std::vector<std::string> lines;
  while (text.size() > width) {
    size_t cut = text.rfind(' ', width);
    if (cut == absl::string_view::npos || cut == 0) cut = text.find(' ');
    if (cut == absl::string_view::npos) break;
    lines.emplace_back(text.substr(0, cut));
    text.remove_prefix(cut + 1);
  }
  lines.emplace_back(text);
  return lines;
}

// What went wrong may come from anywhere: control characters would play with the terminal.
std::string one_line(absl::string_view text) {
  std::string result(text);
  std::replace_if(
      result.begin(), result.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return result;
}

std::string meaning(const Capability& capability) {
  std::string text = capability.available ? capability.enables : absl::StrCat("without it: ", capability.without);
  if (!capability.detail.empty()) absl::StrAppend(&text, " (", capability.detail, ")");
  return one_line(text);
}

// Quoted; what is not UTF-8 becomes a question mark, as JSON has no other way to say it.
std::string json_string(absl::string_view text) {
  std::string valid(text);
  protocol::replace_invalid_utf8(valid.data(), valid.size());
  std::string result = "\"";
  for (const char c : valid) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&result, "\\", absl::string_view(&c, 1));
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppend(&result, "\\u", absl::Hex(byte, absl::kZeroPad4));
    } else {
      result.push_back(c);
    }
  }
  result.push_back('"');
  return result;
}

std::string json_object(const Capability& capability) {
  return absl::StrCat(
      "    {\"name\": ", json_string(capability.name), ", \"available\": ", capability.available ? "true" : "false",
      ", \"needed_for_restart\": ", capability.needed_for_restart ? "true" : "false",
      ", \"enables\": ", json_string(capability.enables), ", \"without\": ", json_string(capability.without),
      ", \"detail\": ", json_string(capability.detail), "}");
}

}  // namespace

std::string check_text(const std::vector<Capability>& capabilities, int width) {
  size_t name_width = 0;
  for (const Capability& capability : capabilities) name_width = std::max(name_width, capability.name.size());
  const size_t indent = name_width + 7;  // "name  yes  text"
  const size_t columns = static_cast<size_t>(std::max(width, 0));
  const size_t text_width = columns > indent + kNarrowestText ? columns - indent : kNarrowestText;
  std::string text;
  for (const Capability& capability : capabilities) {
    std::string prefix = absl::StrFormat("%-*s  %-3s  ", static_cast<int>(name_width), capability.name,
                                         capability.available ? "yes" : "no");
    for (const std::string& line : wrap(meaning(capability), text_width)) {
      absl::StrAppend(&text, prefix, line, "\n");
      prefix.assign(indent, ' ');
    }
  }
  const std::vector<std::string> obstacles = restart_obstacles(capabilities);
  if (obstacles.empty()) return absl::StrCat(text, "\nA restart is possible here.\n");
  absl::StrAppend(&text, "\nA restart is not possible here:\n");
  for (const std::string& obstacle : obstacles) absl::StrAppend(&text, "  ", one_line(obstacle), "\n");
  return text;
}

std::string check_json(const std::vector<Capability>& capabilities) {
  const std::vector<std::string> obstacles = restart_obstacles(capabilities);
  const auto append_string = [](std::string* out, const std::string& text) { out->append(json_string(text)); };
  const auto append_object = [](std::string* out, const Capability& c) { out->append(json_object(c)); };
  return absl::StrCat("{\n  \"restart_possible\": ", obstacles.empty() ? "true" : "false", ",\n  \"obstacles\": [",
                      absl::StrJoin(obstacles, ", ", append_string), "],\n  \"capabilities\": [\n",
                      absl::StrJoin(capabilities, ",\n", append_object), "\n  ]\n}\n");
}

}  // namespace stillpoint
