#include "samples/heat/field.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace heat {
namespace {

constexpr double kDiffusion = 0.2;  // D * dt / h^2; stable below 0.25
constexpr double kHot = 100.0;
constexpr double kWarm = 40.0;

}  // namespace

Field::Field(std::size_t size) : size_(size), current_(size * size, 0.0) {
  const double center_row = static_cast<double>(size) * 0.6;
  const double center_column = static_cast<double>(size) * 0.35;
  const double radius = static_cast<double>(size) * 0.15;
  for (std::size_t row = 0; row < size; ++row) {
    for (std::size_t column = 0; column < size; ++column) {
      const double distance =
          std::hypot(static_cast<double>(row) - center_row, static_cast<double>(column) - center_column);
      if (distance < radius) current_[row * size + column] = kHot;
    }
  }
  std::fill_n(current_.begin(), size, kWarm);
  next_ = current_;
}

double Field::advance_rows(std::size_t first, std::size_t last) {
  first = std::max<std::size_t>(first, 1);
  last = std::min(last, size_ - 1);
  double largest = 0.0;
  for (std::size_t row = first; row < last; ++row) {
    const double* above = &current_[(row - 1) * size_];
    const double* here = &current_[row * size_];
    const double* below = &current_[(row + 1) * size_];
    double* next = &next_[row * size_];
    for (std::size_t column = 1; column + 1 < size_; ++column) {
      const double change =
          kDiffusion * (above[column] + below[column] + here[column - 1] + here[column + 1] - 4.0 * here[column]);
      next[column] = here[column] + change;
      largest = std::max(largest, std::fabs(change));
    }
  }
  return largest;
}

std::uint64_t Field::checksum() const {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const double value : current_) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    for (int byte = 0; byte < 8; ++byte) {
      hash ^= (bits >> (8 * byte)) & 0xff;
      hash *= 0x100000001b3;
    }
  }
  return hash;
}

}  // namespace heat
