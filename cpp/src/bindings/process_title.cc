// SPDX-License-Identifier: Apache-2.0
#include "bindings/process_title.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace skyray::bindings {
namespace {

constexpr std::string_view kPrefix = "skyray::";

struct Place {
  char* begin = nullptr;
  size_t bytes = 0;
  size_t shown = 0;
};

// The memory behind /proc/self/cmdline: fields 48 and 49 of /proc/self/stat, proc(5).
Place Find() {
  std::ifstream file("/proc/self/stat");
  std::string stat;
  std::getline(file, stat);
  const size_t name_end = stat.rfind(')');  // The second field may contain anything.
  if (name_end == std::string::npos) return {};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 48; ++field) fields >> skipped;
  uintptr_t begin = 0, end = 0;
  fields >> begin >> end;
  if (!fields || begin == 0 || end <= begin + kPrefix.size() + 1) return {};
  Place place;
  place.begin = reinterpret_cast<char*>(begin);  // NOLINT(performance-no-int-to-ptr): as told.
  place.bytes = end - begin - 1;                 // Without its last NUL, the kernel would read on.
  place.shown = place.bytes;
  return place;
}

void Show(std::string_view name) {
  static Place place = [] {
    Place found = Find();
    if (found.begin != nullptr) kPrefix.copy(found.begin, kPrefix.size());
    return found;
  }();
  if (place.begin == nullptr) return;
  char* const at = place.begin + kPrefix.size();
  const size_t size = std::min(name.size(), place.bytes - kPrefix.size());
  std::memcpy(at, name.data(), size);
  const size_t end = kPrefix.size() + size;
  if (end < place.shown) std::memset(at + size, 0, place.shown - end);
  place.shown = end;
}

std::string resting = "IDLE";

}  // namespace

void SetRestingTitle(std::string_view name) {
  resting = name;
  Show(resting);
}

TitleScope::TitleScope(std::string_view name) { Show(name); }
TitleScope::~TitleScope() { Show(resting); }

}  // namespace skyray::bindings
