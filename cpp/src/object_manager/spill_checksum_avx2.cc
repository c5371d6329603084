// SPDX-License-Identifier: Apache-2.0
#if defined(__AVX2__)
#define SKYRAY_CHECKSUM_KERNEL kChecksumAvx2
#include "object_manager/spill_checksum_kernel.h"
#endif
