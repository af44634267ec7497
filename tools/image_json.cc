#include "helper/model/ids.h"
#include "tools/image_report.h"
#include "tools/json_writer.h"

namespace stillpoint::tools {
namespace {

void write_files(const google::protobuf::RepeatedPtrField<image::FileEntry>& files, JsonWriter& json) {
  json.begin_array();
  for (const image::FileEntry& file : files) {
    json.begin_object().key("name").string(file.name()).key("bytes").unsigned_number(file.size()).end_object();
  }
  json.end_array();
}

void write_manifest(const ImageContents& contents, JsonWriter& json) {
  const image::Manifest& m = contents.manifest;
  json.key("image").string(contents.name);
  json.key("sequence").unsigned_number(m.sequence());
  json.key("format_version").unsigned_number(m.format_version());
  json.key("features_needed").begin_array();
  for (const std::string& feature : m.features_needed()) json.string(feature);
  json.end_array();
  json.key("created_ns").number(m.created_ns());
  json.key("stillpoint_version").string(m.stillpoint_version());
  json.key("host").string(m.host()).key("kernel").string(m.kernel()).key("boot_id").string(m.boot_id());
  json.key("parent").string(m.parent()).key("job_id").string(m.job_id()).key("epoch").unsigned_number(m.epoch());
  json.key("program").string(m.program());
  json.key("bytes").unsigned_number(image_bytes(m)).key("stored_bytes").unsigned_number(stored_bytes(m));
  json.key("files");
  write_files(m.files(), json);
  json.key("stored_files");
  write_files(m.stored_files(), json);
}

void write_threads(const model::Process& process, JsonWriter& json) {
  json.key("threads").begin_array();
  for (const model::Thread& thread : process.threads()) {
    json.begin_object().key("tid").number(thread.tid()).key("name").string(thread.name());
    json.key("signal_mask").hex(thread.signal_mask());
    json.key("pending_signals").number(thread.pending_signals_size());
    json.key("restored_in_checkpoint").boolean(thread.restored_marker()).end_object();
  }
  json.end_array();
}

void write_vmas(const model::Tree& tree, const model::AddressSpace& space, JsonWriter& json) {
  json.key("vmas").begin_array();
  for (const model::Vma& vma : space.vmas()) {
    json.begin_object().key("start").hex(vma.start()).key("end").hex(vma.end());
    json.key("bytes").unsigned_number(vma.end() - vma.start());
    json.key("saved_bytes").unsigned_number(saved_bytes(space, vma.start(), vma.end()));
    json.key("permissions").string(vma_permissions(vma)).key("kind").string(vma_kind(vma));
    json.key("name").string(vma_name(tree, space, vma)).key("offset").unsigned_number(vma.offset());
    json.key("huge_page_bytes").unsigned_number(vma.huge_page_size()).end_object();
  }
  json.end_array();
}

void write_descriptors(const model::Tree& tree, const model::FileTable& table, JsonWriter& json) {
  json.key("fds").begin_array();
  for (const model::FileDescriptor& descriptor : table.descriptors()) {
    const model::OpenFile* file = model::find_open_file(tree, descriptor.open_file());
    json.begin_object().key("fd").number(descriptor.number());
    json.key("open_file").unsigned_number(descriptor.open_file());
    json.key("close_on_exec").boolean(descriptor.close_on_exec());
    json.key("kind").string(file != nullptr ? file->kind() : "");
    json.key("description").string(file != nullptr ? file->description() : "");
    json.key("flags").unsigned_number(file != nullptr ? file->flags() : 0).end_object();
  }
  json.end_array();
}

void write_process(const model::Tree& tree, const model::Process& process, JsonWriter& json) {
  json.begin_object().key("pid").number(process.pid()).key("parent_pid").number(process.parent_pid());
  json.key("process_group").number(process.process_group()).key("session").number(process.session());
  write_threads(process, json);
  if (const auto* context = model::find_filesystem_context(tree, process.filesystem_context())) {
    json.key("working_directory").string(context->working_directory());
  }
  if (const model::AddressSpace* space = model::find_address_space(tree, process.address_space())) {
    const model::MappedFile* executable = model::find_mapped_file(tree, space->executable());
    json.key("executable").string(executable != nullptr ? executable->path() : "");
    write_vmas(tree, *space, json);
  }
  if (const model::FileTable* table = model::find_file_table(tree, process.file_table())) {
    write_descriptors(tree, *table, json);
  }
  json.end_object();
}

}  // namespace

std::string image_json(const ImageContents& contents) {
  JsonWriter json;
  json.begin_object();
  write_manifest(contents, json);
  json.key("processes").begin_array();
  for (const model::Process& process : contents.tree.processes()) write_process(contents.tree, process, json);
  json.end_array().end_object();
  return json.take() + "\n";
}

}  // namespace stillpoint::tools
