# SPDX-License-Identifier: Apache-2.0
# Libraries from the distribution, as SYSTEM includes so that our warnings stay ours.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.40)

# Debian's Paho has no pkg-config file, and its CMake package wants OpenSSL to be found first.
find_package(OpenSSL REQUIRED)
find_package(eclipse-paho-mqtt-c CONFIG QUIET)
if(TARGET eclipse-paho-mqtt-c::paho-mqtt3as)
    add_library(sennet_paho INTERFACE)
    target_link_libraries(sennet_paho INTERFACE eclipse-paho-mqtt-c::paho-mqtt3as)
else()
    find_path(PAHO_INCLUDE_DIR MQTTAsync.h)
    find_library(PAHO_LIBRARY paho-mqtt3as)
    if(NOT PAHO_INCLUDE_DIR OR NOT PAHO_LIBRARY)
        message(FATAL_ERROR "Eclipse Paho MQTT C (paho-mqtt3as) not found. "
            "On Debian: apt install libpaho-mqtt-dev libssl-dev")
    endif()
    add_library(sennet_paho INTERFACE)
    target_include_directories(sennet_paho SYSTEM INTERFACE ${PAHO_INCLUDE_DIR})
    target_link_libraries(sennet_paho INTERFACE ${PAHO_LIBRARY})
endif()

if(SENNET_TESTS)
    pkg_check_modules(CHECK REQUIRED IMPORTED_TARGET check)
endif()
