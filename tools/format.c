/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/format.h"

#include <time.h>

static void print_topic(FILE *out, const struct snc_event *message)
{
    if (message->topic_kind == SN_TOPIC_PREDEFINED)
        fprintf(out, "%u", (unsigned)message->topic_id);
    else
        fwrite(message->topic.data, 1, message->topic.len, out);
}

static void print_hex(FILE *out, struct bytes data)
{
    for (size_t i = 0; i < data.len; i++)
        fprintf(out, "%02x", (unsigned)data.data[i]);
}

static void print_time(FILE *out)
{
    const time_t now = time(NULL);
    struct tm local;
    char text[40];
    if (localtime_r(&now, &local) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local) > 0)
        fputs(text, out);
}

static void print_field(FILE *out, char field, const struct snc_event *message)
{
    switch (field) {
    case 't':
        print_topic(out, message);
        break;
    case 'p':
        if (message->data.len > 0)
            fwrite(message->data.data, 1, message->data.len, out);
        break;
    case 'x':
        print_hex(out, message->data);
        break;
    case 'q':
        fprintf(out, "%d", (int)message->qos);
        break;
    case 'r':
        fputc(message->retain ? '1' : '0', out);
        break;
    case 'l':
        fprintf(out, "%zu", message->data.len);
        break;
    case 'm':
        fprintf(out, "%u", (unsigned)message->msg_id);
        break;
    case 'I':
        print_time(out);
        break;
    default:
        fputc(field, out); /* %% */
        break;
    }
}

static const char ESCAPES[] = "n\nt\tr\r\\\\";

/* The octet that backslash and `letter` stand for, or '\0'. */
static char escape(char letter)
{
    for (const char *e = ESCAPES; *e != '\0'; e += 2) {
        if (e[0] == letter)
            return e[1];
    }
    return '\0';
}

const char *format_check(const char *format)
{
    for (const char *f = format; *f != '\0'; f++) {
        if (*f == '%') {
            f++;
            if (*f == '\0' || strchr("tpxqrlmI%", *f) == NULL)
                return "after '%' one of t, p, x, q, r, l, m, I and % is expected";
        } else if (*f == '\\') {
            f++;
            if (escape(*f) == '\0')
                return "after '\\' one of n, t, r and \\ is expected";
        }
    }
    return NULL;
}

void format_print(FILE *out, const char *format, const struct snc_event *message)
{
    for (const char *f = format; *f != '\0'; f++) {
        if (*f == '%')
            print_field(out, *++f, message);
        else if (*f == '\\')
            fputc(escape(*++f), out);
        else
            fputc(*f, out);
    }
}
