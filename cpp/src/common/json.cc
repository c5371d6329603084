// SPDX-License-Identifier: Apache-2.0
// Boost.JSON, compiled here once: the library is used without its own binary.
#include <boost/json/src.hpp>
