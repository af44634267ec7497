#include "samples/heat/picture.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <vector>

namespace heat {
namespace {

struct Color {
  double red, green, blue;
};

// Dark blue, violet, red, orange, yellow, white.
constexpr Color kScale[] = {{0, 0, 48}, {96, 0, 128}, {208, 32, 32}, {255, 128, 0}, {255, 224, 64}, {255, 255, 255}};
constexpr double kHottest = 100.0;

Color color_of(double temperature) {
  // The square root shows more of the cold end, where most of the plate is.
  const double clamped = std::clamp(temperature / kHottest, 0.0, 1.0);
  const double place = std::sqrt(clamped) * static_cast<double>(std::size(kScale) - 1);
  const std::size_t below = std::min(static_cast<std::size_t>(place), std::size(kScale) - 2);
  const double part = place - static_cast<double>(below);
  const Color& from = kScale[below];
  const Color& to = kScale[below + 1];
  return {from.red + part * (to.red - from.red), from.green + part * (to.green - from.green),
          from.blue + part * (to.blue - from.blue)};
}

}  // namespace

std::string write_picture(const Field& field, const std::string& path) {
  std::vector<unsigned char> pixels;
  pixels.reserve(3 * field.values().size());
  for (const double value : field.values()) {
    const Color color = color_of(value);
    for (const double part : {color.red, color.green, color.blue}) {
      pixels.push_back(static_cast<unsigned char>(std::lround(part)));
    }
  }
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(field.size());
  image.height = static_cast<png_uint_32>(field.size());
  image.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr) == 0) {
    return path + ": " + image.message;
  }
  return "";
}

}  // namespace heat
