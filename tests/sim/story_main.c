/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-story FILE...: plays story files, each without a store and with one; 0 when all came out as
 * told. */
#include <stdlib.h>
#include <string.h>

#include "sim/story.h"

enum { STORY_FILE_MAX = 1 << 20 };

static bool play_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(STORY_FILE_MAX);
    if (f == NULL || text == NULL) {
        fprintf(stderr, "%s: can't be read\n", path);
        free(text);
        if (f != NULL)
            fclose(f);
        return false;
    }
    const size_t len = fread(text, 1, STORY_FILE_MAX, f);
    fclose(f);
    const bool passed = story_play(path, bytes_of(text, len), false, stderr) &&
                        story_play(path, bytes_of(text, len), true, stderr);
    free(text);
    return passed;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE.sn ...\n", argv[0]);
        return 64;
    }
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed += !play_file(argv[i]);
    if (argc > 2)
        printf("%d stories, %d failed\n", argc - 1, failed);
    return failed > 0 ? 1 : 0;
}
