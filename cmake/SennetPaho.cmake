# SPDX-License-Identifier: Apache-2.0
# sennet_paho: Eclipse Paho MQTT C (asynchronous, TLS), with some of its system calls renamed so that
# they go through gateway/paho_calls.c, and calls of OpenSSL through gateway/paho_tls.c. docs/adr/0004
# tells why: released versions up to at least 1.3.15 use freed memory when the first write of a QoS 1
# or 2 PUBLISH fails.
find_package(OpenSSL REQUIRED)
option(SENNET_PAHO_SHARED
    "Link Paho's shared library, without the guard against its use after free (docs/adr/0004)" OFF)

find_path(PAHO_INCLUDE_DIR MQTTAsync.h)
find_library(PAHO_ARCHIVE libpaho-mqtt3as.a)
find_library(PAHO_LIBRARY paho-mqtt3as)
mark_as_advanced(PAHO_INCLUDE_DIR PAHO_ARCHIVE PAHO_LIBRARY)
if(NOT PAHO_INCLUDE_DIR OR NOT PAHO_LIBRARY)
    message(FATAL_ERROR "Eclipse Paho MQTT C (paho-mqtt3as) not found. "
        "On Debian: apt install libpaho-mqtt-dev libssl-dev")
endif()

# For --version: the headers do not tell, but the library carries the text.
set(paho_text ${PAHO_LIBRARY})
if(PAHO_ARCHIVE)
    set(paho_text ${PAHO_ARCHIVE})
endif()
file(STRINGS ${paho_text} SENNET_PAHO_VERSION REGEX "^[0-9]+\\.[0-9]+\\.[0-9]+$" LIMIT_COUNT 1)
if(NOT SENNET_PAHO_VERSION)
    set(SENNET_PAHO_VERSION "unknown")
endif()

add_library(sennet_paho INTERFACE)
target_include_directories(sennet_paho SYSTEM INTERFACE ${PAHO_INCLUDE_DIR})
if(SENNET_PAHO_SHARED)
    message(WARNING "Linking Paho's shared library: a lost broker connection may crash sennetd.")
    target_link_libraries(sennet_paho INTERFACE ${PAHO_LIBRARY})
    return()
endif()
if(NOT PAHO_ARCHIVE OR NOT CMAKE_OBJCOPY)
    message(FATAL_ERROR "Paho's static library (libpaho-mqtt3as.a) or objcopy not found. "
        "On Debian: apt install libpaho-mqtt-dev binutils. Without them, -DSENNET_PAHO_SHARED=ON "
        "links the shared library, which may crash when the broker connection breaks.")
endif()

set(paho_copy ${PROJECT_BINARY_DIR}/lib/libpaho-mqtt3as-sennet.a)
set(paho_renames "")
set(paho_calls writev recv connect shutdown close getsockopt getaddrinfo poll usleep getenv
    pthread_cond_signal pthread_cond_timedwait clock_gettime snprintf __snprintf_chk
    OPENSSL_init_ssl OPENSSL_init_crypto CRYPTO_get_ex_new_index SSL_CTX_set_ex_data
    SSL_CTX_get_ex_data)
set(paho_tls_calls SSL_CTX_new SSL_CTX_load_verify_locations SSL_new SSL_ctrl SSL_connect
    SSL_read SSL_write
    SSL_get_error SSL_get1_session)
foreach(call IN LISTS paho_calls paho_tls_calls)
    list(APPEND paho_renames --redefine-sym ${call}=sennet_paho_${call})
endforeach()
# A call of TLS that is not where we expect it would go past our checks of certificates; a socket that
# is closed without shutdown() would lose what is gathered for it.
execute_process(COMMAND ${CMAKE_NM} -u ${PAHO_ARCHIVE}
    OUTPUT_VARIABLE paho_undefined ERROR_QUIET RESULT_VARIABLE paho_nm_failed)
foreach(call IN LISTS paho_tls_calls ITEMS writev shutdown)
    if(paho_nm_failed OR NOT paho_undefined MATCHES "U ${call}[\r\n]")
        message(FATAL_ERROR "${PAHO_ARCHIVE} does not call ${call}(), as Sennet needs it "
            "(cmake/SennetPaho.cmake, docs/adr/0004 and 0015). Which version of Paho is this?")
    endif()
endforeach()
foreach(own mymalloc myrealloc myfree Log StackTrace_entry StackTrace_exit
        MQTTAsync_NULLPublishCommands)
    list(APPEND paho_renames --weaken-symbol ${own})
endforeach()
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
add_custom_command(OUTPUT ${paho_copy}
    COMMAND ${CMAKE_OBJCOPY} ${paho_renames} ${PAHO_ARCHIVE} ${paho_copy}
    DEPENDS ${PAHO_ARCHIVE} ${CMAKE_CURRENT_LIST_FILE}
    COMMENT "Renaming system calls in a copy of ${PAHO_ARCHIVE}"
    VERBATIM)
add_custom_target(sennet_paho_copy DEPENDS ${paho_copy})
add_dependencies(sennet_paho sennet_paho_copy)
# Calls within Paho that go through gateway/paho_inner.c and paho_guard.c; a name that is not there costs
# nothing.
foreach(inner MQTTProtocol_retry Socket_noPendingWrites MQTTAsync_writeContinue
        MQTTProtocol_writeAvailable MQTTAsync_writeComplete setRetryLoopInterval
        MQTTPacket_Factory WebSocket_getch WebSocket_getdata WebSocket_putdatas)
    target_link_options(sennet_paho INTERFACE -Wl,--wrap=${inner})
endforeach()
target_link_libraries(sennet_paho INTERFACE ${paho_copy} OpenSSL::SSL OpenSSL::Crypto
    Threads::Threads ${CMAKE_DL_LIBS})
