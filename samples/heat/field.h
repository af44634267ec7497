// The temperature of a square plate, and one explicit step of the heat equation on some of its rows.
#ifndef STILLPOINT_SAMPLES_HEAT_FIELD_H_
#define STILLPOINT_SAMPLES_HEAT_FIELD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace heat {

class Field {
 public:
  // size x size points: three edges cold, the upper one warm, a hot disc off the centre.
  explicit Field(std::size_t size);

  std::size_t size() const { return size_; }
  const std::vector<double>& values() const { return current_; }
  double at(std::size_t row, std::size_t column) const { return current_[row * size_ + column]; }

  // Computes rows [first, last) of the next step; edges stay as they are. Returns the largest change. Rows do not
  // depend on each other, so the result does not depend on who computes which.
  double advance_rows(std::size_t first, std::size_t last);
  // The next step becomes the current one. Between all calls of advance_rows() of two steps.
  void swap() { current_.swap(next_); }

  // FNV-1a over the bits of every value: equal for equal fields only.
  std::uint64_t checksum() const;

 private:
  std::size_t size_;
  std::vector<double> current_;
  std::vector<double> next_;
};

}  // namespace heat

#endif  // STILLPOINT_SAMPLES_HEAT_FIELD_H_
