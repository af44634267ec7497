// What a stored file was copied from, so that an unchanged one need not be read again at every checkpoint.
#ifndef STILLPOINT_HELPER_IMAGE_STORED_SOURCES_H_
#define STILLPOINT_HELPER_IMAGE_STORED_SOURCES_H_

#include <sys/stat.h>

#include "helper/image/manifest.pb.h"

namespace stillpoint::image {

// Enters both files into `entry`, whose content they have. Not when the source has changed so lately that another
// change might not show in its times.
void remember_source(const struct stat& source, const struct stat& stored, FileEntry& entry);
// True when neither file has been touched since.
bool is_unchanged(const FileEntry& entry, const struct stat& source, const struct stat& stored);

}  // namespace stillpoint::image

#endif  // STILLPOINT_HELPER_IMAGE_STORED_SOURCES_H_
