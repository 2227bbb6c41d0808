/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/golden.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *block)
{
    if (block == NULL) {
        fputs("golden: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return block;
}

static void bad(const char *what, const char *where)
{
    fprintf(stderr, "golden: %s: %s\n", what, where);
    exit(EXIT_FAILURE);
}

static unsigned digit(char c, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, tolower((unsigned char)c)) : NULL;
    if (at == NULL)
        bad("not a hexadecimal digit", text);
    return (unsigned)(at - digits);
}

/* Octets of `text` into `out`, or only counted when that is NULL. */
static size_t read_octets(const char *text, uint8_t *out)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0';) {
        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        const uint8_t octet = (uint8_t)(digit(at[0], text) << 4 | digit(at[1], text));
        size_t times = 1;
        at += 2;
        if (*at == '*') {
            char *end;
            times = strtoul(at + 1, &end, 10);
            at = end;
        }
        if (out != NULL)
            memset(out + n, octet, times);
        n += times;
    }
    return n;
}

uint8_t *golden_octets(const char *text, size_t *len)
{
    *len = read_octets(text, NULL);
    uint8_t *out = need(malloc(*len > 0 ? *len : 1));
    read_octets(text, out);
    return out;
}

static struct golden *add_vector(struct golden_file *file, const char *line)
{
    const size_t number = strcspn(line, " ");
    file->vectors = need(realloc(file->vectors, (file->count + 1) * sizeof *file->vectors));
    struct golden *v = &file->vectors[file->count++];
    *v = (struct golden){.number = need(strndup(line, number))};
    v->octets = golden_octets(line + number, &v->len);
    return v;
}

static void add_line(struct golden_file *file, const char *line)
{
    if (file->count == 0 || file->vectors[file->count - 1].n_expect == GOLDEN_LINES_MAX)
        bad("a line without a vector, or too many", line);
    struct golden *v = &file->vectors[file->count - 1];
    v->expect[v->n_expect++] = need(strdup(line));
}

struct golden_file golden_load(const char *path)
{
    struct golden_file file = {0};
    FILE *in = fopen(path, "r");
    if (in == NULL)
        bad("cannot be opened", path);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, in) >= 0) {
        line[strcspn(line, "\r\n")] = '\0';
        const char *text = line + strspn(line, " ");
        if (*text == '\0' || *text == '#')
            continue;
        if (text == line)
            add_vector(&file, line);
        else
            add_line(&file, text);
    }
    free(line);
    fclose(in);
    return file;
}

void golden_free(struct golden_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        struct golden *v = &file->vectors[i];
        for (unsigned k = 0; k < v->n_expect; k++)
            free(v->expect[k]);
        free(v->number);
        free(v->octets);
    }
    free(file->vectors);
    *file = (struct golden_file){0};
}
