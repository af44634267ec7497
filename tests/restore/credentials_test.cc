#include "helper/restore/credentials.h"

#include <sys/syscall.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stillpoint {
namespace {

CallerCredentials user(uint32_t id) {
  CallerCredentials caller;
  model::Credentials& c = caller.credentials;
  c.set_uid(id), c.set_euid(id), c.set_suid(id), c.set_fsuid(id);
  c.set_gid(id), c.set_egid(id), c.set_sgid(id), c.set_fsgid(id);
  c.set_bounding(~uint64_t{0} >> 23);
  return caller;
}

model::Tree tree_of(const model::Credentials& credentials, bool no_new_privs = false) {
  model::Tree tree;
  model::Thread* thread = tree.add_processes()->add_threads();
  *thread->mutable_credentials() = credentials;
  thread->set_no_new_privs(no_new_privs);
  return tree;
}

TEST(Credentials, AnImageOfTheSameUserIsAllowedAndNeedsNoCalls) {
  const CallerCredentials caller = user(1000);
  EXPECT_TRUE(check_credentials(tree_of(caller.credentials), caller).ok());
  CallList calls;
  plan_credentials(caller.credentials, caller, calls);
  EXPECT_TRUE(calls.empty());
}

TEST(Credentials, AnImageOfAnotherUserIsRefused) {
  const absl::Status status = check_credentials(tree_of(user(0).credentials), user(1000));
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("uid 0"));
}

TEST(Credentials, AnImageCannotRaiseCapabilities) {
  for (const auto set :
       {&model::Credentials::set_permitted, &model::Credentials::set_effective, &model::Credentials::set_ambient}) {
    model::Credentials wanted = user(1000).credentials;
    (wanted.*set)(1);
    EXPECT_EQ(check_credentials(tree_of(wanted), user(1000)).code(), absl::StatusCode::kPermissionDenied);
  }
}

TEST(Credentials, CapabilitiesOfOnesOwnUserNamespaceDoNotCount) {
  CallerCredentials caller = user(1000);
  caller.own_user_namespace = true;
  caller.credentials.set_permitted(~uint64_t{0});
  model::Credentials wanted = user(1000).credentials;
  EXPECT_TRUE(check_credentials(tree_of(wanted), caller).ok());
  wanted.set_permitted(1);
  EXPECT_FALSE(check_credentials(tree_of(wanted), caller).ok());
  // And they are given up.
  CallList calls;
  plan_credentials(user(1000).credentials, caller, calls);
  ASSERT_EQ(calls.calls().size(), 1u);
  EXPECT_EQ(calls.calls()[0].number, SYS_capset);
}

TEST(Credentials, NoNewPrivsCannotBeCleared) {
  CallerCredentials caller = user(1000);
  caller.no_new_privs = true;
  EXPECT_FALSE(check_credentials(tree_of(caller.credentials, false), caller).ok());
  EXPECT_TRUE(check_credentials(tree_of(caller.credentials, true), caller).ok());
}

TEST(Credentials, RootBecomesTheImagesUserBeforeItDropsItsCapabilities) {
  CallerCredentials root = user(0);
  root.credentials.set_permitted(~uint64_t{0} >> 23);
  root.credentials.set_effective(~uint64_t{0} >> 23);
  model::Credentials wanted = user(1000).credentials;
  wanted.add_groups(4);
  EXPECT_TRUE(check_credentials(tree_of(wanted), root).ok());
  CallList calls;
  plan_credentials(wanted, root, calls);
  std::vector<long> numbers;
  for (const CallList::Call& call : calls.calls()) numbers.push_back(call.number);
  EXPECT_THAT(numbers,
              testing::ElementsAre(SYS_setgroups, SYS_prctl, SYS_setresgid, SYS_setresuid, SYS_prctl, SYS_capset));
}

}  // namespace
}  // namespace stillpoint
