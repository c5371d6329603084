// SPDX-License-Identifier: Apache-2.0
#if defined(__AVX512F__)
#define SKYRAY_CHECKSUM_KERNEL kChecksumAvx512
#include "object_manager/spill_checksum_kernel.h"
#endif
