/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files: name_replay PATH... where a directory stands for its regular
 * files, in order of name. Finding none at all is a failure, so that a corpus which got lost is
 * noticed. The name of the file is printed first, because a finding ends the process.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { LARGEST_FILE = 16 * 1024 * 1024 };

static unsigned replayed;

static bool complain(const char *path, const char *what)
{
    fprintf(stderr, "%s: %s\n", path, what);
    return false;
}

static bool replay_file(const char *path, size_t size)
{
    if (size > LARGEST_FILE)
        return complain(path, "too large for a corpus");
    FILE *in = fopen(path, "rb");
    if (in == NULL)
        return complain(path, strerror(errno));
    uint8_t *data = malloc(size); /* also for 0: an empty input has no octet to read */
    const bool whole = data != NULL && fread(data, 1, size, in) == size;
    fclose(in);
    if (whole) {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        replayed++;
    }
    free(data);
    return whole ? true : complain(path, "cannot be read whole");
}

static bool replay(const char *path);

static bool replay_directory(const char *path)
{
    struct dirent **entries = NULL;
    const int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return complain(path, strerror(errno));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        char *child = NULL;
        if (asprintf(&child, "%s/%s", path, entries[i]->d_name) < 0)
            child = NULL;
        if (child == NULL)
            ok = complain(path, "out of memory");
        else if (entries[i]->d_name[0] != '.')
            ok = replay(child) && ok;
        free(child);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

static bool replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return complain(path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return replay_directory(path);
    return S_ISREG(st.st_mode) ? replay_file(path, (size_t)st.st_size) : true;
}

int main(int argc, char **argv)
{
    bool ok = true;
    for (int i = 1; i < argc; i++)
        ok = replay(argv[i]) && ok;
    printf("%u inputs replayed\n", replayed);
    return ok && replayed > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
