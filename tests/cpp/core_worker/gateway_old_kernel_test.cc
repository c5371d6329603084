// SPDX-License-Identifier: Apache-2.0
// A kernel, or a container's filter, without epoll_pwait2: the leader never saw an
// event, and looked for the next at full speed for ever.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <iterator>

#include "core_worker/gateway_fixture.h"

namespace skyray::core_worker {
namespace {

// From here on the process is refused the call with that error.
bool Refuse(uint32_t number, uint32_t error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

class GatewayOnAnOldKernel : public GatewayTest {
 public:
  // By a thread that waits and by the I/O thread, which both sleep in epoll.
  bool HearsWhatIsSaid() {
    Wire wire = Open();
    WaitingThread waiting([this](GatewayWaiter& waiter) { return Wait(waiter); });
    AwaitLeader(waiting.thread());
    Say(wire, "to the one who waits");
    if (!notes.AwaitFrames(wire.channel->id, 1)) return false;
    Wake(waiting.waiter());
    if (waiting.Join() != WaitResult::Done) return false;
    Say(wire, "to the I/O thread");
    return notes.AwaitFrames(wire.channel->id, 2);
  }

 private:
  void TestBody() override {}
};

void RunWithout(uint32_t error) {
  if (!Refuse(SYS_epoll_pwait2, error)) exit(77);  // Nothing may be refused here.
  exit(GatewayOnAnOldKernel().HearsWhatIsSaid() ? 0 : 1);
}

bool SucceededOrCannot(int status) {
  return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
}

TEST(GatewayOldKernelDeathTest, LeadersHearWithoutThePreciseWait) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(RunWithout(ENOSYS), SucceededOrCannot, "");
  EXPECT_EXIT(RunWithout(EPERM), SucceededOrCannot, "");
}

}  // namespace
}  // namespace skyray::core_worker
