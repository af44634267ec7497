#include "tools/image_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/tools/command_runner.h"

namespace stillpoint::tools {
namespace {

using ::testing::HasSubstr;

model::Vma& add_vma(model::AddressSpace& space, uint64_t start, uint64_t end, uint32_t protection,
                    model::Vma::Kind kind) {
  model::Vma& vma = *space.add_vmas();
  vma.set_start(start);
  vma.set_end(end);
  vma.set_protection(protection);
  vma.set_kind(kind);
  return vma;
}

void add_memory(model::Tree& tree) {
  model::MappedFile& file = *tree.add_mapped_files();
  file.set_id(1);
  file.set_path("/usr/bin/sol\"ver\n");
  file.set_deleted(true);
  model::SharedMemory& shared = *tree.add_shared_memories();
  shared.set_id(1);
  shared.set_memfd(true);
  shared.set_name("pool");
  model::AddressSpace& space = *tree.add_address_spaces();
  space.set_id(1);
  space.set_executable(1);
  space.set_start_brk(0x20000);
  space.set_brk(0x24000);
  space.set_start_stack(0x7fff0000f000);
  add_vma(space, 0x10000, 0x12000, PROT_READ | PROT_EXEC, model::Vma::FILE_PRIVATE).set_mapped_file(1);
  add_vma(space, 0x20000, 0x24000, PROT_READ | PROT_WRITE, model::Vma::ANONYMOUS);
  add_vma(space, 0x30000, 0x32000, PROT_READ | PROT_WRITE, model::Vma::SHARED_MEMORY).set_shared_memory(1);
  add_vma(space, 0x7fff00000000, 0x7fff00010000, PROT_READ | PROT_WRITE, model::Vma::ANONYMOUS);
  for (const uint64_t address : {0x20000, 0x23000}) {
    model::PageExtent& extent = *space.add_pages();
    extent.set_address(address);
    extent.set_length(0x2000);
  }
}

ImageContents sample() {
  ImageContents contents;
  contents.name = "ckpt/ckpt-00000042";
  contents.manifest.set_program("solver\x1b[2J \xff");
  contents.manifest.set_sequence(42);
  image::FileEntry& file = *contents.manifest.add_files();
  file.set_name("pages-0.bin");
  file.set_size(8192);
  add_memory(contents.tree);
  model::Process& process = *contents.tree.add_processes();
  process.set_pid(4242);
  process.set_address_space(1);
  process.set_file_table(1);
  process.set_filesystem_context(9);  // which is not there
  process.add_threads()->set_tid(4242);
  process.add_threads()->set_tid(4243);
  process.mutable_threads(1)->set_name("worker");
  model::FileTable& table = *contents.tree.add_file_tables();
  table.set_id(1);
  table.add_descriptors()->set_number(0);
  model::FileDescriptor& descriptor = *table.add_descriptors();
  descriptor.set_number(7);
  descriptor.set_open_file(3);
  model::FileDescriptor& duplicate = *table.add_descriptors();
  duplicate.set_number(8);
  duplicate.set_open_file(3);
  model::OpenFile& open_file = *contents.tree.add_open_files();
  open_file.set_id(3);
  open_file.set_kind("pipe");
  open_file.set_description("fd 7,8 pipe, 12 bytes in it");
  return contents;
}

TEST(ImageTable, ShowsProcessesThreadsMemoryAndFds) {
  const std::string sums = image_table(sample(), false);
  for (const char* text :
       {"ckpt-00000042", "4242", "4243", "worker", "private anonymous", "pipe, 12 bytes", "8.0 KiB"}) {
    EXPECT_THAT(sums, HasSubstr(text));
  }
  EXPECT_EQ(sums.find('\x1b'), std::string::npos);
  const std::string all = image_table(sample(), true);
  for (const char* text : {"[heap]", "[stack]", "memfd:pool", "r-xp", "rw-s", "(deleted)"}) {
    EXPECT_THAT(all, HasSubstr(text));
  }
}

TEST(ImageTable, SaysOnceWhatTwoDescriptorsShare) {
  const std::string table = image_table(sample(), false);
  EXPECT_THAT(table, HasSubstr("  7  pipe       pipe, 12 bytes in it\n"));
  EXPECT_THAT(table, HasSubstr("  8  pipe       pipe, 12 bytes in it  (the same open file as fd 7)\n"));
}

TEST(TaskCounts, NamesProcessesWhereThereAreSeveral) {
  image::Manifest manifest;
  manifest.set_process_count(1);
  manifest.set_thread_count(1);
  EXPECT_EQ(task_counts(manifest), "1 thread");
  manifest.set_thread_count(5);
  EXPECT_EQ(task_counts(manifest), "5 threads");
  manifest.set_process_count(4);
  EXPECT_EQ(task_counts(manifest), "4 processes, 5 threads");
}

TEST(ImageJson, IsWhatAParserTakes) {
  TemporaryDirectory directory;
  write_file(directory / "image.json", image_json(sample()));
  const std::string script =
      "import json,sys\n"
      "d=json.load(open(sys.argv[1]))\n"
      "p=d['processes'][0]\n"
      "assert d['sequence']==42 and d['bytes']==8192, d\n"
      "assert [t['tid'] for t in p['threads']]==[4242,4243]\n"
      "assert len(p['vmas'])==4 and p['vmas'][1]['saved_bytes']==0x3000, p['vmas'][1]\n"
      "assert p['vmas'][1]['start']=='0x20000' and p['vmas'][1]['name']=='[heap]'\n"
      "assert p['fds'][1]=={'fd':7,'open_file':3,'close_on_exec':False,'kind':'pipe','description':'fd 7,8 pipe, 12 "
      "bytes in it','flags':0}\n"
      "assert p['executable']=='/usr/bin/sol\"ver\\n (deleted)' or p['executable']=='/usr/bin/sol\"ver\\n'\n";
  const CommandResult parsed = run_command_line({{"/usr/bin/python3", "-c", script, directory / "image.json"}, {}});
  EXPECT_EQ(parsed.exit_code, 0) << parsed.err;
}

TEST(SavedBytes, CountsWhatOverlaps) {
  const ImageContents contents = sample();
  const model::AddressSpace& space = contents.tree.address_spaces(0);
  EXPECT_EQ(saved_bytes(space, 0x20000, 0x24000), 0x3000u);
  EXPECT_EQ(saved_bytes(space, 0x21000, 0x22000), 0x1000u);
  EXPECT_EQ(saved_bytes(space, 0x24000, 0x30000), 0x1000u);
  EXPECT_EQ(saved_bytes(space, 0x40000, 0x50000), 0u);
}

TEST(ReadImage, NamesWhatIsMissing) {
  const auto contents = read_image("/nonexistent/ckpt-00000001");
  ASSERT_FALSE(contents.ok());
  EXPECT_THAT(std::string(contents.status().message()), HasSubstr("/nonexistent/ckpt-00000001"));
}

}  // namespace
}  // namespace stillpoint::tools
