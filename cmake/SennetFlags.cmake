# SPDX-License-Identifier: Apache-2.0
# Compiler flags, and sennet_library() / sennet_program(): how every target of the tree is made.
include(CheckCCompilerFlag)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(sennet_flags INTERFACE)
target_compile_definitions(sennet_flags INTERFACE _GNU_SOURCE)

set(wanted_warnings
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align=strict
    -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wswitch-enum -Wduplicated-cond
    -Wduplicated-branches -Wlogical-op -Wnull-dereference -Wredundant-decls
    -Wimplicit-fallthrough=5 -Walloca -Wstack-usage=4096)
foreach(flag IN LISTS wanted_warnings)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_c_compiler_flag(${flag} ${have})
    if(${have})
        target_compile_options(sennet_flags INTERFACE ${flag})
    endif()
endforeach()
if(SENNET_WERROR)
    target_compile_options(sennet_flags INTERFACE -Werror)
endif()

# Hardening. _FORTIFY_SOURCE needs optimisation and does not mix with sanitizers.
set(wanted_hardening -fno-common -fstack-protector-strong -fstack-clash-protection -fcf-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    # Elsewhere clang accepts it and then warns about every file.
    list(APPEND wanted_hardening -mbranch-protection=standard)
endif()
foreach(flag IN LISTS wanted_hardening)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_c_compiler_flag(${flag} ${have})
    if(${have})
        target_compile_options(sennet_flags INTERFACE ${flag})
    endif()
endforeach()
if(NOT SENNET_SANITIZE)
    target_compile_options(sennet_flags INTERFACE
        $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE>
        $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=3>)
endif()
target_link_options(sennet_flags INTERFACE -Wl,-z,relro,-z,now)
target_compile_options(sennet_flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)

if(SENNET_SANITIZE)
    target_compile_options(sennet_flags INTERFACE
        -fsanitize=${SENNET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(sennet_flags INTERFACE -fsanitize=${SENNET_SANITIZE})
endif()
if(SENNET_FUZZ)
    # Edges and comparisons reported to libFuzzer; its main() is linked by sennet_fuzz() only.
    target_compile_options(sennet_flags INTERFACE -fsanitize=fuzzer-no-link)
    target_link_options(sennet_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(SENNET_COVERAGE)
    target_compile_options(sennet_flags INTERFACE --coverage)
    target_link_options(sennet_flags INTERFACE --coverage)
endif()

include(CheckPIESupported)
check_pie_supported()

# sennet_library(NAME SOURCES ... INCLUDES dirs... LINKS libs...)
function(sennet_library name)
    cmake_parse_arguments(arg "" "" "SOURCES;INCLUDES;LINKS" ${ARGN})
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC ${arg_INCLUDES})
    target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE sennet_flags)
endfunction()

# sennet_program(NAME SOURCES ... LINKS libs...)
function(sennet_program name)
    cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE ${arg_LINKS} sennet_flags)
endfunction()
