#include "helper/model/cpu.h"

#include <cpuid.h>

namespace stillpoint::model {
namespace {

struct Feature {
  const char* name;  // as /proc/cpuinfo spells it
  unsigned leaf;     // CPUID leaf, subleaf 0
  char register_name;
  int bit;
};
constexpr Feature kFeatures[] = {
    {"pni", 1, 'c', 0},          {"pclmulqdq", 1, 'c', 1},    {"ssse3", 1, 'c', 9},
    {"fma", 1, 'c', 12},         {"cx16", 1, 'c', 13},        {"sse4_1", 1, 'c', 19},
    {"sse4_2", 1, 'c', 20},      {"movbe", 1, 'c', 22},       {"popcnt", 1, 'c', 23},
    {"aes", 1, 'c', 25},         {"xsave", 1, 'c', 26},       {"avx", 1, 'c', 28},
    {"f16c", 1, 'c', 29},        {"rdrand", 1, 'c', 30},      {"fsgsbase", 7, 'b', 0},
    {"bmi1", 7, 'b', 3},         {"hle", 7, 'b', 4},          {"avx2", 7, 'b', 5},
    {"bmi2", 7, 'b', 8},         {"erms", 7, 'b', 9},         {"rtm", 7, 'b', 11},
    {"avx512f", 7, 'b', 16},     {"avx512dq", 7, 'b', 17},    {"rdseed", 7, 'b', 18},
    {"adx", 7, 'b', 19},         {"avx512ifma", 7, 'b', 21},  {"clflushopt", 7, 'b', 23},
    {"clwb", 7, 'b', 24},        {"avx512cd", 7, 'b', 28},    {"sha_ni", 7, 'b', 29},
    {"avx512bw", 7, 'b', 30},    {"avx512vl", 7, 'b', 31},    {"avx512vbmi", 7, 'c', 1},
    {"avx512_vbmi2", 7, 'c', 6}, {"gfni", 7, 'c', 8},         {"vaes", 7, 'c', 9},
    {"vpclmulqdq", 7, 'c', 10},  {"avx512_vnni", 7, 'c', 11}, {"avx512_bitalg", 7, 'c', 12},
    {"rdpid", 7, 'c', 22},       {"fsrm", 7, 'd', 4},         {"serialize", 7, 'd', 14},
    {"amx_bf16", 7, 'd', 22},    {"avx512_fp16", 7, 'd', 23}, {"amx_tile", 7, 'd', 24},
    {"amx_int8", 7, 'd', 25},    {"abm", 0x80000001, 'c', 5}, {"sse4a", 0x80000001, 'c', 6},
};

}  // namespace

std::set<std::string> cpu_features() {
  std::set<std::string> features;
  for (const Feature& feature : kFeatures) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(feature.leaf, 0, &a, &b, &c, &d) == 0) continue;
    const unsigned value = feature.register_name == 'b' ? b : feature.register_name == 'c' ? c : d;
    if ((value >> feature.bit & 1) != 0) features.insert(feature.name);
  }
  return features;
}

uint64_t xsave_features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsxsave = 1u << 27;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsxsave) == 0) return 0;
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace stillpoint::model
