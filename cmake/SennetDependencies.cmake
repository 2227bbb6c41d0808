# SPDX-License-Identifier: Apache-2.0
# Libraries from the distribution, as SYSTEM includes so that our warnings stay ours.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(SQLite3 3.37 REQUIRED)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.40)
pkg_check_modules(LIBSERIALPORT REQUIRED IMPORTED_TARGET libserialport)

include(SennetPaho)

if(SENNET_TESTS)
    pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
endif()
