// Damages a protobuf message so that it stays a message: what an attacker who can compute checksums would write.
#ifndef STILLPOINT_TESTS_MODEL_MESSAGE_MUTATOR_H_
#define STILLPOINT_TESTS_MODEL_MESSAGE_MUTATOR_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace stillpoint {

// One seed, one sequence of mutations. Fields get hostile numbers (huge, negative, the value of another field: an id
// that leads elsewhere), are removed, repeated, exchanged, moved into other messages; byte strings are emptied, cut
// short, blown up or changed. It knows no message type: what parses as a message is taken for one.
class MessageMutator {
 public:
  explicit MessageMutator(uint64_t seed) : random_(seed) {}

  // `message` with one to four changes. Well-formed on the wire when `message` is; most parse as what `message` is.
  std::string mutate(const std::string& message);

 private:
  struct Field {
    uint32_t number = 0;
    uint32_t wire_type = 0;
    uint64_t value = 0;           // varint, fixed32, fixed64
    std::string bytes;            // length-delimited, when it is no message
    std::vector<Field> children;  // when it is one
    bool is_message = false;
  };
  using Fields = std::vector<Field>;

  static bool parse(const std::string& bytes, int depth, Fields& fields);
  static std::string serialize(const Fields& fields);
  static void collect(Fields& fields, std::vector<Fields*>& lists, std::vector<uint64_t>& values);

  uint64_t pick(uint64_t below) { return random_() % below; }
  uint64_t hostile_number(uint64_t old, const std::vector<uint64_t>& values);
  void change_value(Field& field, const std::vector<uint64_t>& values);
  void change(Fields& root);

  std::mt19937_64 random_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_TESTS_MODEL_MESSAGE_MUTATOR_H_
