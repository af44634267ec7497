// The field as a PNG picture: cold is dark blue, hot is white.
#ifndef STILLPOINT_SAMPLES_HEAT_PICTURE_H_
#define STILLPOINT_SAMPLES_HEAT_PICTURE_H_

#include <string>

#include "samples/heat/field.h"

namespace heat {

// An empty string, or what went wrong.
std::string write_picture(const Field& field, const std::string& path);

}  // namespace heat

#endif  // STILLPOINT_SAMPLES_HEAT_PICTURE_H_
