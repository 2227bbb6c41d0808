# SPDX-License-Identifier: Apache-2.0
# Targets around scripts/check.sh: format, format-check, tidy, check. The script does the work, so
# that it can be used without a configured tree, too.

set(check_script ${PROJECT_SOURCE_DIR}/scripts/check.sh)

# sennet_check_target(NAME STEP...)
function(sennet_check_target name)
    add_custom_target(${name}
        COMMAND ${check_script} --build ${PROJECT_BINARY_DIR} ${ARGN}
        WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
        USES_TERMINAL VERBATIM)
endfunction()

sennet_check_target(format reformat)
sennet_check_target(format-check format)
sennet_check_target(tidy tidy)
sennet_check_target(check)
