#include "helper/image/names.h"

#include "gtest/gtest.h"
#include "helper/image/image.h"

namespace stillpoint::image {
namespace {

TEST(Names, ImageNamesAndSequencesAreInverse) {
  for (const uint64_t sequence : {uint64_t{0}, uint64_t{1}, uint64_t{42}, uint64_t{99999999}, uint64_t{100000000},
                                  uint64_t{18446744073709551615u}}) {
    EXPECT_EQ(image_sequence(image_name(sequence)), sequence);
  }
  EXPECT_EQ(image_name(42), "ckpt-00000042");
}

TEST(Names, OtherNamesAreNoImages) {
  for (const char* name :
       {"", "ckpt-", "ckpt-42", "ckpt-000000042", "ckpt-0000004x", "ckpt-+0000042", "ckpt- 0000042", "ckpt-00000042/",
        "ckpt-00000042 ", "xckpt-00000042", "ckpt-18446744073709551616", "CKPT-00000042"}) {
    EXPECT_EQ(image_sequence(name), std::nullopt) << name;
  }
}

TEST(Names, TemporaryNamesTellTheirSequence) {
  EXPECT_EQ(temporary_sequence(temporary_image_name(42)), 42u);
  EXPECT_NE(temporary_image_name(42), temporary_image_name(42));
  EXPECT_EQ(temporary_sequence(temporary_name("latest")), std::nullopt);
  EXPECT_EQ(temporary_sequence(".tmp-"), std::nullopt);
  EXPECT_EQ(temporary_sequence(".tmp--x"), std::nullopt);
  EXPECT_EQ(temporary_sequence(".tmp-99999999999999999999-x"), std::nullopt);
  EXPECT_EQ(temporary_sequence("ckpt-00000042"), std::nullopt);
}

TEST(Names, OnlyPlainNamesAreFiles) {
  EXPECT_TRUE(is_file_name("pages-0.bin"));
  EXPECT_TRUE(is_file_name(std::string(128, 'a')));
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../x"), std::string("a/b"),
        std::string(".hidden"), std::string("a b"), std::string("a\0b", 3), std::string(129, 'a')}) {
    EXPECT_FALSE(is_file_name(name)) << name;
  }
}

TEST(Names, OnlyHexIsStored) {
  EXPECT_TRUE(is_stored_name("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_TRUE(is_stored_name("xxh3-0123456789abcdef-12345"));
  for (const char* name : {"", "xxh3-", "xxh3--1", "-ab", "ABCDEF", "../ab", "ab/cd", ".ab", "libc.so", "owner"}) {
    EXPECT_FALSE(is_stored_name(name)) << name;
  }
}

TEST(BesideImage, IsAPathThatPeopleKnow) {
  EXPECT_EQ(beside_image("ckpt/ckpt-00000042", "files"), "ckpt/files");
  EXPECT_EQ(beside_image("/a/b/ckpt-00000042", "ckpt-00000041"), "/a/b/ckpt-00000041");
  EXPECT_EQ(beside_image("ckpt-00000042", "files"), "files");
  EXPECT_EQ(beside_image(".", "files"), "./../files");
  EXPECT_EQ(beside_image("image", "files"), "image/../files");
}

}  // namespace
}  // namespace stillpoint::image
