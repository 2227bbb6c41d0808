/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <string.h>

#include "sim/story_priv.h"

static void print_ring(const struct story *s, const char *title, char ring[][STORY_PAST_LINE],
                       uint64_t count)
{
    fprintf(s->out, "  %s\n", title);
    uint64_t first = 0;
    if (count > STORY_PAST) {
        first = count - STORY_PAST;
        fprintf(s->out, "    ... %llu lines before\n", (unsigned long long)first);
    }
    for (uint64_t i = first; i < count; i++)
        fprintf(s->out, "    %s\n", ring[i % STORY_PAST]);
}

void story_fail(struct story *s, const char *format, ...)
{
    if (s->failed)
        return;
    s->failed = true;
    fprintf(s->out, "%s:%u: ", s->file, s->line);
    va_list args;
    va_start(args, format);
    vfprintf(s->out, format, args);
    va_end(args);
    fputc('\n', s->out);
    if (s->started) {
        print_ring(s, "so far:", s->past, s->n_past);
        print_ring(s, "log:", s->logged, s->n_logged);
    }
}

static double seconds(const struct story *s)
{
    return (double)(s->world.now_ms - STORY_START_MS) / 1000;
}

void story_note(struct story *s, const char *format, ...)
{
    char *line = s->past[s->n_past++ % STORY_PAST];
    const int n = snprintf(line, STORY_PAST_LINE, "%10.3f  ", seconds(s));
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, STORY_PAST_LINE - (size_t)n, format, args);
    va_end(args);
}

void story_log(void *arg, const struct log_record *record)
{
    struct story *s = arg;
    char *line = s->logged[s->n_logged++ % STORY_PAST];
    snprintf(line, STORY_PAST_LINE, "%10.3f  %s %s %.300s", seconds(s),
             log_level_name(record->level), record->event, record->text);
}
