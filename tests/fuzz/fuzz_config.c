/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any configuration file. Either it is good, and then what is printed of it must be good as well,
 * without a warning, and print the same again; or it is bad, and then an error was said, in lines
 * that no terminal would obey.
 */
#include <string.h>

#include "base/error.h"

#include "config_priv.h"
#include "fuzz.h"

/* What parsing `text` said, and its code. */
static char *parse(struct bytes text, int *rc, struct config **c)
{
    char *said = NULL;
    size_t len = 0;
    FILE *errors = open_memstream(&said, &len);
    fuzz_require(errors != NULL);
    *c = NULL;
    *rc = config_parse("f", text, errors, c);
    fclose(errors);
    fuzz_require((*rc == 0) == (*c != NULL));
    fuzz_require(*rc == 0 || *rc == EXIT_CONFIG);
    fuzz_require((strstr(said, ": error: ") != NULL) >= (*rc == EXIT_CONFIG));
    return said;
}

static void check_said(const char *said)
{
    fuzz_require(bytes_is_utf8(bytes_str(said)));
    while (*said != '\0') {
        const size_t n = strcspn(said, "\n");
        fuzz_require(n < 1200 && said[n] == '\n' && strncmp(said, "f:", 2) == 0);
        for (size_t i = 0; i < n; i++)
            fuzz_require((uint8_t)said[i] >= 0x20 && said[i] != 0x7F);
        said += n + 1;
    }
}

static char *print(const struct config *c, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    fuzz_require(out != NULL);
    config_print(c, out);
    fclose(out);
    return text;
}

static void check_printed(const struct config *c)
{
    size_t len = 0;
    size_t len_again = 0;
    char *text = print(c, &len);
    /* Escapes may make a line or a file longer than what may be read. */
    struct config *again = NULL;
    int rc = 0;
    char *said = parse(bytes_of(text, len), &rc, &again);
    const bool longer = strstr(said, "longer than") != NULL || strstr(said, "larger than") != NULL;
    fuzz_require(rc == 0 ? said[0] == '\0' : longer);
    if (rc == 0) {
        char *text_again = print(again, &len_again);
        fuzz_require(len_again == len && memcmp(text, text_again, len) == 0);
        free(text_again);
    }
    config_free(again);
    free(said);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = NULL;
    int rc = 0;
    char *said = parse(bytes_of(data, size), &rc, &c);
    check_said(said);
    if (rc == 0) {
        struct sn_engine_config e;
        fuzz_require(config_engine(c, &e) == 0);
        config_engine_free(&e);
        check_printed(c);
    }
    config_free(c);
    free(said);
    return 0;
}
